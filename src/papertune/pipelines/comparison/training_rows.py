"""The rows of a table that a run has learnt from, where it has kept others apart as dev rows."""

import warnings

from papertune.errors import PapertuneWarning
from papertune.events import Listener
from papertune.pipelines.training_job import first_label
from papertune.run import Run
from papertune.run_directory import TableNote
from papertune.tables import Table


def find_training_rows(run: Run, table: Table, listener: Listener) -> Table:
    """Give the rows of a table that a run has learnt from: whoever is compared with it shall learn from no others.

    A run remembers the checksum of the rows of each table that it learnt from and, in its recipe, the seed that has
    parted them from the dev rows of `--dev-fraction`. So they are parted again, and the checksum says whether they are
    the same.

    Args:
        run: The run.
        table: The table that it was trained on, dev rows included.
        listener: Gets a message that says how many rows are left out.

    Returns:
        These rows; the whole table, with a warning, where the run has not learnt from it. A run that has learnt from
        other tables besides has a warning too, since whoever is compared with it then learns from fewer papers.
    """
    notes = run.manifest.tables
    if not notes:  # an adopted adapter knows of none
        return table
    checksum = table.checksum()
    names = ", ".join(f"{note.source} ({note.rows:,} rows)" for note in notes)
    if any(note.checksum == checksum for note in notes):
        _warn_of_others(run, table, names)
        return table
    for note in notes:
        if (part := _parted_again(run, table, note)) is not None:
            listener.message(
                f"{table.source}: {run.directory.path} has kept {len(table) - len(part):,} of its {len(table):,} rows "
                "apart as dev rows, so the others do not learn from them either"
            )
            _warn_of_others(run, part, names)
            return part
    warnings.warn(
        f"{run.directory.path} has learnt from {names}; what it is compared with learns from {table.source} "
        f"({len(table):,} rows), which may not be the same papers.",
        PapertuneWarning,
        stacklevel=3,
    )
    return table


def _warn_of_others(run: Run, part: Table, names: str) -> None:
    """Warn where a run has learnt from other tables than the one that is there to learn from."""
    if len({note.checksum for note in run.manifest.tables}) == 1:
        return
    warnings.warn(
        f"{run.directory.path} has learnt from {names}; what it is compared with learns from {part.source} "
        f"({len(part):,} rows) alone. To compare on equal terms, give one table with the rows of all of them.",
        PapertuneWarning,
        stacklevel=4,
    )


def _parted_again(run: Run, table: Table, note: TableNote) -> Table | None:
    """Part dev rows from a table as the training has done it; None if that does not give the rows of the note."""
    apart = len(table) - note.rows
    if not 0 < apart < len(table):
        return None
    rest, _ = table.split(apart / len(table), run.recipe.training.seed, first_label(table, run.recipe))
    return rest if rest.checksum() == note.checksum else None

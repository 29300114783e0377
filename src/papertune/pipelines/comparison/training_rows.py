"""The rows of a table that a run was trained on, without its dev rows."""

import warnings

from papertune.errors import PapertuneWarning
from papertune.events import Listener
from papertune.manifest import TableNote
from papertune.pipelines.training.job import first_label
from papertune.run import Run
from papertune.tables import Table


def find_training_rows(run: Run, table: Table, listener: Listener) -> Table:
    """Return the rows of a table that a run was trained on; the systems it is compared with are trained on the same.

    A manifest has the checksum of the training rows of each table, and the recipe has the seed of the split by
    `--dev-fraction`. So the table is split again, and the checksum shows whether the training rows are the same.

    Args:
        run: The run.
        table: The table that it was trained on, with its dev rows.
        listener: Gets a message that says how many rows are left out.

    Returns:
        The training rows; the whole table, with a warning, if the run was not trained on it. If the run was trained on
        other tables too, a warning says that the other systems have fewer training rows.
    """
    notes = run.manifest.tables
    if not notes:  # the training tables of an adopted adapter are not known
        return table
    checksum = table.checksum()
    names = ", ".join(f"{note.source} ({note.rows:,} rows)" for note in notes)
    if any(note.checksum == checksum for note in notes):
        _warn_of_other_tables(run, table, names)
        return table
    for note in notes:
        if (rows := _split_again(run, table, note)) is not None:
            listener.message(
                f"{table.source}: {len(table) - len(rows):,} of its {len(table):,} rows are dev rows of "
                f"{run.directory.path}, so the other systems are not trained on them"
            )
            _warn_of_other_tables(run, rows, names)
            return rows
    warnings.warn(
        f"{run.directory.path} was trained on {names}; the other systems are trained on {table.source} "
        f"({len(table):,} rows), which may not be the same papers.",
        PapertuneWarning,
        stacklevel=3,
    )
    return table


def count_learned_rows(run: Run, table: Table) -> int:
    """Return on how many rows of a table a run was trained; 0 if it is not one of its training tables.

    Args:
        run: The run.
        table: A table, with the rows that `--dev-fraction` has split off.
    """
    checksum = table.checksum()
    for note in run.manifest.tables:
        if note.checksum == checksum or _split_again(run, table, note) is not None:
            return note.rows
    return 0


def _warn_of_other_tables(run: Run, rows: Table, names: str) -> None:
    """Warn if a run was trained on more tables than the one that the other systems are trained on."""
    if len({note.checksum for note in run.manifest.tables}) == 1:
        return
    warnings.warn(
        f"{run.directory.path} was trained on {names}; the other systems are trained on {rows.source} "
        f"({len(rows):,} rows) alone. For an equal comparison, give one table with the rows of all of them.",
        PapertuneWarning,
        stacklevel=4,
    )


def _split_again(run: Run, table: Table, note: TableNote) -> Table | None:
    """Split a table as the training did; None if the training rows are not those of the manifest."""
    dev_rows = len(table) - note.rows
    if not 0 < dev_rows < len(table):
        return None
    train, _ = table.split(dev_rows / len(table), run.recipe.training.seed, first_label(table, run.recipe))
    return train if train.checksum() == note.checksum else None

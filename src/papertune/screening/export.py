"""A screening as an ordinary labelled table, or as RIS with the notes that ASReview reads."""

from pathlib import Path
from typing import TYPE_CHECKING

from papertune.errors import OutputError
from papertune.files import write_atomically
from papertune.kinds.output_names import given_column
from papertune.screening.project import Project
from papertune.tables import check_output, write_table
from papertune.tables.formats.reference_files import BETWEEN, RIS_COLUMNS
from papertune.tables.lists import ListError, read_list

if TYPE_CHECKING:
    import polars as pl

DECISION, NOTE, TAGS = "screening_decision", "screening_note", "screening_tags"
_ASREVIEW = {"include": "ASReview_relevant", "exclude": "ASReview_irrelevant"}
_NOT_SEEN = "ASReview_not_seen"
# Columns whose cells are lists.
_LISTS = ("author", "Keywords")
_DEFAULT_TYPE = "JOUR"


def decisions_table(project: Project, *, decided_only: bool = False) -> "pl.DataFrame":
    """Return all records with their columns and what was decided.

    The label column has the two label values, and "" for records that are neither included nor excluded; so `train`
    and `predict` go on from it. `screening_decision` also has unsure and conflict; with several readers each has a
    column as well. A column of the tables with one of these names stays, as `label_given`, like that of `predict`.

    Args:
        project: The screening.
        decided_only: Only records that are included or excluded.
    """
    with project.unchanged():
        return _decisions_table(project, decided_only=decided_only)


def _decisions_table(project: Project, *, decided_only: bool) -> "pl.DataFrame":
    import polars as pl

    frame = _records_frame(project)
    state, settings = project.state, project.settings
    outcomes = [state.outcomes.get(record, "") for record in range(state.total)]
    values = dict(zip(("include", "exclude"), settings.label_values, strict=True))
    columns = {
        settings.label: [values.get(outcome, "") for outcome in outcomes],
        DECISION: outcomes,
        NOTE: [_notes(project, record) for record in range(state.total)],
        TAGS: [BETWEEN.join(state.tags(record)) for record in range(state.total)],
    }
    if len(settings.readers) > 1:
        for reader in settings.readers:
            columns[f"{DECISION}_{reader}"] = [state.verdict(record, reader) or "" for record in range(state.total)]
    frame = frame.rename({name: _free_name(given_column(name), frame) for name in columns if name in frame.columns})
    frame = frame.with_columns(pl.Series(name, cells, dtype=pl.String) for name, cells in columns.items())
    return frame.filter(pl.Series([bool(values.get(outcome)) for outcome in outcomes])) if decided_only else frame


def export(project: Project, path: Path, *, decided_only: bool = False, overwrite: bool = False) -> int:
    """Write `decisions_table` in the format of the path's suffix, `.ris` for reference managers and ASReview.

    Returns:
        Number of records written.

    Raises:
        OutputError: If the file cannot be written.
    """
    frame = decisions_table(project, decided_only=decided_only)
    if path.suffix.lower() != ".ris":
        write_table(frame, path, overwrite=overwrite)
        return frame.height
    check_output(path.with_suffix(".csv"), overwrite=True)  # the same checks, whatever the format
    if path.exists() and not overwrite:
        raise OutputError(f"{path} exists already. Choose another name, or replace it with --overwrite.")
    try:
        tags = _ris_tags(project)
        write_atomically(path, "".join(_ris_record(row, tags) for row in frame.iter_rows(named=True)))
    except OSError as error:
        raise OutputError(f"{path} could not be written: {error.strerror or error}. Make room.") from error
    return frame.height


def _records_frame(project: Project) -> "pl.DataFrame":
    """Return the columns of all tables for all records; "" where a table lacks a column."""
    import polars as pl

    parts = [
        table.frame[[row for row in range(len(table)) if row not in event.duplicates], :]
        for table, event in zip(project.tables, project.added, strict=True)
    ]
    return pl.concat(parts, how="diagonal").fill_null("")


def _free_name(name: str, frame: "pl.DataFrame") -> str:
    """Return a name that no column has yet, by underscores at its end."""
    while name in frame.columns:
        name += "_"
    return name


def _notes(project: Project, record: int) -> str:
    notes = project.state.notes(record)
    if len(project.settings.readers) == 1:
        return BETWEEN.join(notes.values())
    return BETWEEN.join(f"{reader}: {text}" for reader, text in notes.items())


def _ris_tags(project: Project) -> dict[str, str]:
    """Return the RIS tag of each column that has one."""
    settings = project.settings
    own = {settings.title: "TI", settings.abstract: "AB", settings.id: "ID", settings.doi: "DO"}
    usual = {column: tags[0] for column, tags in RIS_COLUMNS.items() if tags[0] not in own.values() or column in own}
    return {**usual, **{column: tag for column, tag in own.items() if column is not None}}


def _ris_record(row: dict[str, str], tags: dict[str, str]) -> str:
    """Return a record in RIS; columns without a tag of their own become notes, and no cell is left out."""
    lines = [("TY", row.get("type") or _DEFAULT_TYPE)]
    for column, cell in row.items():
        if column in ("type", DECISION) or not cell:
            continue
        if column in tags:
            values = _items(cell) if column in _LISTS else [cell]
            lines += [(tags[column], value) for value in values]
        else:
            lines.append(("N1", f"{column}: {cell}"))
    lines.append(("N1", _ASREVIEW.get(row[DECISION], _NOT_SEEN)))
    if row[DECISION] in ("unsure", "conflict"):
        lines.append(("N1", f"{DECISION}: {row[DECISION]}"))
    return "".join(f"{tag}  - {' '.join(value.split())}\n" for tag, value in lines) + "ER  - \n\n"


def _items(cell: str) -> list[str]:
    try:
        found = read_list(cell)
    except ListError:
        found = None
    return cell.split(BETWEEN) if found is None else found

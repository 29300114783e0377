"""Decisions from a labelled table: an earlier review, a colleague's file, an export of ASReview."""

import hashlib
from collections.abc import Collection
from dataclasses import dataclass

from papertune.errors import ScreeningError, quoted
from papertune.screening.events import Decided, Verdict, check_name
from papertune.screening.project import Project
from papertune.screening.records import Matcher, row_keys
from papertune.tables import Table
from papertune.tables.formats.reference_files import BETWEEN

# Whose decisions they are if nobody is named. It is no reader, so kappa leaves them out.
EARLIER = "earlier"
_MAX_VALUES_SHOWN = 10


@dataclass(frozen=True)
class Imported:
    """What became of the rows of a labelled table.

    Attributes:
        included: Rows that were imported as include.
        excluded: Rows that were imported as exclude.
        other: Rows whose cell is neither, by the cell, the most frequent first.
        unknown: Rows with a decision for which there is no record, from 0.
    """

    included: int
    excluded: int
    other: dict[str, int]
    unknown: list[int]


def import_decisions(
    project: Project,
    table: Table,
    column: str,
    include: Collection[str],
    exclude: Collection[str],
    reader: str = EARLIER,
) -> Imported:
    """Import decisions; importing the same table again changes nothing.

    Args:
        project: The screening, which has the records already.
        table: The labelled table.
        column: The column with the labels. In a column of notes each note counts, as in `ASReview_relevant; checked`.
        include: Values that mean include.
        exclude: Values that mean exclude.
        reader: Whose decisions they are.

    Raises:
        PapertuneError: If there is no such column, no cell has one of the values, or a cell has values of both kinds.
    """
    check_name(reader)
    cells = table.column(column)
    verdicts = [_verdict(table, row, column, set(include), set(exclude)) for row in range(len(table))]
    if not any(verdicts):
        values = ", ".join(quoted(value) for value in list(_counts(cells))[:_MAX_VALUES_SHOWN])
        wanted = ", ".join(map(quoted, [*include, *exclude]))
        raise ScreeningError(
            f"{table.source}, column {quoted(column)}: no cell is {wanted}. The cells are {values}. Name the values "
            "that mean include and exclude (--include, --exclude)."
        )
    matcher = Matcher(project.records)
    unknown: list[int] = []
    decided: dict[int, tuple[int, Verdict]] = {}
    for row, (verdict, keys) in enumerate(zip(verdicts, row_keys(table, project.settings), strict=True)):
        if verdict is None:
            continue
        record = matcher.find(*keys)
        if record is None:
            unknown.append(row)
        else:
            decided[record] = (row, verdict)  # of two rows for a record the later one counts
    project.submit_unchecked(
        [
            Decided(id=_stable_id(table, column, reader, row, verdict), reader=reader, record=record, verdict=verdict)
            for record, (row, verdict) in decided.items()
        ]
    )
    given = [verdict for _, verdict in decided.values()]
    other = _counts([cell for cell, verdict in zip(cells, verdicts, strict=True) if verdict is None])
    return Imported(given.count("include"), given.count("exclude"), other, unknown)


def _verdict(table: Table, row: int, column: str, include: set[str], exclude: set[str]) -> Verdict | None:
    cell = table.frame[column][row].strip()
    parts = {cell, *map(str.strip, cell.split(BETWEEN))}
    if parts & include and parts & exclude:
        raise ScreeningError(
            f"{table.where(row, column)}: {quoted(cell)} means include and exclude. Correct the cell, or name "
            "other values."
        )
    return "include" if parts & include else "exclude" if parts & exclude else None


def _counts(cells: list[str]) -> dict[str, int]:
    counts: dict[str, int] = {}
    for cell in cells:
        counts[cell] = counts.get(cell, 0) + 1
    return dict(sorted(counts.items(), key=lambda item: -item[1]))


def _stable_id(table: Table, column: str, reader: str, row: int, verdict: str) -> str:
    """Return an id that the same cell of the same table has each time."""
    cells = "\0".join([*table.frame.row(row), column, reader, str(row), verdict])
    return hashlib.sha256(cells.encode()).hexdigest()[:40]

"""Turns the cells of a sheet or csv file into columns: what is no paper is left out and counted.

People's tables have blank rows and columns around them, a second header where two exports were joined, and titles above
the header. The first three lose nothing when they are left out; the last is an error, since any guess could be wrong.
"""

import re
import warnings
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from itertools import pairwise
from typing import TYPE_CHECKING

from papertune.errors import PapertuneWarning, TableError, quoted
from papertune.tables.cells import NOT_BLANK, is_blank
from papertune.tables.problems import check_filled_names

if TYPE_CHECKING:
    import polars as pl

# Number of rows in which a header is looked for that stands below titles.
_MAX_TITLE_ROWS = 10
_MAX_NAME_CHARS = 60
_MAX_PLACES = 5
_NUMBER = re.compile(r"\s*[-+]?[\d.,]+\s*%?\s*")


@dataclass(frozen=True)
class Grid:
    """The cells of a table as they stand in the source.

    Attributes:
        header: The cells of the row that should have the column names.
        body: The rows below it, text without nulls, a column for each cell of the header; the names do not matter.
        source: What messages call the source.
        counted: How messages name row `{}`.
        numbers: The number of each row of `body` in that way of counting.
        header_place: How messages name the header, such as "row 1 of the sheet".
    """

    header: Sequence[str]
    body: "pl.DataFrame"
    source: str
    counted: str
    numbers: Sequence[int]
    header_place: str

    def place(self, row: int) -> str:
        """Return how messages name a row of the body, without the source."""
        return self.counted.format(self.numbers[row])


def table_of_grid(grid: Grid) -> tuple["pl.DataFrame", Sequence[int]]:
    """Return the rows and columns that have cells, under the names of the header.

    Left out, each with a warning: rows in which every cell is blank, rows that repeat the header, and columns with
    neither a name nor a cell. In a table with a single column an empty cell is a row, and so is one like the header.

    Returns:
        All columns as text; the number of each row.

    Raises:
        TableError: If the header has a cell twice, or none above a column with cells.
    """
    check_filled_names(grid.header, grid.source)
    grid = _without_rows(grid, _blank_rows, "have only empty cells and are", "has only empty cells and is")
    grid = _without_rows(grid, _repeated_headers, "repeat the header and are", "repeats the header and is")
    nameless = [position for position, name in enumerate(grid.header) if is_blank(name)]
    columns = grid.body.get_columns()
    filled = [position for position in nameless if columns[position].str.contains(NOT_BLANK).any()]
    if filled:
        raise _without_names(grid, filled)
    if nameless:
        which = "column" if len(nameless) == 1 else "columns"
        what = "1 column has" if len(nameless) == 1 else f"{len(nameless):,} columns have"
        are = "is" if len(nameless) == 1 else "are"
        _warn(f"{grid.source}: {what} neither a name nor a cell and {are} left out ({which} {_listed(nameless)}).")
    named = [position for position in range(len(grid.header)) if position not in set(nameless)]
    return type(grid.body)([columns[position].alias(grid.header[position]) for position in named]), grid.numbers


def _without_rows(grid: Grid, find: Callable[[Grid], "pl.Series"], many: str, one: str) -> Grid:
    """Return the grid without some of its rows, and report them."""
    import polars as pl

    if sum(not is_blank(name) for name in grid.header) < 2:
        return grid
    rows = find(grid)
    if not len(rows):
        return grid
    first = grid.place(rows[0])
    what = (
        f"1 row {one} left out ({first})" if len(rows) == 1 else f"{len(rows):,} rows {many} left out (first: {first})"
    )
    _warn(f"{grid.source}: {what}.")
    keep = pl.int_range(grid.body.height, eager=True).is_in(rows.implode()).not_()
    numbers = pl.Series(grid.numbers, dtype=pl.Int64).filter(keep).to_list()
    return Grid(grid.header, grid.body.filter(keep), grid.source, grid.counted, numbers, grid.header_place)


def _blank_rows(grid: Grid) -> "pl.Series":
    return _rows_in_which(grid.body, lambda _, cells: cells.str.contains(NOT_BLANK).not_())


def _repeated_headers(grid: Grid) -> "pl.Series":
    names = [name.strip().lower() for name in grid.header]
    # The second of two files that were joined may begin with a byte order mark, or write names in another case.
    return _rows_in_which(
        grid.body,
        lambda column, cells: cells.str.strip_chars("\ufeff").str.strip_chars().str.to_lowercase() == names[column],
    )


def _rows_in_which(body: "pl.DataFrame", test: Callable[[int, "pl.Series"], "pl.Series"]) -> "pl.Series":
    """Return the rows whose cells all pass a test; few rows pass it in the first column, so the rest is cheap."""
    import polars as pl

    rows = pl.int_range(body.height, eager=True)
    for position, cells in enumerate(body.get_columns()):
        rows = rows.filter(test(position, cells.gather(rows) if position else cells))
        if not len(rows):
            break
    return rows


def _without_names(grid: Grid, filled: Sequence[int]) -> TableError:
    """Explain why columns with cells have no name."""
    columns = grid.body.get_columns()
    if list(filled) == [0] and _is_index(columns[0].to_list()):
        return TableError(
            f"{grid.source}: column 1 has no name (pandas writes its row index like this, unless index=False). Give "
            "every column a name of its own."
        )
    first = columns[filled[0]].str.contains(NOT_BLANK).arg_true()[0]
    which = f"column {filled[0] + 1} has" if len(filled) == 1 else f"columns {_listed(filled)} have"
    below = _header_below(grid)
    named = sum(not is_blank(name) for name in grid.header)
    if below is not None or (named == 1 and len(filled) > 1) or _has_second_level(grid, filled):
        names = "" if below is None else ", ".join(cell for cell in grid.body.row(below) if not is_blank(cell))
        maybe = f" (perhaps {grid.place(below)}: {quoted(names)})" if below is not None else ""
        return TableError(
            f"{grid.source}, {grid.header_place}: this does not look like a header: {which} cells but no name, as "
            f"below a title or merged cells. Write one name for each column into one row{maybe}, and delete the rows "
            "above it."
        )
    return TableError(
        f"{grid.source}: {which} no name, but cells (first: {grid.place(first)}). Give every column a name of its own."
    )


def _is_index(cells: Sequence[str]) -> bool:
    """Whether cells are whole numbers that only grow, as in the index of a data frame."""
    if not all(cell.isascii() and cell.isdigit() and len(cell) < 16 for cell in cells):
        return False
    numbers = [int(cell) for cell in cells]
    return numbers[:1] in ([0], [1]) and all(a < b for a, b in pairwise(numbers))


def _has_second_level(grid: Grid, filled: Sequence[int]) -> bool:
    """Whether the first row has names where the header has none, and nothing below some names of the header."""
    cells = grid.body.row(0)
    names = [cell for cell in cells if not is_blank(cell)]
    return all(not is_blank(cells[p]) for p in filled) and len(names) < len(cells) and all(map(_could_be_name, names))


def _could_be_name(cell: str) -> bool:
    return not is_blank(cell) and len(cell) <= _MAX_NAME_CHARS and not _NUMBER.fullmatch(cell)


def _header_below(grid: Grid) -> int | None:
    """Return the first row that could be the header: short and different names, no numbers, in all columns."""
    width = max((p + 1 for p, c in enumerate(grid.body.get_columns()) if c.str.contains(NOT_BLANK).any()), default=0)
    for row, cells in enumerate(grid.body.head(_MAX_TITLE_ROWS).rows()):
        names = cells[:width]
        if all(map(_could_be_name, names)) and len(set(names)) == len(names):
            return row
    return None


def _listed(positions: Sequence[int]) -> str:
    """Return columns as they are counted in messages, the first of them if there are many."""
    shown = [str(position + 1) for position in positions[:_MAX_PLACES]]
    if len(positions) > _MAX_PLACES:
        return f"{', '.join(shown)}, ..."
    return shown[0] if len(shown) == 1 else f"{', '.join(shown[:-1])} and {shown[-1]}"


def _warn(text: str) -> None:
    warnings.warn(text, PapertuneWarning, stacklevel=2)

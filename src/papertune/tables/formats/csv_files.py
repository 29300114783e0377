"""Reads comma- or tab-separated text; a row that does not match the header is an error, never padded or joined."""

import csv
import re
import warnings
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, TextIO

from papertune.errors import PapertuneWarning, TableError, quoted
from papertune.tables.cells import CHUNK_CHARACTERS, CHUNK_ROWS, is_blank, stack, text_frame
from papertune.tables.formats.delimiters import NAMES, declared_delimiter, guess_delimiter, name_of
from papertune.tables.formats.grid import Grid, table_of_grid
from papertune.tables.limits import check_columns
from papertune.tables.problems import Places, Problems, check_filled_names
from papertune.tables.remarks import is_remark

if TYPE_CHECKING:
    import polars as pl

COUNTED = "row {} below the header"

# The largest C long, in place of Python's limit of 131,072 characters: some cells with full texts are longer.
_MAX_FIELD_CHARS = 2**31 - 1

# A quote that was meant to open the cell. The same to Python and to polars.
_LATE_QUOTE = r'(?s)^[ \t\u00a0]+".*"\s*$'
# Web of Science's own tab-delimited files leave quotes as they are in the text.
_WEB_OF_SCIENCE = {"PT", "TI", "UT"}


class _QuoteError(ValueError):
    """A quote opens or closes a cell in the wrong place.

    Attributes:
        line: The line, from 1, on which the row starts.
    """

    def __init__(self, line: int, message: str) -> None:
        super().__init__(message)
        self.line = line


def read_csv(file: TextIO, source: str, expected: str = ",") -> "tuple[pl.DataFrame, Sequence[int]]":
    """Read delimited text with a header.

    Python's csv module reads it in strict mode. pyarrow's parser is five times as fast (100 MB/s), but it silently
    accepts an unclosed quote and text after a closing quote, and it limits the length of a row.

    Args:
        file: The text, opened with newline="".
        source: What messages call the file.
        expected: The character between fields. A first line such as "sep=;" names another one; else, if the header and
            the first rows show another one, a warning reports it.

    Returns:
        All columns as text; the number of each row below the header. Blank lines are not rows and are not counted.

    Raises:
        TableError: If the header is missing or invalid, or rows are ragged or wrongly quoted. It lists all ragged rows.
    """
    start = 1
    if (delimiter := declared_delimiter(file)) is not None:
        start = 2
        _check_declared(file, delimiter, source)
    elif (delimiter := guess_delimiter(file, expected)) != expected:
        warnings.warn(
            f"{source}: the delimiter is {name_of(delimiter)}, judged by the header and the first rows. If that is "
            f"wrong, save the file with {name_of(expected)} between fields.",
            PapertuneWarning,
            stacklevel=2,
        )
    reading = _Reading(source, delimiter)
    begin = file.tell()
    try:
        reading.read(_rows(file, delimiter, start))
    except _QuoteError as error:
        if not reading.is_web_of_science:
            reading.raise_quote_error(error)
        file.seek(begin)
        reading = _Reading(source, delimiter)
        reading.read(_rows(file, delimiter, start, quoting=csv.QUOTE_NONE))
    grid = reading.grid()
    _warn_of_late_quotes(grid)
    return table_of_grid(grid)


def _check_declared(file: TextIO, delimiter: str, source: str) -> None:
    """Check that the delimiter of a first line such as "sep=;" stands in the header, if another one does."""
    begin = file.tell()
    header = file.readline()
    file.seek(begin)
    found = [each for each in NAMES if each in header]
    if found and delimiter not in header:
        raise TableError(
            f"{source}, line 1: it says that {name_of(delimiter)} stands between fields, but the header (line 2) has "
            f"{name_of(found[0])} and no {delimiter!r}. Correct or delete line 1."
        )


@dataclass
class _Misfits:
    """The rows that have another number of fields than the header."""

    places: Places = field(default_factory=Places)
    late_quotes: bool = False


class _Reading:
    """Collects the rows of a file, and those that do not match its header.

    Args:
        source: What messages call the file.
        delimiter: The character between fields.
    """

    def __init__(self, source: str, delimiter: str) -> None:
        self.source = source
        self.delimiter = delimiter
        self.names: list[str] = []
        self.header_line = self.number = 0
        self._named = 0  # the fields up to the last one with a name
        self._frames: list[pl.DataFrame] = []
        self._waiting: list[list[str]] = []
        self._characters = 0
        self._ragged: dict[int, _Misfits] = {}
        # Rows that are longer than the header, but blank there: fine if all are, as in Web of Science's exports.
        self._surplus: dict[int, _Misfits] = {}
        self._blank = 0

    @property
    def is_web_of_science(self) -> bool:
        """Whether this is a tab-delimited export of Web of Science."""
        return self.delimiter == "\t" and set(self.names) >= _WEB_OF_SCIENCE

    def read(self, rows: Iterator[tuple[int, list[str]]]) -> None:
        """Read rows, the first of which is the header, each with its line."""
        for line, row in rows:
            if not self.names:
                if is_remark(row) or (len(row) > 1 and all(map(is_blank, row))):
                    continue
                self.header_line = line
                self.names = _header(row, f"{self.source}, the header (line {line})")
                check_columns(len(self.names), self.source)
                check_filled_names(self.names, self.source)
                self._named = max((p + 1 for p, name in enumerate(self.names) if not is_blank(name)), default=0)
                continue
            self.number += 1
            if len(row) != len(self.names):
                row = self._fitted(row, line)
            self._waiting.append(row)
            self._characters += sum(map(len, row))
            if len(self._waiting) == CHUNK_ROWS or self._characters > CHUNK_CHARACTERS:
                self._flush()

    def _fitted(self, row: list[str], line: int) -> list[str]:
        """Return a row with as many cells as the header, and remember what did not fit."""
        width = len(self.names)
        extra = row[width:]
        if all(map(is_blank, row)):
            self._blank += 1
        elif self._named <= len(row) < width:
            pass  # the header alone ends in delimiters
        else:
            found = self._surplus if extra and all(map(is_blank, extra)) else self._ragged
            group = found.setdefault(len(row), _Misfits())
            group.places.add(f"{COUNTED.format(self.number)} (line {line})")
            group.late_quotes |= any(re.match(r'\s+"', cell) for cell in row)
        return row[:width] + [""] * (width - len(row))

    def grid(self) -> Grid:
        """Return all cells.

        Raises:
            TableError: If there is no header, or rows do not match it.
        """
        if not self.names:
            raise TableError(f"{self.source} has only blank lines. Export the table again, with a header.")
        self._problems().raise_if_any()
        if self._surplus:
            warnings.warn(
                f"{self.source}: every row ends in {name_of(self.delimiter)} that the header lacks; these empty cells "
                "are left out.",
                PapertuneWarning,
                stacklevel=3,
            )
        self._flush()
        body = stack(self._frames) if self._frames else _frame(len(self.names), [])
        place = f"the header (line {self.header_line})"
        return Grid(self.names, body, self.source, COUNTED, range(1, self.number + 1), place)

    def raise_quote_error(self, error: _QuoteError) -> None:
        """Raise what is wrong with a quote, and with the rows before it."""
        problems = self._problems(is_whole=False)
        ragged = f" {problems.remedy}" if problems else ""
        problems.what = "rows cannot be read"
        problems.remedy = f'Inside a quoted cell, write a quote as two: "".{ragged}'
        place = COUNTED.format(self.number + 1) if self.names else "the header"
        problems.add(f"{place} (line {error.line})", str(error))
        problems.raise_if_any()

    def _problems(self, *, is_whole: bool = True) -> Problems:
        """Return the rows that do not match the header.

        Args:
            is_whole: Whether all rows have been read.

        Raises:
            TableError: If all rows agree with each other: then the header is wrong.
        """
        filled = self.number - self._blank
        is_alike = is_whole and [each.places.count for each in self._surplus.values()] == [filled]
        misfits = self._ragged if is_alike else {**self._surplus, **self._ragged}
        expected = len(self.names)
        for width, group in misfits.items():
            if is_whole and 1 < group.places.count == filled and not group.late_quotes:
                raise TableError(
                    f"{self.source}, the header (line {self.header_line}): this does not look like a header: it has "
                    f"{_fields(expected)}, and all {filled:,} rows below it have {width:,}. Delete a title above the "
                    f"column names, name each column, and quote names that hold {name_of(self.delimiter)}."
                )
        late = any(group.late_quotes for group in misfits.values())
        problems = Problems(
            self.source,
            "rows do not have the fields of the header",
            f"Quote cells that hold {name_of(self.delimiter)} or a line break, and give each row all its fields."
            + (" Remove blanks before quotes." if late else ""),
        )
        for width, group in misfits.items():
            blank = "; a blank before a quote makes the quote a part of the cell" if group.late_quotes else ""
            fault = f"found {_fields(width)}, expected {expected:,} as in the header{blank}"
            problems.add_all(group.places, fault)
        return problems

    def _flush(self) -> None:
        if self._waiting:
            self._frames.append(_frame(len(self.names), self._waiting))
            self._waiting, self._characters = [], 0


def _fields(count: int) -> str:
    return "1 field" if count == 1 else f"{count:,} fields"


def _rows(file: TextIO, delimiter: str, line: int, quoting: int = csv.QUOTE_MINIMAL) -> Iterator[tuple[int, list[str]]]:
    """Yield each row that is not a blank line, with the line on which it starts; `line` is the first one."""
    before = line - 1
    reader = csv.reader(file, delimiter=delimiter, quoting=quoting, strict=True)  # type: ignore[arg-type]
    try:
        while (row := _next(reader)) is not None:
            if row:
                yield line, row
            line = before + reader.line_num + 1
    except csv.Error as error:
        unclosed = "unexpected end" in str(error)
        after = f"text follows the quote that closes a cell (line {before + reader.line_num})"
        raise _QuoteError(line, "a quote opens a cell and is never closed" if unclosed else after) from None


def _next(reader: Iterator[list[str]]) -> list[str] | None:
    """Read one row, of any length; None at the end."""
    limit = csv.field_size_limit(_MAX_FIELD_CHARS)  # of the whole process, so it is reset at once
    try:
        return next(reader, None)
    finally:
        csv.field_size_limit(limit)


def _frame(width: int, rows: list[list[str]]) -> "pl.DataFrame":
    columns = map(list, zip(*rows, strict=True)) if rows else ([] for _ in range(width))
    return text_frame({str(position): cells for position, cells in enumerate(columns)})


def _header(row: list[str], place: str) -> list[str]:
    names = [name.strip("\ufeff") for name in row]
    for name in names:
        if re.match(r'\s+"', name):
            raise TableError(
                f"{place}: a blank before a quote makes the quote a part of the name {quoted(name)}. Remove blanks "
                "before quotes, in all rows."
            )
    return names


def _warn_of_late_quotes(grid: Grid) -> None:
    """Warn of cells like ` "text"`, which their writer believes to be quoted."""
    for name, cells in zip(grid.header, grid.body.get_columns(), strict=True):
        late = cells.str.contains(_LATE_QUOTE).arg_true()
        if len(late):
            count = "1 cell has" if len(late) == 1 else f"{len(late):,} cells have"
            warnings.warn(
                f"{grid.source}, {grid.place(late[0])}, column {quoted(name)}: {count} a blank before a quote, so the "
                "quotes are read as part of the cell (this is the first). Remove the blank.",
                PapertuneWarning,
                stacklevel=3,
            )

"""Reads comma- or tab-separated text; a row that does not match the header is an error, never padded or joined."""

import csv
import re
from collections.abc import Iterator
from typing import TYPE_CHECKING, TextIO

from papertune.errors import TableError
from papertune.tables.cells import CHUNK_CHARACTERS, CHUNK_ROWS, stack, text_frame
from papertune.tables.problems import Problems, check_names

if TYPE_CHECKING:
    import polars as pl

COUNTED = "row {} below the header"

# The largest C long, in place of Python's limit of 131,072 characters: some cells with full texts are longer.
_MAX_FIELD_CHARS = 2**31 - 1

_NAMES_OF_DELIMITERS = {",": "a comma", ";": "a semicolon", "\t": "a tab"}


class _QuoteError(ValueError):
    """A quote opens or closes a cell in the wrong place.

    Attributes:
        line: The line, from 1, on which the row starts.
    """

    def __init__(self, line: int, message: str) -> None:
        super().__init__(message)
        self.line = line


def read_csv(file: TextIO, source: str, delimiter: str | None = None) -> "pl.DataFrame":
    """Read delimited text with a header.

    Python's csv module reads it in strict mode. pyarrow's parser is five times as fast (100 MB/s), but it silently
    accepts an unclosed quote and text after a closing quote, and it limits the length of a row.

    Args:
        file: The text, opened with newline="".
        source: What messages call the file.
        delimiter: The character between fields; None: what the header has: commas, else semicolons, else tabs.

    Returns:
        All columns as text. Blank lines are not rows.

    Raises:
        TableError: If the header is missing or invalid, or rows are ragged or wrongly quoted. It lists all ragged rows.
    """
    if delimiter is None:
        delimiter = _delimiter(file.readline())
        file.seek(0)
    problems = Problems(
        f"{source}: rows do not have the fields of the header",
        f"Quote cells that hold {_NAMES_OF_DELIMITERS[delimiter]} or a line break, and give each row all its fields.",
    )
    frames: list[pl.DataFrame] = []
    rows: list[list[str]] = []
    names: list[str] = []
    number = characters = 0  # rows below the header; characters of the rows that wait for a frame
    try:
        for line, row in _rows(file, delimiter):
            if not names:
                names = _header(row, source)
                continue
            number += 1
            if len(row) != len(names):
                fields = "1 field" if len(row) == 1 else f"{len(row)} fields"
                place = f"{source}, {COUNTED.format(number)} (line {line})"
                problems.add(f"{place}: found {fields}, expected {len(names)} as in the header")
                continue
            rows.append(row)
            characters += sum(map(len, row))
            if len(rows) == CHUNK_ROWS or characters > CHUNK_CHARACTERS:
                frames.append(_frame(names, rows))
                rows, characters = [], 0
    except _QuoteError as error:
        ragged = f" {problems.remedy}" if problems.found else ""
        problems.what = f"{source}: rows cannot be read"
        problems.remedy = f'Inside a quoted cell, write a quote as two: "".{ragged}'
        place = COUNTED.format(number + 1) if names else "the header"
        problems.add(f"{source}, {place} (line {error.line}): {error}")
    problems.raise_if_any()
    if not names:
        raise TableError(f"{source} has only blank lines. Export the table again, with a header.")
    if rows:
        frames.append(_frame(names, rows))
    return stack(frames) if frames else text_frame({name: [] for name in names})


def _rows(file: TextIO, delimiter: str) -> Iterator[tuple[int, list[str]]]:
    """Yield each row that is not blank, with the line, from 1, on which it starts."""
    reader = csv.reader(file, delimiter=delimiter, strict=True)
    line = 1
    try:
        while (row := _next(reader)) is not None:
            if row:
                yield line, row
            line = reader.line_num + 1
    except csv.Error as error:
        unclosed = "unexpected end" in str(error)
        after = f"text follows the quote that closes a cell (line {reader.line_num})"
        raise _QuoteError(line, "a quote opens a cell and is never closed" if unclosed else after) from None


def _next(reader: Iterator[list[str]]) -> list[str] | None:
    """Read one row, of any length; None at the end."""
    limit = csv.field_size_limit(_MAX_FIELD_CHARS)  # of the whole process, so it is reset at once
    try:
        return next(reader, None)
    finally:
        csv.field_size_limit(limit)


def _frame(names: list[str], rows: list[list[str]]) -> "pl.DataFrame":
    return text_frame(dict(zip(names, map(list, zip(*rows, strict=True)), strict=True)))


def _header(row: list[str], source: str) -> list[str]:
    names = [name.strip("\ufeff") for name in row]
    check_names(names, source)
    return names


def _delimiter(header: str) -> str:
    """Return the delimiter of the first line; quoted names do not count."""
    bare = re.sub(r'"[^"]*"?', "", header)
    return next((candidate for candidate in _NAMES_OF_DELIMITERS if candidate in bare), ",")

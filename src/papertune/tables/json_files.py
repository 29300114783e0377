"""Reads JSON lines and JSON lists of objects; every value becomes the text that stands in the file."""

import json
import re
from collections.abc import Iterator
from typing import TYPE_CHECKING, Any, TextIO

from papertune.errors import TableError
from papertune.tables.cells import JsonNumber, RowsToFrame, text_of
from papertune.tables.problems import Problems, quoted

if TYPE_CHECKING:
    import polars as pl

BLANK = re.compile(r"[ \t\n\r]*")


def read_json_lines(file: TextIO, source: str) -> tuple["pl.DataFrame", list[int]]:
    r"""Read one JSON object a line.

    Args:
        file: The text, opened with newline="\n".
        source: What messages call the file.

    Returns:
        All columns as text, in the order in which they first appear; the line of each row, from 1. Blank lines are
        skipped.

    Raises:
        TableError: With every line that is not a JSON object.
    """
    problems = _problems(source)
    rows = RowsToFrame()
    lines = []
    for line, text in enumerate(file, start=1):
        if not text.strip():
            continue
        place = f"{source}, line {line}"
        try:
            row = _decoder().decode(text)
        except (json.JSONDecodeError, RecursionError) as error:
            problems.add(f"{place}: {_not_json(error)}")
            continue
        add_row(row, rows, place, problems)
        lines.append(line)
    problems.raise_if_any()
    return rows.frame(), lines


def read_json_list(text: str, source: str) -> "pl.DataFrame":
    """Read a JSON list of objects, such as the instruction data of fine-tuning tutorials.

    Args:
        text: The whole file.
        source: What messages call the file.

    Returns:
        All columns as text, in the order in which they first appear.

    Raises:
        TableError: If this is not JSON or not a list, or with every entry that is not an object.
    """
    problems = _problems(source)
    rows = RowsToFrame()
    try:
        for entry, row in enumerate(_entries(text), start=1):
            add_row(row, rows, f"{source}, entry {entry}", problems)
    except json.JSONDecodeError as error:
        remedy = "Correct the file."
        if text.lstrip().startswith("{"):
            remedy = "If it has one object a line, give its name the suffix .jsonl."
        raise TableError(f"{source}, line {error.lineno}: {_not_json(error)}. {remedy}") from None
    except RecursionError as error:
        raise TableError(f"{source}: {_not_json(error)}. Correct the file.") from None
    problems.raise_if_any()
    return rows.frame()


def add_row(row: object, rows: RowsToFrame, place: str, problems: Problems) -> None:
    """Add an object to the rows as text, or note why not.

    Args:
        row: What should be a dict from column names to values.
        rows: Gets the row.
        place: Where the row is, for messages.
        problems: Gets what is wrong with it.
    """
    if not isinstance(row, dict):
        problems.add(f"{place}: this is {_kind(row)}, not an object with column names")
        return
    cells = {}
    for name, value in row.items():
        if not isinstance(name, str) or not name.strip():
            problems.add(f"{place}: {quoted(str(name))} is not a column name")
            continue
        try:
            cells[text_of(name)] = text_of(value)
        except ValueError as error:
            problems.add(f"{place}, column {quoted(name)}: the value {error}")
    rows.add(cells)


def _entries(text: str) -> Iterator[object]:
    """Decode the entries of a list one by one: all of them at once take several times the memory of the text."""
    decoder = _decoder()
    position = BLANK.match(text, 0).end()  # type: ignore[union-attr]
    if text[position : position + 1] != "[":
        decoder.decode(text)  # says what is wrong if it is not JSON at all
        raise json.JSONDecodeError("a list of objects is expected here", text, position)
    position = BLANK.match(text, position + 1).end()  # type: ignore[union-attr]
    closed = text[position : position + 1] == "]"
    while not closed:
        entry, position = decoder.raw_decode(text, position)
        yield entry
        position = BLANK.match(text, position).end()  # type: ignore[union-attr]
        if text[position : position + 1] not in (",", "]"):
            raise json.JSONDecodeError("Expecting ',' or ']'", text, position)
        closed = text[position] == "]"
        if not closed:
            position = BLANK.match(text, position + 1).end()  # type: ignore[union-attr]
    if (position := BLANK.match(text, position + 1).end()) != len(text):  # type: ignore[union-attr]
        raise json.JSONDecodeError("Extra data", text, position)

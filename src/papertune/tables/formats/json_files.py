"""Reads JSON lines and JSON lists of objects; every value becomes the text that the file has."""

import json
import re
from array import array
from collections.abc import Iterator, Sequence
from typing import Any, TextIO

from papertune.errors import TableError, quoted
from papertune.tables.cells import JsonNumber, RowsToFrame, json_form, text_of
from papertune.tables.problems import Problems

BLANK = re.compile(r"[ \t\n\r]*")
# The first line of a list of objects, or all of it.
_LIST_BEGINS = re.compile(r"\s*\[\s*(?:\{.*)?", re.DOTALL)


class RepeatedKeyError(ValueError):
    """An object has a key twice; json would silently keep the last value."""


def unique_keys(pairs: list[tuple[str, Any]]) -> dict[str, Any]:
    """Make an object of the pairs that the json module has read.

    Raises:
        RepeatedKeyError: If a key occurs twice.
    """
    row = dict(pairs)
    if len(row) < len(pairs):
        keys = [key for key, _ in pairs]
        repeated = next(key for key in keys if keys.count(key) > 1)
        raise RepeatedKeyError(f"the key {quoted(repeated)} occurs twice in one object")
    return row


DECODER = json.JSONDecoder(
    parse_int=JsonNumber,
    parse_float=JsonNumber,
    parse_constant=lambda name: None if name == "NaN" else JsonNumber(name),  # else Infinity or -Infinity
    object_pairs_hook=unique_keys,
)


def read_json_lines(file: TextIO, source: str) -> tuple[RowsToFrame, Sequence[int]]:
    r"""Read one JSON object per line.

    Args:
        file: The text, opened with newline="\n".
        source: What messages call the file.

    Returns:
        The rows, with columns in the order of their first appearance; the line of each row, from 1. Blank lines are
        skipped.

    Raises:
        TableError: With every line that is not a JSON object.
    """
    problems = problems_of_objects(source)
    rows = RowsToFrame(source)
    lines = array("q")
    for line, text in enumerate(file, start=1):
        if not text.strip():
            continue
        if not lines and not problems and _LIST_BEGINS.fullmatch(text):
            raise TableError(
                f"{source}, line {line}: a JSON list begins here. Rename the file to .json, or write one object per "
                "line."
            )
        place = f"line {line}"
        try:
            row = DECODER.decode(text)
        except (ValueError, RecursionError) as error:
            problems.add(place, _not_json(error))
            continue
        add_row(row, rows, place, problems)
        lines.append(line)
    problems.raise_if_any()
    return rows, lines


def read_json_list(text: str, source: str) -> RowsToFrame:
    """Read a JSON list of objects, such as the instruction data of fine-tuning tutorials.

    Args:
        text: The whole file.
        source: What messages call the file.

    Returns:
        The rows, with columns in the order of their first appearance.

    Raises:
        TableError: If this is not JSON or not a list; else with every entry that is not an object.
    """
    problems = problems_of_objects(source)
    rows = RowsToFrame(source)
    try:
        if not text.lstrip().startswith("["):
            raise TableError(
                f"{source} holds {_kind(DECODER.decode(text))}, not a list. Make it a list of objects: [{{...}}]."
            )
        for entry, row in enumerate(_entries(text), start=1):
            add_row(row, rows, f"entry {entry}", problems)
    except (ValueError, RecursionError) as error:
        line = f", line {error.lineno}" if isinstance(error, json.JSONDecodeError) else ""
        one_per_line = isinstance(error, json.JSONDecodeError) and error.msg == "Extra data" and text.lstrip()[0] == "{"
        remedy = "It seems to have one object per line: rename it to .jsonl." if one_per_line else "Correct it."
        raise TableError(f"{source}{line}: {_not_json(error)}. {remedy}") from None
    problems.raise_if_any()
    return rows


def problems_of_objects(source: str) -> Problems:
    """Build the collector for rows that are not objects."""
    return Problems(source, "rows cannot be read", "Each row is one object from column names to values.")


def add_row(row: object, rows: RowsToFrame, place: str, problems: Problems) -> None:
    """Add an object to the rows as text, or its problems to `problems`.

    Args:
        row: A dict from column names to values, or anything else by mistake.
        rows: Gets the row.
        place: Where the row is in the source, for messages.
        problems: Gets what is wrong with the row.
    """
    if not isinstance(row, dict):
        problems.add(place, f"this is {_kind(row)}, not an object")
        return
    if not row:
        problems.add(place, "this object is empty")
        return
    cells: dict[str, str] = {}
    forms: dict[str, int] = {}
    for name, value in row.items():
        try:
            if not isinstance(name, str):
                raise ValueError("has a name that is not text")
            if not name.strip():
                raise ValueError("has an empty name")
            cells[text_of(name)] = text_of(value)
            if form := json_form(value):
                forms[name] = form
        except ValueError as error:
            problems.add(f"{place}, column {quoted(str(name))}", f"the value {error}")
    rows.add(cells, forms)


def _entries(text: str) -> Iterator[object]:
    """Decode the entries of a list one by one: all at once need several times the memory of the text."""

    def skip_blank(position: int) -> int:
        match = BLANK.match(text, position)
        assert match  # it also matches the empty string
        return match.end()

    position = skip_blank(skip_blank(0) + 1)
    closed = text[position : position + 1] == "]"
    while not closed:
        entry, position = DECODER.raw_decode(text, position)
        yield entry
        position = skip_blank(position)
        closed = text[position : position + 1] == "]"
        if not closed:
            if text[position : position + 1] != ",":
                raise json.JSONDecodeError("Expecting ',' or ']'", text, position)
            position = skip_blank(position + 1)
    if (position := skip_blank(position + 1)) != len(text):
        raise json.JSONDecodeError("Extra data", text, position)


def _not_json(error: Exception) -> str:
    match error:
        case json.JSONDecodeError():
            return f"this is not JSON ({error.msg} at column {error.colno})"
        case RecursionError():
            return "this JSON is nested too deeply"
        case _:
            return str(error)


def _kind(value: object) -> str:
    """Return the JSON type of a value, with its article."""
    match value:
        case JsonNumber() | int() | float() if not isinstance(value, bool):
            return "a number"
        case None | bool():
            return "null" if value is None else "true or false"
        case str():
            return "text"
        case list() | tuple():
            return "a list"
        case dict():
            return "one object"
        case _:
            return f"a {type(value).__name__}"

"""Reads comma- or tab-separated text; a row that does not fit is an error, never padded or joined in silence."""

import csv
import re
from typing import TYPE_CHECKING, TextIO

from papertune.errors import TableError
from papertune.tables.cells import CHUNK_CHARACTERS, CHUNK_ROWS, stack, text_frame
from papertune.tables.problems import Problems, check_names

if TYPE_CHECKING:
    import polars as pl

COUNTED = "row {} below the header"

# Python's limit for a field is 131,072 characters; some abstracts with full texts are longer. The largest C long.
LARGEST_FIELD = 2**31 - 1

NAMES_OF_DELIMITERS = {",": "a comma", ";": "a semicolon", "\t": "a tab"}


def read_csv(file: TextIO, source: str, delimiter: str | None = None) -> "pl.DataFrame":
    """Read delimited text with a header.

    Python's csv module reads it, in its strict mode: a fifth of the speed of pyarrow's parser (100 MB/s), but that one
    takes an unclosed quote and text behind a closing quote without a word, and has a limit for the length of a row.

    Args:
        file: The text, opened with newline="".
        source: What messages call the file.
        delimiter: Between the fields; None takes what the header has: commas, else semicolons, else tabs.

    Returns:
        All columns as text. Blank lines are no rows.

    Raises:
        TableError: If the header is missing or unusable, or rows are ragged or wrongly quoted (all of the ragged ones
            are listed).
    """
    if delimiter is None:
        delimiter = _delimiter(file.readline())
        file.seek(0)
    reader = csv.reader(file, delimiter=delimiter, strict=True)
    problems = Problems(
        f"{source}: rows do not have the fields of the header",
        f"Quote cells that hold {NAMES_OF_DELIMITERS[delimiter]} or a line break, and give each row all its fields.",
    )
    frames: list[pl.DataFrame] = []
    rows: list[list[str]] = []
    names: list[str] = []
    number = characters = line = 0  # of the records below the header; of the chunk; the last line of the row before
    # The limit belongs to the whole process: put it back for whoever relies on it.
    limit = csv.field_size_limit(LARGEST_FIELD)
    try:
        for row in reader:
            if not row:
                pass
            elif not names:
                names = _header(row, source)
            else:
                number += 1
                if len(row) != len(names):
                    place = f"{source}, {COUNTED.format(number)} (line {line + 1})"
                    fields = "1 field" if len(row) == 1 else f"{len(row)} fields"
                    problems.add(f"{place}: found {fields}, expected {len(names)} as in the header")
                else:
                    rows.append(row)
                    characters += sum(map(len, row))
                    if len(rows) == CHUNK_ROWS or characters > CHUNK_CHARACTERS:
                        frames.append(_frame(names, rows))
                        rows, characters = [], 0
            line = reader.line_num
    except csv.Error as error:
        place = COUNTED.format(number + 1) if names else "the header"
        reason = (
            "a quote opens a cell and is never closed"
            if "unexpected end" in str(error)
            else f"text follows the quote that closes a cell (line {reader.line_num})"
        )
        problems.remedy = 'Inside a quoted cell, write a quote as two: "".' + f" {problems.remedy}" * bool(
            problems.found
        )
        problems.what = f"{source}: rows cannot be read"
        problems.add(f"{source}, {place} (line {line + 1}): {reason}")
    finally:
        csv.field_size_limit(limit)
    problems.raise_if_any()
    if not names:
        raise TableError(f"{source} has only blank lines. Export the table again, with a header.")
    if rows:
        frames.append(_frame(names, rows))
    return stack(frames) if frames else text_frame({name: [] for name in names})


def _frame(names: list[str], rows: list[list[str]]) -> "pl.DataFrame":
    return text_frame(dict(zip(names, map(list, zip(*rows, strict=True)), strict=True)))


def _header(row: list[str], source: str) -> list[str]:
    names = [name.strip("\ufeff") for name in row]
    check_names(names, source)
    return names


def _delimiter(header: str) -> str:
    """Tell the delimiter from the first line; names in quotes do not count."""
    bare = re.sub(r'"[^"]*"?', "", header)
    return next((candidate for candidate in NAMES_OF_DELIMITERS if candidate in bare), ",")

"""Finds out which character stands between the fields of a csv file."""

import csv
import io
import re
from contextlib import suppress
from itertools import islice
from typing import TextIO

from papertune.tables.remarks import is_remark

NAMES = {",": "a comma", ";": "a semicolon", "\t": "a tab"}

# Excel writes and obeys a first line such as "sep=;".
_SEP_LINE = re.compile(r'"?sep=([^"\r\n])"?[,;\t]*\r?\n?', re.IGNORECASE)
_SAMPLE_CHARS = 1 << 16
_SAMPLE_ROWS = 5


def name_of(delimiter: str) -> str:
    """Return how messages call a delimiter, with its article."""
    return NAMES.get(delimiter, f'"{delimiter}"')


def declared_delimiter(file: TextIO) -> str | None:
    """Return the delimiter of a first line such as "sep=;", and stop behind it; else None, at the start."""
    match = _SEP_LINE.fullmatch(file.readline(64))
    if match is None:
        file.seek(0)
        return None
    return match[1]


def guess_delimiter(file: TextIO) -> str:
    """Return the delimiter of the header: the first one of `NAMES` that it has.

    If it has several, one that divides the header and the rows below it into equally many fields is chosen first.
    Quoted delimiters do not count. The file is at its start before and afterwards.
    """
    sample = file.read(_SAMPLE_CHARS)
    file.seek(0)
    widths = {each: _widths(sample, each) for each in NAMES}
    candidates = [each for each in NAMES if widths[each] and widths[each][0] > 1]
    agreeing = (each for each in candidates if len(set(widths[each])) == 1)
    return next(agreeing, candidates[0] if candidates else ",")


def has_fields(file: TextIO) -> bool:
    """Whether a text is a table: its first line names a delimiter, or its first rows have equally many fields.

    The file is at its start before and afterwards.
    """
    if declared_delimiter(file) is not None:
        file.seek(0)
        return True
    sample = file.read(_SAMPLE_CHARS)
    file.seek(0)
    widths = [_widths(sample, each) for each in NAMES]
    if any(len(each) > 1 and each[0] > 1 and len(set(each)) == 1 for each in widths):
        return True
    header = sample.partition("\n")[0]
    return header.count("\t") > 1  # tabs do not occur in prose


def _widths(sample: str, delimiter: str) -> list[int]:
    """Return the numbers of fields of the first rows, as far as they can be read."""
    widths: list[int] = []
    reader = csv.reader(io.StringIO(sample, newline=""), delimiter=delimiter, strict=True)
    with suppress(csv.Error):  # a wrong delimiter, or the sample ends within a quoted cell
        rows = (row for row in reader if row and not is_remark(row))
        widths.extend(len(row) for row in islice(rows, _SAMPLE_ROWS))
    return widths

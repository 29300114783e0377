"""Finds out which character stands between the fields of a csv file."""

import csv
import io
import re
from contextlib import suppress
from itertools import chain, islice
from typing import TextIO

from papertune.tables.remarks import is_remark

NAMES = {",": "a comma", ";": "a semicolon", "\t": "a tab", "|": "a vertical bar"}

# Excel writes and obeys a first line such as "sep=;".
_SEP_LINE = re.compile(r'"?sep=(\\t|[^"\x00-\x08\x0a-\x1f])"?[,;\t]*\r?\n?', re.IGNORECASE)
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
    return "\t" if match[1] == r"\t" else match[1]


def guess_delimiter(file: TextIO, expected: str) -> str:
    """Return the delimiter that the header and the first rows show; quoted ones do not count.

    It is one that the header has, and one that divides the first rows into as many fields, if there is one. Where the
    header has none, a title may stand above it: then it is one that divides the rows below alike.

    Args:
        file: The text, at its start before and afterwards.
        expected: The delimiter that is tried first, and the answer if nothing shows another one.
    """
    sample = file.read(_SAMPLE_CHARS)
    file.seek(0)
    order = [expected, *(each for each in NAMES if each != expected)]
    widths = {each: _widths(sample, each) for each in order}
    candidates = [each for each in order if widths[each] and widths[each][0] > 1]
    agreeing = [each for each in candidates if len(set(widths[each])) == 1]
    # A bar, or anything but the tabs of a .tsv, is often a part of a name.
    candidates = [each for each in candidates if each == expected or (expected == "," and each != "|")]
    below_title = [each for each in ";\t" if expected == "," and _is_below_title(widths[each])]
    below_title = [each for each in below_title if f"{each} " not in sample]  # else a list of keywords
    return next(chain(agreeing, candidates, below_title), expected)


def _is_below_title(widths: list[int]) -> bool:
    return len(widths) > 2 and widths[1] > 1 and len(set(widths[1:])) == 1


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
        rows = (row for row in reader if any(map(str.strip, row)) and not is_remark(row))
        widths.extend(len(row) for row in islice(rows, _SAMPLE_ROWS))
    return widths

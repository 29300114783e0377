"""What separates the items of list cells.

In every column semicolons, line breaks and commas do; other signs do where the column shows it. The decision is made
once, over all training rows, and becomes `input_separator` of the column in the run's recipe.
"""

import re
from collections import Counter
from collections.abc import Callable, Iterable, Iterator, Sequence
from functools import lru_cache

from papertune.tables.lists import CLEAR_SIGNS, STRONG_SIGNS, UNCLEAR_SIGNS, WEAK_SIGNS, ListError, read_list
from papertune.tables.marks import without_markup

# A sign separates the items of a column if at least this share of the cells with any separator have it, and at least
# this number of cells.
_CLEAR_SHARE = 0.8
_MIN_CELLS = 2
# What may also be part of a keyword (`TCP/IP`) must occur this often in a cell, unless it stands between blanks.
_MIN_TIGHT = 2

_STRONG = re.compile(f"[{re.escape(STRONG_SIGNS)}]")
_WEAK = re.compile(f"[{WEAK_SIGNS}]")
_SIGNS = re.compile(f"[{re.escape(CLEAR_SIGNS + UNCLEAR_SIGNS)}]")
_DASHES = "–—-"

# How messages name signs that cannot be seen or told from others.
_NAMES = {
    "\t": "a tab",
    "\u3000": "a full-width blank (U+3000)",
    "·": '"·" (U+00B7)',
    "・": '"・" (U+30FB)',
    "･": '"･" (U+FF65)',
}


def text_items(cell: str, separator: str | None = None) -> list[str]:
    """Split a cell of text, which is no list, into items; they are neither trimmed nor tidied.

    Args:
        cell: The cell.
        separator: What separates items; blanks at its ends stand for any blanks. A cell without it is split at
            semicolons and line breaks only. None: at these, or at commas if the cell has none of them.
    """
    text = without_markup(cell)  # the semicolon of "&amp;" does not separate
    if separator is not None:
        own = separator_pattern(separator)
        return (own if own.search(text) else _STRONG).split(text)
    return (_STRONG if _STRONG.search(text) else _WEAK).split(text)


def single_item(cell: str) -> str:
    """Return the item of a list that has just one; "" for an empty list; any other cell unchanged."""
    items = list_items(cell)
    return cell if items is None or len(items) > 1 else "".join(items)


def column_items(cells: Sequence[str]) -> Iterator[list[str]]:
    """Yield the items of each cell of a column for which no label set is known.

    Text is split at the sign that the column clearly shows, else at semicolons and line breaks, or at commas if no cell
    has one of these.
    """
    separator = clear_separator(cells)
    split = _STRONG if any(map(_STRONG.search, _texts(cells))) else _WEAK
    for cell in cells:
        items = list_items(cell)
        if items is None:
            items = text_items(cell, separator) if separator else split.split(without_markup(cell))
        yield items


def list_items(cell: str) -> list[str] | None:
    """Return the items of a list, numbers included; None for any other text, broken lists among them."""
    try:
        return read_list(cell, numbers=True)
    except ListError:
        return None


@lru_cache
def separator_pattern(separator: str) -> re.Pattern[str]:
    """Return a pattern for a separator; blanks at its ends stand for any blanks."""
    sign = separator.strip()
    if not sign:
        return re.compile(re.escape(separator))
    before = r"\s+" if separator[0].isspace() else ""
    after = r"\s+" if separator[-1].isspace() else ""
    return re.compile(before + re.escape(sign) + after)


def clear_separator(cells: Iterable[str]) -> str | None:
    """Return the sign that separates the items of a column, if it is not a semicolon, line break or comma.

    A sign does so if at least two cells and 80% of the cells with any separator have it; the more frequent of two. What
    may also be part of a keyword (a slash, a dot in the middle of the line, a dash) must stand between blanks or occur
    at least twice in a cell, and the other 20% include cells with commas.

    Returns:
        The sign, with blanks at its ends if it stands between blanks; None if there is none.
    """
    having: Counter[str] = Counter()
    with_comma: Counter[str] = Counter()
    listed = 0
    for cell in _texts(cells):
        signs = cell_signs(cell)
        comma = bool(_WEAK.search(cell))
        if _STRONG.search(cell):
            listed += 1
            continue
        listed += bool(signs) or comma
        having.update(signs)
        with_comma.update(sign for sign in signs if comma and sign not in CLEAR_SIGNS)
    clear = [
        (count, sign)
        for sign, count in having.items()
        if count >= max(_MIN_CELLS, _CLEAR_SHARE * listed) and with_comma[sign] <= (1 - _CLEAR_SHARE) * count
    ]
    # Of several the most frequent one; of equally frequent ones the one that is never part of a keyword.
    return max(clear, key=lambda each: (each[0], each[1] in CLEAR_SIGNS, each[1]))[1] if clear else None


def cell_signs(cell: str) -> set[str]:
    """Return the signs that may separate the items of a text, beside semicolons, line breaks and commas."""
    text = cell.strip()
    signs: set[str] = set()
    for sign in set(_SIGNS.findall(text)):
        if sign in CLEAR_SIGNS:
            signs.add(sign)
        elif separator_pattern(f" {sign} ").search(text):
            signs.add(f" {sign} ")
        elif sign not in _DASHES and text.strip(sign).count(sign) >= _MIN_TIGHT:
            signs.add(sign)
    return signs


def unclear_signs(cells: Iterable[tuple[int, str]], items_of: Callable[[str], Sequence[str]]) -> tuple[str, list[int]]:
    """Return the signs that may separate items of cells that are read as a single item, and the rows of these cells.

    Args:
        cells: Rows and their cells.
        items_of: Reads the items of a cell.

    Returns:
        The signs in words, the most frequent first; "" without any.
    """
    counts: Counter[str] = Counter()
    rows: list[int] = []
    commas: list[int] = []
    most = 0
    for row, cell in cells:
        items = items_of(cell)
        most = max(most, len(items))
        # A cell of text shows signs that are blanks, which items do not have any more.
        if len(items) == 1 and (signs := cell_signs(cell if list_items(cell) is None else items[0])):
            counts.update(sign.strip() or sign for sign in signs)
            rows.append(row)
        elif len(items) == 1 and _WEAK.search(items[0]):
            commas.append(row)
    if most == 1 and len(commas) >= _MIN_CELLS:  # such as one tag with a whole list in each record
        counts[","] += len(commas)
        rows = sorted([*rows, *commas])
    *others, last = [sign_in_words(sign) for sign, _ in counts.most_common()] or [""]
    return f"{', '.join(others)} or {last}" if others else last, rows


def sign_in_words(sign: str) -> str:
    """Return a sign as messages name it."""
    return _NAMES.get(sign, f'"{sign}"')


def _texts(cells: Iterable[str]) -> Iterable[str]:
    """Yield the cells that are text and not a list."""
    for cell in cells:
        try:
            if cell.strip() and read_list(cell) is None:
                yield without_markup(cell)
        except ListError:
            continue

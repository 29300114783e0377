"""Cells that hold none, one or several labels: from text to a list of labels, and back."""

import json
import re
from collections.abc import Iterable
from functools import lru_cache
from typing import TYPE_CHECKING

from papertune.kinds.label.cells import read_label
from papertune.kinds.separators import cell_signs, separator_pattern, text_items
from papertune.tables.lists import STRONG_SIGNS, ListError, read_list
from papertune.tables.marks import without_asterisks, without_markup

if TYPE_CHECKING:
    from papertune.kinds.labels.column import LabelsColumn

# A cell is read again for the question about each label.
_CACHED_CELLS = 1024


def split_labels(cell: str, column: "LabelsColumn") -> list[str]:
    """Split a cell at semicolons, line breaks and the column's own separators; if it has none of these, at commas.

    A cell that is a label as a whole is not split, so a single label may contain commas. Neither are the items of a
    list.

    Returns:
        The trimmed parts in order; labels as the recipe writes them, anything else without the marks of its source.
    """
    return list(_split(cell, column.labels, column.separator, column.input_separator))


def read_labels(cell: str, column: "LabelsColumn") -> list[str] | None:
    """Return the labels of a cell, each once, in the recipe's order; None if a part is not a label.

    An empty cell has no labels, which is a gold answer too.
    """
    parts = set(split_labels(cell, column))
    return [label for label in column.labels if label in parts] if parts <= set(column.labels) else None


def join_labels(labels: Iterable[str], column: "LabelsColumn") -> str:
    """Write labels as a cell that `read_labels` reads the same labels from."""
    chosen = list(labels)
    text = column.separator.join(chosen)
    # A label with an entity such as "&amp;" would be split there: then the cell is a list in JSON.
    is_clear = list(_split(text, column.labels, column.separator, None)) == chosen
    return text if is_clear else json.dumps(chosen, ensure_ascii=False)


def clear_label_separator(cells: Iterable[str], column: "LabelsColumn") -> str | None:
    """Return the sign at which cells must be split to be labels; None if they are labels, or no sign does it."""
    unread = [cell for cell in cells if read_labels(cell, column) is None]
    signs = {sign for cell in unread for sign in cell_signs(cell)}
    found = [
        sign
        for sign in sorted(signs)
        if not any(separator_pattern(sign).search(label) for label in column.labels)
        and all(
            set(_split(cell, column.labels, column.separator, sign)) <= set(column.labels)
            for cell in unread
            if sign in cell_signs(cell)
        )
    ]
    return found[0] if found else None


@lru_cache(maxsize=_CACHED_CELLS)
def _split(cell: str, labels: tuple[str, ...], separator: str, input_separator: str | None) -> tuple[str, ...]:
    if (whole := read_label(cell, labels)) is not None:
        return (whole,)
    try:
        items = read_list(cell, numbers=True)
    except ListError:
        return (cell.strip(),)
    parts = _split_text(cell, separator, input_separator) if items is None else items
    trimmed = (part.strip() for part in parts)
    return tuple(read_label(part, labels) or _tidy_label(part, labels) for part in trimmed if part)


def _split_text(cell: str, separator: str, input_separator: str | None) -> list[str]:
    text = without_markup(cell.strip())
    own = re.escape(separator.strip()) or r"\s"
    more = "" if input_separator is None else f"|{separator_pattern(input_separator).pattern}"
    # The own separator first, since it may begin with a semicolon.
    parts = re.split(rf"{own}{more}|[{re.escape(STRONG_SIGNS)}]", text)
    return parts if len(parts) > 1 else text_items(text)


def _tidy_label(part: str, labels: tuple[str, ...]) -> str:
    """Return a part without asterisks and markup, as a label if it is one."""
    tidy = without_asterisks(without_markup(part)).strip()
    return read_label(tidy, labels) or tidy or part

"""Cells that hold none, one or several labels: from text to a list of labels, and back."""

import re
from collections.abc import Iterable
from functools import lru_cache
from typing import TYPE_CHECKING

from papertune.kinds.label.cells import read_label

if TYPE_CHECKING:
    from papertune.kinds.labels.column import LabelsColumn

_WEAK = re.compile(r"[,，、]")

# A cell is read again for the question about each label.
_CACHED_CELLS = 1024


def split_labels(cell: str, column: "LabelsColumn") -> list[str]:
    """Split a cell at semicolons, line breaks and the column's own separator; if it has none of these, at commas.

    A cell that is a label as a whole is not split, so a single label may contain commas.

    Returns:
        The trimmed parts in order; labels as the recipe writes them, anything else unchanged.
    """
    return list(_split(cell, column.labels, column.separator))


def read_labels(cell: str, column: "LabelsColumn") -> list[str] | None:
    """Return the labels of a cell, each once, in the recipe's order; None if a part is not a label.

    An empty cell has no labels, which is a gold answer too.
    """
    parts = set(_split(cell, column.labels, column.separator))
    return [label for label in column.labels if label in parts] if parts <= set(column.labels) else None


def join_labels(labels: Iterable[str], column: "LabelsColumn") -> str:
    """Write labels as a cell that `read_labels` reads the same labels from."""
    return column.separator.join(labels)


@lru_cache(maxsize=_CACHED_CELLS)
def _split(cell: str, labels: tuple[str, ...], separator: str) -> tuple[str, ...]:
    if (whole := read_label(cell, labels)) is not None:
        return (whole,)
    own = re.escape(separator.strip()) or r"\s"
    # The own separator first, since it may begin with a semicolon.
    parts = re.split(rf"{own}|[;；\n]", cell.strip())
    if len(parts) == 1:
        parts = _WEAK.split(cell)
    trimmed = (part.strip() for part in parts)
    return tuple(read_label(part, labels) or part for part in trimmed if part)

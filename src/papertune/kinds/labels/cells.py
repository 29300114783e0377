"""Cells that hold none, one or several labels: from text to a list of labels, and back."""

import re
from collections.abc import Iterable
from functools import lru_cache
from typing import TYPE_CHECKING

from papertune.kinds.label.cells import read_label

if TYPE_CHECKING:
    from papertune.kinds.labels.column import LabelsColumn

_WEAK = re.compile(r"[,，、]")

# Each row is asked about every label, and each time its cell is read.
_CELLS_REMEMBERED = 1024


def split_labels(cell: str, column: "LabelsColumn") -> list[str]:
    """Split a cell at semicolons, line breaks and the column's own separator or, where there is none, at commas.

    A cell that is one label as a whole is not split, so a lone label may have commas in it.

    Returns:
        What stands between, trimmed, in order; a label as the recipe writes it, anything else as it is.
    """
    return list(_split(cell, column.labels, column.separator))


def read_labels(cell: str, column: "LabelsColumn") -> list[str] | None:
    """Give the labels of a cell, each once, in the recipe's order; None if something in it is no label.

    An empty cell has no label, which is as good an answer as any other.
    """
    parts = set(_split(cell, column.labels, column.separator))
    return [label for label in column.labels if label in parts] if parts <= set(column.labels) else None


def join_labels(labels: Iterable[str], column: "LabelsColumn") -> str:
    """Write labels as a cell that `read_labels` reads the same labels from."""
    return column.separator.join(labels)


@lru_cache(maxsize=_CELLS_REMEMBERED)
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

"""Label cells: from the table's text to one of the recipe's labels."""

import re
from collections import Counter
from collections.abc import Iterable, Sequence

_WHOLE_FLOAT = re.compile(r"([+-]?\d+)\.0+")


def read_label(cell: str, labels: Sequence[str]) -> str | None:
    """Give the label that a cell means, or None.

    A cell means a label if it is that label, the label with blanks around it, or, for a whole number that a
    spreadsheet has turned into a float, the label with ".0" behind it.
    """
    if cell in labels:
        return cell
    trimmed = cell.strip()
    if trimmed in labels:
        return trimmed
    if (match := _WHOLE_FLOAT.fullmatch(trimmed)) and match[1] in labels:
        return match[1]
    return None


def balanced_weights(given: Iterable[str], labels: Sequence[str]) -> dict[str, float]:
    """Weigh labels so that each counts the same in total: rows / (labels x rows of the label).

    A label without rows gets weight 0; it cannot be learnt.
    """
    counts = Counter(given)
    rows = sum(counts.values())
    present = sum(1 for label in labels if counts[label])
    return {label: rows / (present * counts[label]) if counts[label] else 0.0 for label in labels}

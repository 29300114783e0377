"""Label cells: from the text of a table to a label of the recipe."""

import re
from collections import Counter
from collections.abc import Iterable, Sequence

from papertune.errors import listed, quoted
from papertune.suggest import did_you_mean

_WHOLE_FLOAT = re.compile(r"([+-]?\d+)\.0+")


def read_label(cell: str, labels: Sequence[str]) -> str | None:
    """Return the label that a cell means, or None.

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


def balanced_weights(gold: Iterable[str], labels: Sequence[str]) -> dict[str, float]:
    """Weigh labels so that each counts the same in total: rows / (labels x rows of the label).

    A label without rows gets weight 0; it cannot be learned.
    """
    counts = Counter(gold)
    rows = sum(counts.values())
    present = sum(1 for label in labels if counts[label])
    return {label: rows / (present * counts[label]) if counts[label] else 0.0 for label in labels}


def check_label_set(labels: Sequence[str], key: str = "labels") -> None:
    """Check a recipe's label set.

    Raises:
        ValueError: If a label is repeated, or begins or ends with a blank.
    """
    repeated = sorted({label for label in labels if labels.count(label) > 1})
    if repeated:
        raise ValueError(f"{key} are repeated: {', '.join(repeated)}")
    untrimmed = [label for label in labels if label != label.strip()]
    if untrimmed:
        raise ValueError(f"{key} must not begin or end with a blank: {untrimmed}")


def wrong_label(cell: str, labels: Sequence[str], name: str) -> str:
    """Return the problem of a cell of the column `name` that is not a label."""
    if not cell.strip():
        return "the cell is empty. Fill it in, or take the row out."
    hint = did_you_mean(cell, labels)
    shown = listed(labels[:5]) + (", ..." if len(labels) > 5 else "")
    known = f"one of the {len(labels)} labels" if len(labels) > 1 else "the label"
    remedy = f"Correct the cell, or add the label to columns.{name}.labels."
    return f"{quoted(cell)} is not {known} ({shown}).{hint} {remedy}"

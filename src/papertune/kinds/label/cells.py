"""Label cells: from the text of a table to a label of the recipe."""

import re
import unicodedata
from collections import Counter
from collections.abc import Iterable, Mapping, Sequence
from functools import lru_cache

from papertune.errors import Sentence, listed, quoted
from papertune.kinds.separators import single_item
from papertune.suggest import did_you_mean
from papertune.tables.lists import ListError, read_list

# Characters that no reader sees: soft hyphen, zero-width characters, direction marks, byte order mark.
_INVISIBLE = "\u00ad\u180e\u200b-\u200f\u202a-\u202e\u2060-\u206f\ufeff"
_AROUND = re.compile(rf"\A[\s{_INVISIBLE}]+|[\s{_INVISIBLE}]+\Z")
_INSIDE = re.compile(f"[{_INVISIBLE}]")
_WHOLE_FLOAT = re.compile(r"([+-]?\d+)\.0+")

# How a warning describes it.
TIDYING = "tidying (blanks, invisible characters, case, or 1.0 for 1)"

# What tables and programs write for "not labelled", in lower case; "-1" only beside 0 and 1 (ASReview).
UNLABELLED = (
    *("?", "-", "–", "—", "#n/a", "n/a", "n.a.", "na", "nan", "null", "unlabelled", "unlabeled", "not labelled"),
    *("not labeled", "unscreened", "not screened", "undecided", "tbd", "未标注", "待定"),
    *("pending", "unreviewed", "not reviewed", "no vote", "awaiting", "未审", "未筛选"),
)


def tidy_label(cell: str) -> str:
    """Return a cell in one line, without blanks and invisible characters around it, and 1.0 as 1."""
    text = " ".join(_AROUND.sub("", cell).split())
    match = _WHOLE_FLOAT.fullmatch(text)
    return match[1] if match else text


def without_invisible(text: str) -> str:
    """Return a text without the characters that no reader sees."""
    return _INSIDE.sub("", text)


def loose_label(cell: str) -> str:
    """Return what labels have in common that differ only in case, width or invisible characters."""
    return unicodedata.normalize("NFKC", tidy_label(without_invisible(cell))).casefold()


def read_label(cell: str, labels: Sequence[str]) -> str | None:
    """Return the label that a cell means, or None.

    A cell means the label that it is. Otherwise it means the label that is the same after tidying (`tidy_label`), or
    else the one that differs only in case, width or invisible characters; but none if two labels are the same then.
    A list with just one item means what the item means.
    """
    found = _read_text(cell, labels)
    if found is None and (item := single_item(cell)) != cell:
        return _read_text(item, labels)
    return found


def _read_text(cell: str, labels: Sequence[str]) -> str | None:
    if cell in labels:
        return cell
    if (trimmed := cell.strip()) in labels:
        return trimmed
    tidied, loose = _readings(tuple(labels))
    found = tidied.get(tidy_label(cell))
    return loose.get(loose_label(cell)) if found is None else found


def is_empty_cell(cell: str) -> bool:
    """Whether a cell is blank or an empty list."""
    return not tidy_label(single_item(cell))


@lru_cache(maxsize=64)
def _readings(labels: tuple[str, ...]) -> tuple[Mapping[str, str | None], Mapping[str, str | None]]:
    """Return the label of each tidied and of each loose form; None where several labels have the same."""
    tidied: dict[str, str | None] = {}
    loose: dict[str, str | None] = {}
    for form, readings in ((tidy_label, tidied), (loose_label, loose)):
        for label in labels:
            key = form(label)
            if not key and label:
                continue  # nothing that can be seen: an empty cell does not mean it
            readings[key] = label if readings.get(key, label) == label else None
    return tidied, loose


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
    if is_empty_cell(cell):
        text = f'the cell is empty. Fill it in, take the row out, or list "" in columns.{name}.unlabelled.'
        return Sentence(text, "empty_label")
    try:
        items = read_list(cell, numbers=True) or ()
    except ListError as error:
        return Sentence(f"{quoted(cell)} {error}.", "broken_list", value=cell)
    if len(items) > 1:
        text = (
            f"{quoted(cell)} is a list of {len(items)} labels, and the column has one in each cell. Leave one, or "
            f'set columns.{name}.kind to "labels".'
        )
        return Sentence(text, "several_labels", value=cell)
    hint = did_you_mean(cell, labels)
    shown = listed(labels[:5]) + (", ..." if len(labels) > 5 else "")
    known = f"one of the {len(labels)} labels" if len(labels) > 1 else "the label"
    is_marker = loose_label(cell) in (*UNLABELLED, "-1")
    where = f"list it in columns.{name}.unlabelled" if is_marker else f"add the label to columns.{name}.labels"
    remedy = f"Correct the cell, or {where}."
    text = f"{quoted(cell)} is not {known} ({shown}).{hint} {remedy}"
    return Sentence(text, "unknown_label", value=cell, labels=shown)

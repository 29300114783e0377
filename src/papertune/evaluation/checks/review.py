"""Rows of a label or labels column for a person to review: confident errors and uncertain rows."""

import heapq
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from operator import attrgetter
from typing import Any

from papertune.recipe import Recipe
from papertune.tables import Table

# Number of rows of each list.
REVIEW_ROWS = 10


@dataclass(frozen=True)
class ReviewRow:
    """A row of a label column, or one label of a row of a labels column, for a person to review.

    Attributes:
        id: The row's id in its table, or its number.
        document: Its text.
        gold: The gold label; in a labels column the label, or "not " and the label.
        predicted: The prediction of the run, or the more probable label, in the same words.
        predicted_probability: Its probability, from 0 to 1.
        gold_probability: The probability of the gold label, from 0 to 1.
        abstained: Whether the run abstains.
    """

    id: str
    document: str
    gold: str
    predicted: str
    predicted_probability: float
    gold_probability: float
    abstained: bool = False

    def as_dict(self) -> dict[str, Any]:
        """Return the row by the keys of report.json, whose names stay as they are."""
        return {
            "id": self.id,
            "document": self.document,
            "given": self.gold,
            "said": self.predicted,
            "said_probability": self.predicted_probability,
            "given_probability": self.gold_probability,
            "withheld": self.abstained,
        }


def row_name(table: Table, recipe: Recipe, row: int) -> str:
    """Return the id of a row, or its number if the table has no ids."""
    key = recipe.table.id
    return table.frame[key][row] if key is not None and key in table.columns else f"row {row + 1}"


@dataclass(frozen=True)
class Judged:
    """A prediction of a run beside the gold label.

    Attributes:
        row: The row that is shown.
        confidence: In a label column the probability of the label; in a labels column the distance of the label's
            probability from its threshold in log-odds, since 0.1 is confident for a rare label with the threshold 0.01.
    """

    row: ReviewRow
    confidence: float

    @property
    def is_error(self) -> bool:
        """Whether the prediction is wrong; a row where the run abstains is not an error."""
        return self.row.predicted != self.row.gold and not self.row.abstained


def confident_errors(rows: Iterable[Sequence[Judged]], count: int = REVIEW_ROWS) -> list[ReviewRow]:
    """Return the most confident wrong prediction of each row, the most confident first.

    The table's label may be wrong there, or the model has learned the wrong thing.
    """
    wrong = ([each for each in judged if each.is_error] for judged in rows)
    most_confident = (max(errors, key=attrgetter("confidence")) for errors in wrong if errors)
    return [each.row for each in heapq.nlargest(count, most_confident, key=attrgetter("confidence"))]


def uncertain_rows(rows: Iterable[Sequence[Judged]], count: int = REVIEW_ROWS) -> list[ReviewRow]:
    """Return the least confident prediction of each row, the least confident first; abstained ones count."""
    least_confident = (min(judged, key=attrgetter("confidence")) for judged in rows if judged)
    return [each.row for each in heapq.nsmallest(count, least_confident, key=attrgetter("confidence"))]

"""Rows of a label or labels column that are worth a person's look: confident errors, and uncertain rows."""

import heapq
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from operator import attrgetter

from papertune.recipe import Recipe
from papertune.tables import Table

# So many rows of each kind are shown.
REVIEW_ROWS = 10


@dataclass(frozen=True)
class ReviewRow:
    """A row of a label column, or one label of a row of a labels column, that a person should look at.

    Attributes:
        id: The row's id in its table, or where it stands.
        document: Its text.
        given: The label that the table has; of a labels column the label, or "not " and the label.
        said: The run's answer, or the label that is thought more likely, in the same words.
        said_probability: Its probability, from 0 to 1.
        given_probability: The probability of the label that the table has, from 0 to 1.
        withheld: Whether the run is not sure enough of that answer to give it.
    """

    id: str
    document: str
    given: str
    said: str
    said_probability: float
    given_probability: float
    withheld: bool = False


def row_name(table: Table, recipe: Recipe, row: int) -> str:
    """Return the id of a row, or its number if the table has no ids."""
    key = recipe.table.id
    return table.frame[key][row] if key is not None and key in table.columns else f"row {row + 1}"


@dataclass(frozen=True)
class Judged:
    """One answer of a run beside the truth.

    Attributes:
        row: What a person is shown of it.
        sureness: How sure the run is, in a scale of the column: a label's probability, or how far in log-odds the
            probability of one of several labels is from its threshold. A rare label may be named at 0.1, and is sure
            there if its threshold is 0.01.
    """

    row: ReviewRow
    sureness: float

    @property
    def is_mistake(self) -> bool:
        """Whether the answer is wrong; one that is withheld is no mistake."""
        return self.row.said != self.row.given and not self.row.withheld


def confident_errors(rows: Iterable[Sequence[Judged]], count: int = REVIEW_ROWS) -> list[ReviewRow]:
    """Return the most confident wrong prediction of each row, the most confident first.

    The table's label may be wrong there, or the model has learned the wrong thing.
    """
    wrong = ([each for each in judged if each.is_mistake] for judged in rows)
    surest = (max(mistakes, key=attrgetter("sureness")) for mistakes in wrong if mistakes)
    return [each.row for each in heapq.nlargest(count, surest, key=attrgetter("sureness"))]


def uncertain_rows(rows: Iterable[Sequence[Judged]], count: int = REVIEW_ROWS) -> list[ReviewRow]:
    """Return the least confident prediction of each row, the least confident first; abstained ones count."""
    unsure = (min(judged, key=attrgetter("sureness")) for judged in rows if judged)
    return [each.row for each in heapq.nsmallest(count, unsure, key=attrgetter("sureness"))]

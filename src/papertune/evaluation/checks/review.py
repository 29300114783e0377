"""Rows of a label or labels column that are worth a person's look: sure and wrong, or hardly sure at all."""

import heapq
import math
from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from operator import attrgetter

from papertune.evaluation.predictions import Answers
from papertune.inference.outputs import label_thresholds
from papertune.kinds import LabelColumn, LabelsColumn
from papertune.kinds.label.cells import read_label
from papertune.kinds.labels.cells import read_labels
from papertune.prompts.examples import RowReader
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
    """Give the id of a row, or where it stands if the table has no ids."""
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


def judged_rows(answers: Answers, table: Table, recipe: Recipe, name: str) -> Iterator[list[Judged]]:
    """Go through the rows that have an answer, probabilities and a true label, in table order.

    Args:
        answers: An answer for each row of the table, those that the run withholds too.
        table: The table with the documents and the true labels.
        recipe: The recipe with the column.
        name: The column's name.

    Yields:
        Of each row what is said of it: one answer for a label column, one for each label of a labels column. Of another
        column there are no rows.
    """
    column = recipe.columns[name]
    if answers.probabilities is None or not isinstance(column, LabelColumn | LabelsColumn):
        return
    reader = RowReader(table, recipe)
    for row, (said, probabilities) in enumerate(zip(answers.cells, answers.probabilities, strict=True)):
        if not len(probabilities):
            continue
        of = dict(zip(column.labels, map(float, probabilities), strict=True))
        at, document = row_name(table, recipe, row), reader.document(row)
        if isinstance(column, LabelsColumn):
            yield list(_judged_labels(at, document, said, of, reader.labels(row, name), column))
            continue
        cell = reader.given(row, name)
        true = None if cell is None else read_label(cell, column.labels)
        if said and true:
            withheld = answers.withheld is not None and answers.withheld[row]
            yield [Judged(ReviewRow(at, document, true, said, of[said], of[true], withheld), of[said])]


def _judged_labels(
    at: str, document: str, said: str, likely: Mapping[str, float], has: Mapping[str, bool], column: LabelsColumn
) -> Iterator[Judged]:
    """Judge each label that was asked for, and of which the table says whether the row has it."""
    named = read_labels(said, column) or ()
    for label, threshold in zip(column.labels, label_thresholds(column).tolist(), strict=True):
        if label in has and not math.isnan(likely[label]):
            words = {True: label, False: f"not {label}"}
            of = {True: likely[label], False: 1 - likely[label]}
            given, answer = has[label], label in named
            shown = ReviewRow(at, document, words[given], words[answer], of[answer], of[given])
            yield Judged(shown, abs(_log_odds(likely[label]) - _log_odds(threshold)))


def _log_odds(probability: float) -> float:
    kept = min(max(probability, 1e-9), 1 - 1e-9)
    return math.log(kept / (1 - kept))


def confident_mistakes(rows: Iterable[Sequence[Judged]], count: int = REVIEW_ROWS) -> list[ReviewRow]:
    """Give the surest wrong answer of each row, the surest rows first.

    Where the model is sure and wrong, the table's label may be wrong, or the model has learnt the wrong thing.
    """
    wrong = ([each for each in judged if each.is_mistake] for judged in rows)
    surest = (max(mistakes, key=attrgetter("sureness")) for mistakes in wrong if mistakes)
    return [each.row for each in heapq.nlargest(count, surest, key=attrgetter("sureness"))]


def least_sure(rows: Iterable[Sequence[Judged]], count: int = REVIEW_ROWS) -> list[ReviewRow]:
    """Give the least sure answer of each row, given or withheld, the least sure rows first."""
    unsure = (min(judged, key=attrgetter("sureness")) for judged in rows if judged)
    return [each.row for each in heapq.nsmallest(count, unsure, key=attrgetter("sureness"))]

"""Rows of a label or labels column that are worth a person's look: sure and wrong, or hardly sure at all."""

import heapq
import math
from collections.abc import Iterable, Iterator
from dataclasses import dataclass

from papertune.config import LabelColumn, LabelsColumn, Recipe
from papertune.evaluation.answers import Answers
from papertune.tables import Table
from papertune.tasks import RowReader, read_label, read_labels

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


def judged_rows(answers: Answers, table: Table, recipe: Recipe, name: str) -> Iterator[ReviewRow]:
    """Go through the rows that have an answer, probabilities and a true label, in table order.

    Args:
        answers: An answer for each row of the table, those that the run withholds too.
        table: The table with the documents and the true labels.
        recipe: The recipe with the column.
        name: The column's name.

    Yields:
        Each row of a label column; of a labels column each label of each row. Of another column nothing.
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
            named = read_labels(said, column) or ()
            for label, given in reader.labels(row, name).items():
                if not math.isnan(of[label]):
                    yield _judged_label(at, document, label, given, label in named, of[label])
            continue
        cell = reader.given(row, name)
        true = None if cell is None else read_label(cell, column.labels)
        if said and true:
            withheld = answers.withheld is not None and answers.withheld[row]
            yield ReviewRow(at, document, true, said, of[said], of[true], withheld)


def _judged_label(at: str, document: str, label: str, given: bool, said: bool, likely: float) -> ReviewRow:
    """Give one label of a row of a labels column; `likely` is the probability that the row has it."""
    words = {True: label, False: f"not {label}"}
    of = {True: likely, False: 1 - likely}
    return ReviewRow(at, document, words[given], words[said], of[said], of[given])


def confident_mistakes(rows: Iterable[ReviewRow], count: int = REVIEW_ROWS) -> list[ReviewRow]:
    """Give the rows with a wrong answer, the surest first; an answer that is withheld is no mistake.

    Where the model is sure and wrong, the table's label may be wrong, or the model has learnt the wrong thing.
    """
    wrong = (row for row in rows if row.said != row.given and not row.withheld)
    return heapq.nsmallest(count, wrong, key=lambda row: -row.said_probability)


def least_sure(rows: Iterable[ReviewRow], count: int = REVIEW_ROWS) -> list[ReviewRow]:
    """Give the rows whose answer has the lowest probability, given or withheld, the lowest first."""
    return heapq.nsmallest(count, rows, key=lambda row: row.said_probability)

"""Rows of a label column that are worth a person's look: sure and wrong, or hardly sure at all."""

from collections.abc import Sequence
from dataclasses import dataclass

from papertune.config import LabelColumn, Recipe
from papertune.evaluation.answers import Answers
from papertune.tables import Table
from papertune.tasks import RowReader, read_label

# So many rows of each kind are shown.
REVIEW_ROWS = 10


@dataclass(frozen=True)
class ReviewRow:
    """A row of a label column that a person should look at.

    Attributes:
        id: The row's id in its table, or where it stands.
        document: Its text.
        given: The label that the table has.
        said: The run's answer, or the label that is thought more likely.
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


def judged_rows(answers: Answers, table: Table, recipe: Recipe, name: str) -> list[ReviewRow]:
    """Give the rows of a label column that have an answer, probabilities and a true label, in table order.

    Args:
        answers: An answer for each row of the table, those that the run withholds too.
        table: The table with the documents and the true labels.
        recipe: The recipe with the column.
        name: The column's name.
    """
    column = recipe.columns[name]
    if not isinstance(column, LabelColumn) or answers.probabilities is None:
        return []
    reader = RowReader(table, recipe)
    rows: list[ReviewRow] = []
    for row, (said, probabilities) in enumerate(zip(answers.cells, answers.probabilities, strict=True)):
        cell = reader.given(row, name)
        given = None if cell is None else read_label(cell, column.labels)
        if said and given and len(probabilities):
            of = dict(zip(column.labels, map(float, probabilities), strict=True))
            withheld = answers.withheld is not None and answers.withheld[row]
            at = row_name(table, recipe, row)
            rows.append(ReviewRow(at, reader.document(row), given, said, of[said], of[given], withheld))
    return rows


def confident_mistakes(rows: Sequence[ReviewRow], count: int = REVIEW_ROWS) -> list[ReviewRow]:
    """Give the rows with a wrong answer, the surest first; an answer that is withheld is no mistake.

    Where the model is sure and wrong, the table's label may be wrong, or the model has learnt the wrong thing.
    """
    wrong = (row for row in rows if row.said != row.given and not row.withheld)
    return sorted(wrong, key=lambda row: -row.said_probability)[:count]


def least_sure(rows: Sequence[ReviewRow], count: int = REVIEW_ROWS) -> list[ReviewRow]:
    """Give the rows whose answer has the lowest probability, given or withheld, the lowest first."""
    return sorted(rows, key=lambda row: row.said_probability)[:count]

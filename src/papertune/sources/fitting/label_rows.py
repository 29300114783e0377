"""The training rows of label questions, with each document once."""

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from papertune.prompts.examples import training_examples
from papertune.recipe import Recipe
from papertune.tables import Table


@dataclass(frozen=True)
class QuestionRows:
    """The rows with a gold label for one question.

    Attributes:
        tables: Index of each row's table, int64, shape (rows,).
        rows: Index of each row in its table, int64, shape (rows,).
        documents: Index of each row's document in `LabelRows.documents`, int64, shape (rows,).
        gold: Index of the gold label in the question's labels, int64, shape (rows,).
    """

    tables: NDArray[np.int64]
    rows: NDArray[np.int64]
    documents: NDArray[np.int64]
    gold: NDArray[np.int64]


@dataclass(frozen=True)
class LabelRows:
    """The rows of all label questions.

    Attributes:
        documents: The documents, each once per row of a table.
        questions: The rows of each question.
    """

    documents: list[str]
    questions: dict[str, QuestionRows]


def label_rows(tables: Sequence[Table], recipe: Recipe, questions: Sequence[str]) -> LabelRows:
    """Read the rows of label questions from checked tables.

    Args:
        tables: The tables.
        recipe: The recipe.
        questions: Names of label questions.
    """
    labels = {name: recipe.questions[name].joined_labels for name in questions}
    documents: list[str] = []
    found: dict[str, list[tuple[int, int, int, int]]] = {name: [] for name in questions}
    for number, table in enumerate(tables):
        last = -1
        for example in training_examples(table, recipe):
            if example.column not in found:
                continue
            if example.row != last:
                documents.append(example.prompt.document)
                last = example.row
            place = len(documents) - 1
            found[example.column].append((number, example.row, place, labels[example.column].index(example.answer)))
    return LabelRows(documents, {name: _columns(rows) for name, rows in found.items()})


def _columns(rows: Sequence[tuple[int, int, int, int]]) -> QuestionRows:
    return QuestionRows(*np.array(rows, dtype=np.int64).reshape(-1, 4).T)

"""Rows whose given label is probably wrong, by confident learning.

The source is Northcutt, Jiang and Chuang 2021, "Confident learning: estimating uncertainty in dataset labels", JAIR 70,
arXiv:1911.00068. The probabilities are those of a plain model (`baselines.TfidfLogistic`) for rows that it has not
learnt from, by cross-validation. It is not the fine-tuned model: that one has learnt the labels in question.

Of a labels column each label is a question of its own, with the answers yes and no (Thyagarajan et al. 2022,
"Identifying incorrect annotations in multi-label classification data", arXiv:2211.13895).
"""

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from papertune.evaluation.checks.review import REVIEW_ROWS, ReviewRow, row_name
from papertune.evaluation.systems.baselines import TfidfLogistic
from papertune.evaluation.systems.multilabel_baselines import TfidfLabelProbabilities
from papertune.kinds import LabelColumn, LabelsColumn
from papertune.kinds.label.cells import read_label
from papertune.kinds.labels.matrix import TrueLabels
from papertune.metrics.intervals import SEED
from papertune.prompts.examples import RowReader
from papertune.recipe import Recipe
from papertune.tables import Table

# With fewer rows the plain model knows too little to doubt anything.
MIN_ROWS = 40

_FOLDS = 5


@dataclass(frozen=True)
class LabelErrors:
    """Rows whose given label a cross-validated plain model doubts.

    Attributes:
        table: Name of the table whose labels were looked at.
        rows: How many of its rows were.
        doubted: How many labels are doubted.
        candidates: The most doubtful of these, the most doubtful first.
        labels: Of a labels column the labels that were looked at in each row, the most frequent first.
    """

    table: str
    rows: int
    doubted: int
    candidates: Sequence[ReviewRow]
    labels: Sequence[str] = ()

    @property
    def checked(self) -> int:
        """How many labels were looked at: one for each row, or whether it has each of some labels."""
        return self.rows * (len(self.labels) or 1)


def find_in_labels(
    table: Table, recipe: Recipe, name: str, column: LabelColumn, count: int = REVIEW_ROWS
) -> LabelErrors | None:
    """Look for wrong labels in a label column of a table.

    Args:
        table: The table.
        recipe: The recipe with the column.
        name: The column's name.
        column: The column.
        count: Most candidates to return.

    Returns:
        What was found; None if fewer than `MIN_ROWS` rows have a label, or all have the same.
    """
    reader = RowReader(table, recipe)
    cells = ((row, reader.given(row, name)) for row in range(len(table)))
    known = {row: label for row, cell in cells if cell is not None and (label := read_label(cell, column.labels))}
    given = list(known.values())
    if len(known) < MIN_ROWS or len(set(given)) < 2:
        return None
    probabilities = cross_validated([reader.document(row) for row in known], given, column.labels)
    given_ids = np.array([column.labels.index(label) for label in given])
    rows, likely_ids = doubted_rows(probabilities, given_ids)
    positions = list(known)
    candidates = [
        ReviewRow(
            row_name(table, recipe, positions[row]),
            reader.document(positions[row]),
            given[row],
            column.labels[likely],
            float(probabilities[row, likely]),
            float(probabilities[row, given_ids[row]]),
        )
        for row, likely in zip(rows[:count].tolist(), likely_ids[:count].tolist(), strict=True)
    ]
    return LabelErrors(table.source, len(known), len(rows), candidates)


def find_in_sets(
    table: Table, recipe: Recipe, name: str, column: LabelsColumn, count: int = REVIEW_ROWS
) -> LabelErrors | None:
    """Look for wrong labels in a labels column of a table.

    The `MAX_LABELS_CHECKED` most frequent labels are looked at, in the rows of which the table says about each label
    whether they have it.

    Args:
        table: The table.
        recipe: The recipe with the column.
        name: The column's name.
        column: The column.
        count: Most candidates to return.

    Returns:
        What was found; None if there are fewer than `MIN_ROWS` such rows.
    """
    reader = RowReader(table, recipe)
    true = TrueLabels.read(reader, name, column, range(len(table)))
    papers = np.flatnonzero(true.known.all(axis=1))
    has = true.has[papers]
    # Of a label that all or none have, nothing can be learnt.
    chosen = [n for n in true.most_frequent() if 0 < has[:, n].sum() < len(papers)]
    if len(papers) < MIN_ROWS or not chosen:
        return None
    has = has[:, chosen]
    rows = [true.entries[paper][0] for paper in papers.tolist()]
    likely = cross_validated_sets([reader.document(row) for row in rows], has)
    doubted: list[tuple[int, int]] = []
    for n in range(len(chosen)):
        # Columns: has the label, has it not.
        doubtful, _ = doubted_rows(np.stack([likely[:, n], 1 - likely[:, n]], axis=1), np.where(has[:, n], 0, 1))
        doubted += [(row, n) for row in doubtful.tolist()]
    doubted.sort(key=lambda at: -abs(likely[at] - has[at]))

    def candidate(row: int, n: int) -> ReviewRow:
        label, probability = column.labels[chosen[n]], float(likely[row, n])
        answers = [(label, probability), (f"not {label}", 1 - probability)]
        (given, of_given), (said, of_said) = answers if has[row, n] else reversed(answers)
        return ReviewRow(row_name(table, recipe, rows[row]), reader.document(rows[row]), given, said, of_said, of_given)

    candidates = [candidate(*at) for at in doubted[:count]]
    return LabelErrors(table.source, len(papers), len(doubted), candidates, [column.labels[n] for n in chosen])


def cross_validated_sets(documents: Sequence[str], has: NDArray[np.bool_]) -> NDArray[np.float64]:
    """Give how likely each label is in each row by TF-IDF and logistic regressions from the other fifths of the rows.

    Args:
        documents: Texts, length rows, at least 5.
        has: Which labels each row has, bool, shape (rows, labels).

    Returns:
        The probabilities, float64, shape (rows, labels).
    """
    from sklearn.model_selection import KFold

    probabilities = np.empty(has.shape)
    for learnt, asked in KFold(_FOLDS, shuffle=True, random_state=SEED).split(documents):
        model = TfidfLabelProbabilities([documents[row] for row in learnt], has[learnt])
        probabilities[asked] = model.of([documents[row] for row in asked])
    return probabilities


def cross_validated(documents: Sequence[str], given: Sequence[str], labels: Sequence[str]) -> NDArray[np.float64]:
    """Give the probabilities of TF-IDF and logistic regression for each row, learnt from the other fifths of the rows.

    Args:
        documents: Texts, length rows, at least 5.
        given: Their labels, length rows.
        labels: The label set.

    Returns:
        The probabilities, float64, shape (rows, labels).
    """
    from sklearn.model_selection import KFold

    probabilities = np.empty((len(documents), len(labels)))
    for learnt, asked in KFold(_FOLDS, shuffle=True, random_state=SEED).split(documents):
        model = TfidfLogistic([documents[row] for row in learnt], [given[row] for row in learnt], labels)
        _, probabilities[asked] = model.predict([documents[row] for row in asked])
    return probabilities


def doubted_rows(
    probabilities: NDArray[np.float64], given_ids: NDArray[np.int64]
) -> tuple[NDArray[np.int64], NDArray[np.int64]]:
    """Find the rows whose given label is doubtful: those off the diagonal of the confident joint (equations 1 and 2).

    A label is confident in a row if its probability is at least the mean probability that it has in the rows with that
    label. A row is doubted if another label than the given one is the likeliest of its confident ones. Labels differ in
    how probable a model makes them, and this threshold takes it into account. Beyond the paper, the other label must
    also be likelier than the given one: rare labels have low thresholds and would cast doubt on all others.

    Args:
        probabilities: Of rows that the model has not learnt from, float64, shape (rows, labels).
        given_ids: Column of the given label, int64, shape (rows,).

    Returns:
        The doubted rows, by how much more probable the other label is than the given one, the most first; and that
        other label's column for each; both int64, shape (doubted,).
    """
    labels = probabilities.shape[1]
    thresholds = np.array(
        [
            probabilities[given_ids == label, label].mean() if np.any(given_ids == label) else np.inf
            for label in range(labels)
        ]
    )
    confident = np.where(probabilities >= thresholds, probabilities, -1.0)
    likely_ids = confident.argmax(axis=1)
    every = np.arange(len(given_ids))
    lead = probabilities[every, likely_ids] - probabilities[every, given_ids]  # 0 where the given one is the likeliest
    rows = np.flatnonzero((confident.max(axis=1) >= 0) & (lead > 0))
    rows = rows[np.argsort(-lead[rows], kind="stable")]
    return rows, likely_ids[rows]

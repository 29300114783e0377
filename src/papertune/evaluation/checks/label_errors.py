"""Likely label errors, by confident learning.

The source is Northcutt, Jiang and Chuang 2021, "Confident learning: estimating uncertainty in dataset labels", JAIR 70,
arXiv:1911.00068. The probabilities are cross-validated ones of a simple model (`baselines.TfidfLogistic`). The
fine-tuned model cannot be used: it has learned the labels in question.

In a labels column, each label is a binary question (Thyagarajan et al. 2022, "Identifying incorrect annotations in
multi-label classification data", arXiv:2211.13895).
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
from papertune.kinds.labels.matrix import GoldLabels
from papertune.metrics.intervals import SEED
from papertune.prompts.examples import RowReader
from papertune.recipe import Recipe
from papertune.tables import Table

# With fewer rows the simple model knows too little.
MIN_ROWS = 40

_FOLDS = 5


@dataclass(frozen=True)
class LabelErrors:
    """The likely label errors of a table.

    Attributes:
        table: Name of the table.
        rows: Number of rows that were checked.
        doubted: Number of likely label errors.
        candidates: The most likely of them, the most likely first.
        labels: The labels of a labels column that were checked in each row, the most frequent first.
    """

    table: str
    rows: int
    doubted: int
    candidates: Sequence[ReviewRow]
    labels: Sequence[str] = ()

    @property
    def checked(self) -> int:
        """Number of labels that were checked: one for each row of a label column, `labels` for a labels column."""
        return self.rows * (len(self.labels) or 1)


def find_in_labels(
    table: Table, recipe: Recipe, name: str, column: LabelColumn, count: int = REVIEW_ROWS
) -> LabelErrors | None:
    """Find likely label errors in a label column of a table.

    Args:
        table: The table.
        recipe: The recipe with the column.
        name: The column's name.
        column: The column.
        count: Maximum number of candidates.

    Returns:
        The likely errors; None if fewer than `MIN_ROWS` rows have a label, or all have the same one.
    """
    reader = RowReader(table, recipe)
    cells = ((row, reader.given(row, name)) for row in range(len(table)))
    known = {row: label for row, cell in cells if cell is not None and (label := read_label(cell, column.labels))}
    gold = list(known.values())
    if len(known) < MIN_ROWS or len(set(gold)) < 2:
        return None
    probabilities = cross_validated([reader.document(row) for row in known], gold, column.labels)
    gold_ids = np.array([column.labels.index(label) for label in gold])
    rows, suggested_ids = find_doubted_rows(probabilities, gold_ids)
    positions = list(known)
    candidates = [
        ReviewRow(
            row_name(table, recipe, positions[row]),
            reader.document(positions[row]),
            gold[row],
            column.labels[suggested],
            float(probabilities[row, suggested]),
            float(probabilities[row, gold_ids[row]]),
        )
        for row, suggested in zip(rows[:count].tolist(), suggested_ids[:count].tolist(), strict=True)
    ]
    return LabelErrors(table.source, len(known), len(rows), candidates)


def find_in_sets(
    table: Table, recipe: Recipe, name: str, column: LabelsColumn, count: int = REVIEW_ROWS
) -> LabelErrors | None:
    """Find likely label errors in a labels column of a table.

    The `MAX_LABELS_CHECKED` most frequent labels are checked, in the rows with a gold answer for every label.

    Args:
        table: The table.
        recipe: The recipe with the column.
        name: The column's name.
        column: The column.
        count: Maximum number of candidates.

    Returns:
        The likely errors; None if there are fewer than `MIN_ROWS` such rows, or no label that only some of them have.
    """
    reader = RowReader(table, recipe)
    gold_labels = GoldLabels.read(reader, name, column, range(len(table)))
    papers = np.flatnonzero(gold_labels.known.all(axis=1))
    has = gold_labels.has[papers]
    # From a label that all or none have, nothing can be learned.
    chosen = [n for n in gold_labels.most_frequent() if 0 < has[:, n].sum() < len(papers)]
    if len(papers) < MIN_ROWS or not chosen:
        return None
    has = has[:, chosen]
    rows = [gold_labels.entries[paper][0] for paper in papers.tolist()]
    probabilities = cross_validated_sets([reader.document(row) for row in rows], has)
    doubted: list[tuple[int, int]] = []
    for n in range(len(chosen)):
        yes_and_no = np.stack([probabilities[:, n], 1 - probabilities[:, n]], axis=1)  # (rows, 2)
        of_label, _ = find_doubted_rows(yes_and_no, np.where(has[:, n], 0, 1))
        doubted += [(row, n) for row in of_label.tolist()]
    doubted.sort(key=lambda at: -abs(probabilities[at] - has[at]))

    def candidate(row: int, n: int) -> ReviewRow:
        label, probability = column.labels[chosen[n]], float(probabilities[row, n])
        answers = [(label, probability), (f"not {label}", 1 - probability)]
        (gold, p_gold), (other, p_other) = answers if has[row, n] else reversed(answers)
        return ReviewRow(row_name(table, recipe, rows[row]), reader.document(rows[row]), gold, other, p_other, p_gold)

    candidates = [candidate(*at) for at in doubted[:count]]
    return LabelErrors(table.source, len(papers), len(doubted), candidates, [column.labels[n] for n in chosen])


def cross_validated_sets(documents: Sequence[str], has: NDArray[np.bool_]) -> NDArray[np.float64]:
    """Return each label's probability in each row by `TfidfLabelProbabilities`, trained on the other folds.

    Args:
        documents: Texts, length rows, at least 5.
        has: Which labels each row has, bool, shape (rows, labels).

    Returns:
        The probabilities, float64, shape (rows, labels).
    """
    from sklearn.model_selection import KFold

    probabilities = np.empty(has.shape)
    for train, test in KFold(_FOLDS, shuffle=True, random_state=SEED).split(documents):
        model = TfidfLabelProbabilities([documents[row] for row in train], has[train])
        probabilities[test] = model.predict_proba([documents[row] for row in test])
    return probabilities


def cross_validated(documents: Sequence[str], gold: Sequence[str], labels: Sequence[str]) -> NDArray[np.float64]:
    """Return the label probabilities of each row by `TfidfLogistic`, trained on the other folds.

    Args:
        documents: Texts, length rows, at least 5.
        gold: Their labels, length rows.
        labels: The label set.

    Returns:
        The probabilities, float64, shape (rows, labels).
    """
    from sklearn.model_selection import KFold

    probabilities = np.empty((len(documents), len(labels)))
    for train, test in KFold(_FOLDS, shuffle=True, random_state=SEED).split(documents):
        model = TfidfLogistic([documents[row] for row in train], [gold[row] for row in train], labels)
        _, probabilities[test] = model.predict([documents[row] for row in test])
    return probabilities


def find_doubted_rows(
    probabilities: NDArray[np.float64], gold_ids: NDArray[np.int64]
) -> tuple[NDArray[np.int64], NDArray[np.int64]]:
    """Find the likely label errors: rows off the diagonal of the confident joint (equations 1 and 2 of the paper).

    A label is confident in a row if its probability there is at least its mean probability in the rows that have it.
    This threshold allows for labels that a model finds more probable than others. A row is doubted if the most probable
    of its confident labels is not the gold one. Unlike in the paper, that label must also be more probable than the
    gold one: rare labels have low thresholds and would cast doubt on all others.

    Args:
        probabilities: Probabilities of rows that the model was not trained on, float64, shape (rows, labels).
        gold_ids: Column of each row's gold label, int64, shape (rows,).

    Returns:
        The doubted rows, the ones with the largest lead of the other label's probability first; and the column of that
        label for each row; both int64, shape (doubted,).
    """
    labels = probabilities.shape[1]
    thresholds = np.array(
        [
            probabilities[gold_ids == label, label].mean() if np.any(gold_ids == label) else np.inf
            for label in range(labels)
        ]
    )
    confident = np.where(probabilities >= thresholds, probabilities, -1.0)
    suggested_ids = confident.argmax(axis=1)
    every = np.arange(len(gold_ids))
    lead = probabilities[every, suggested_ids] - probabilities[every, gold_ids]  # 0 where the gold label is suggested
    rows = np.flatnonzero((confident.max(axis=1) >= 0) & (lead > 0))
    rows = rows[np.argsort(-lead[rows], kind="stable")]
    return rows, suggested_ids[rows]

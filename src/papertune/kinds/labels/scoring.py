"""Predictions of a labels column: reading, scoring and comparing them."""

import math
from collections.abc import Iterator, Mapping, Sequence
from typing import Any

import numpy as np

from papertune.errors import TableError, listed, quoted
from papertune.evaluation.checks.review import Judged, ReviewRow, row_name
from papertune.kinds.labels.cells import read_labels
from papertune.kinds.labels.column import LabelsColumn
from papertune.kinds.labels.matrix import GoldLabels
from papertune.kinds.labels.output import label_set_cells, label_thresholds
from papertune.kinds.predictions import Predictions, where_asked
from papertune.kinds.probability_cells import read_probabilities
from papertune.kinds.values import ColumnValues, probabilities_of
from papertune.metrics.multilabel_scores import MultilabelScores, micro_f1_difference, score_multilabel
from papertune.metrics.paired import PairedDifference
from papertune.prompts.examples import RowReader
from papertune.recipe import Recipe
from papertune.tables import Table


def predictions(values: ColumnValues, column: LabelsColumn) -> Predictions:
    """Return the predictions of a model."""
    cells = label_set_cells(values, column)
    return Predictions(cells.fill_null("").to_list(), where_asked(probabilities_of(values), cells))


def read_predictions(table: Table, name: str, column: LabelsColumn, decision: Any) -> Predictions:
    """Read predictions from a table.

    Raises:
        TableError: If a part of a cell is not a label, or a cell is not a probability.
    """
    for row, cell in enumerate(table.frame[name]):
        if cell and read_labels(cell, column) is None:
            raise TableError(
                f"{table.where(row, name)}: {quoted(cell)} is not one of the labels {listed(column.labels)}. "
                "Correct the cell."
            )
    return Predictions(table.column(name), read_probabilities(table, name, column.labels, add_up=False))


def score(
    predicted: Predictions, gold: RowReader, name: str, column: LabelsColumn, rows: Sequence[int]
) -> MultilabelScores | None:
    """Score predictions; None if no row has a gold answer."""
    gold_labels = GoldLabels.read(gold, name, column, rows)
    if not gold_labels.entries:
        return None
    probabilities = None
    if predicted.probabilities is not None:
        nothing = [float("nan")] * len(column.labels)  # for a row that asks for another column
        probabilities = gold_labels.by_paper(np.array([row or nothing for row in predicted.probabilities]))
    return score_multilabel(
        gold_labels.has, gold_labels.predicted(predicted.cells, column), column.labels, probabilities
    )


def difference(
    first: Predictions, second: Predictions, gold: RowReader, name: str, column: LabelsColumn, rows: Sequence[int]
) -> PairedDifference:
    """Compare two systems by micro F1."""
    gold_labels = GoldLabels.read(gold, name, column, rows)
    both = [gold_labels.predicted(each.cells, column) for each in (first, second)]
    return micro_f1_difference(gold_labels.has, both[0], both[1])


def judged(
    predicted: Predictions, table: Table, recipe: Recipe, name: str, column: LabelsColumn
) -> Iterator[list[Judged]]:
    """Yield, for each row with probabilities, a judgement of each label with a gold answer."""
    if predicted.probabilities is None:
        return
    reader = RowReader(table, recipe)
    for row, (cell, probabilities) in enumerate(zip(predicted.cells, predicted.probabilities, strict=True)):
        if len(probabilities):
            of = dict(zip(column.labels, map(float, probabilities), strict=True))
            at, document = row_name(table, recipe, row), reader.document(row)
            yield list(_judged_labels(at, document, cell, of, column.labels_of_row(reader, row, name), column))


def _judged_labels(
    at: str, document: str, cell: str, of: Mapping[str, float], has: Mapping[str, bool], column: LabelsColumn
) -> Iterator[Judged]:
    named = read_labels(cell, column) or ()
    for label, threshold in zip(column.labels, label_thresholds(column).tolist(), strict=True):
        if label in has and not math.isnan(of[label]):
            words = {True: label, False: f"not {label}"}
            chances = {True: of[label], False: 1 - of[label]}
            given, answer = has[label], label in named
            shown = ReviewRow(at, document, words[given], words[answer], chances[answer], chances[given])
            yield Judged(shown, abs(_log_odds(of[label]) - _log_odds(threshold)))


def _log_odds(probability: float) -> float:
    kept = min(max(probability, 1e-9), 1 - 1e-9)
    return math.log(kept / (1 - kept))


def shortcut_questions(
    table: Table, reader: RowReader, name: str, column: LabelsColumn
) -> Iterator[tuple[str, dict[int, str]]]:
    """Yield, for the most frequent labels, the label and by row whether it applies."""
    gold_labels = GoldLabels.read(reader, name, column, range(len(table)))
    for n in gold_labels.most_frequent():
        label = column.labels[n]
        papers = np.flatnonzero(gold_labels.known[:, n]).tolist()
        yield label, {gold_labels.entries[at][0]: label if gold_labels.has[at, n] else f"not {label}" for at in papers}

"""Predictions of a label column: reading, scoring and comparing them."""

from collections.abc import Iterator, Sequence
from dataclasses import replace

import numpy as np
from numpy.typing import NDArray

from papertune.errors import TableError, listed, quoted
from papertune.evaluation.checks.review import Judged, ReviewRow, row_name
from papertune.evaluation.report.data import SampleCell
from papertune.kinds.label.cells import read_label, tidy_label
from papertune.kinds.label.column import LabelColumn
from papertune.kinds.label.decision import Decision
from papertune.kinds.label.output import label_cells
from papertune.kinds.predictions import Predictions, where_asked
from papertune.kinds.probability_cells import read_probabilities
from papertune.kinds.values import ColumnValues, probabilities_of
from papertune.metrics.label_scores import LabelScores, score_labels
from papertune.metrics.paired import PairedDifference, accuracy_difference, average_precision_difference
from papertune.prompts.examples import RowReader
from papertune.recipe import Recipe
from papertune.tables import Table


def predictions(values: ColumnValues, column: LabelColumn, decision: Decision | None) -> Predictions:
    """Return the predictions of a model; with `decision` None the most probable labels, uncalibrated."""
    decision = decision or Decision()
    probabilities = probabilities_of(values)
    cells = label_cells(values, column, replace(decision, abstain_below=0.0))
    calibrated = decision.calibrated(probabilities)
    asked = cells.is_not_null().to_numpy()
    return Predictions(
        cells.fill_null("").to_list(),
        where_asked(calibrated, cells),
        where_asked(probabilities, cells),
        (decision.abstained(calibrated) & asked).tolist(),
    )


def read_predictions(table: Table, name: str, column: LabelColumn, decision: Decision) -> Predictions:
    """Read predictions from a table.

    In an empty cell the run has abstained. It is filled in by the probabilities of the row; without them it stays
    empty.

    Raises:
        TableError: If a cell is not a label or a probability.
    """
    labels: list[str] = []
    for row, cell in enumerate(table.frame[name]):
        label = read_label(cell, column.labels)
        if label is None and tidy_label(cell):
            raise TableError(
                f"{table.where(row, name)}: {quoted(cell)} is not one of the labels {listed(column.labels)}. "
                "Correct the cell, or leave it empty if there is no answer."
            )
        labels.append(label or "")
    read = Predictions(labels, read_probabilities(table, name, column.labels, add_up=True))
    if read.probabilities is None:
        return read
    cells = list(read.cells)
    empty = [row for row, probabilities in enumerate(read.probabilities) if len(probabilities) and not cells[row]]
    if empty:
        chosen = decision.chosen(np.array([read.probabilities[row] for row in empty]))
        for row, label in zip(empty, chosen.tolist(), strict=True):
            cells[row] = column.labels[label]
    abstained = [before != after for before, after in zip(read.cells, cells, strict=True)]
    return replace(read, cells=cells, abstained=abstained)


def score(
    predicted: Predictions, gold: RowReader, name: str, column: LabelColumn, rows: Sequence[int]
) -> LabelScores | None:
    """Score predictions; None if no row has a gold label."""
    known = _known(gold, name, column, rows)
    if not known:
        return None
    where = [index for index, _ in known]
    cells = [predicted.cells[index] for index in where]
    probabilities = _probabilities(predicted.probabilities, where)
    ranking = _ranking(predicted, where, column)
    return score_labels([label for _, label in known], cells, column.labels, probabilities, ranking)


def difference(
    first: Predictions, second: Predictions, gold: RowReader, name: str, column: LabelColumn, rows: Sequence[int]
) -> PairedDifference:
    """Compare two systems by accuracy."""
    known = _known(gold, name, column, rows)
    right = [np.array([each.cells[index] == label for index, label in known]) for each in (first, second)]
    return accuracy_difference(right[0], right[1])


def ranking_difference(
    first: Predictions, second: Predictions, gold: RowReader, name: str, column: LabelColumn, rows: Sequence[int]
) -> PairedDifference | None:
    """Compare the average precision of two systems for the first of two labels.

    Returns:
        The difference; None if one of the two has no probability for a row, or no row has the label.
    """
    known = _known(gold, name, column, rows)
    positive = np.array([label == column.labels[0] for _, label in known], dtype=np.bool_)
    ranked = [_ranking(each, [index for index, _ in known], column) for each in (first, second)]
    if ranked[0] is None or ranked[1] is None or not positive.any():
        return None
    return average_precision_difference(ranked[0], ranked[1], positive)


def sample(predicted: Predictions, row: int, gold: RowReader, name: str, column: LabelColumn) -> SampleCell:
    """Return a prediction, "" where the run abstains, beside the gold label."""
    cell = predicted.cells[row]
    probability = None
    if predicted.probabilities is not None and predicted.probabilities[row]:
        of_label = dict(zip(column.labels, predicted.probabilities[row], strict=True))
        probability = of_label.get(cell, max(of_label.values()))
    if predicted.abstained is not None and predicted.abstained[row]:
        cell = ""
    return SampleCell(name, cell, read_label(gold.given(row, name) or "", column.labels) or "", probability)


def judged(
    predicted: Predictions, table: Table, recipe: Recipe, name: str, column: LabelColumn
) -> Iterator[list[Judged]]:
    """Yield a judgement for each row with a prediction, probabilities and a gold label."""
    if predicted.probabilities is None:
        return
    reader = RowReader(table, recipe)
    for row, (cell, probabilities) in enumerate(zip(predicted.cells, predicted.probabilities, strict=True)):
        given = reader.given(row, name) if len(probabilities) else None
        label = None if given is None else read_label(given, column.labels)
        if cell and label:
            of = dict(zip(column.labels, map(float, probabilities), strict=True))
            abstained = predicted.abstained is not None and predicted.abstained[row]
            at = row_name(table, recipe, row)
            shown = ReviewRow(at, reader.document(row), label, cell, of[cell], of[label], abstained)
            yield [Judged(shown, of[cell])]


def _known(gold: RowReader, name: str, column: LabelColumn, rows: Sequence[int]) -> list[tuple[int, str]]:
    """Return the rows with a gold label: their place among the predictions, and the label."""
    cells = ((index, gold.given(row, name)) for index, row in enumerate(rows))
    labels = ((index, None if cell is None else read_label(cell, column.labels)) for index, cell in cells)
    return [(index, label) for index, label in labels if label is not None]


def _probabilities(probabilities: Sequence[Sequence[float]] | None, where: Sequence[int]) -> NDArray[np.float64] | None:
    """Return the probabilities of some rows, shape (rows, labels); None if one of them has none."""
    if probabilities is None or not all(len(probabilities[index]) for index in where):
        return None
    return np.array([probabilities[index] for index in where], dtype=np.float64)


def _ranking(predicted: Predictions, where: Sequence[int], column: LabelColumn) -> NDArray[np.float64] | None:
    """Return the scores that rank some rows for the first of two labels, shape (rows,); None if not known.

    Isotonic regression makes neighbours equal, so uncalibrated probabilities are used if they are known, as in
    `predict --sort-by`.
    """
    probabilities = _probabilities(predicted.probabilities, where)
    if probabilities is None or len(column.labels) != 2:
        return None
    raw = _probabilities(predicted.raw, where)
    return (probabilities if raw is None else raw)[:, 0]

"""Thresholds of the labels of a labels column, chosen on rows whose labels are known."""

from collections.abc import Sequence

import numpy as np
from numpy.typing import NDArray

from papertune.kinds.base import CalibrationOutcome, PredictedTable
from papertune.kinds.labels.column import LabelsColumn
from papertune.kinds.labels.matrix import TrueLabels
from papertune.kinds.labels.output import label_thresholds
from papertune.metrics.screening import MIN_OF_EACH, f1_threshold

# Where nothing speaks for another: the likelier of yes and no.
MIDDLE = 0.5


def can_choose(probabilities: NDArray[np.float64], has: NDArray[np.bool_]) -> NDArray[np.bool_]:
    """Tell for which labels there are known rows enough to choose a threshold, with the label and without it.

    Args:
        probabilities: As in `f1_thresholds`.
        has: As in `f1_thresholds`.

    Returns:
        Bool, shape (labels,).
    """
    known = ~np.isnan(probabilities)
    fewer = np.minimum((known & has).sum(axis=0), (known & ~has).sum(axis=0))
    return np.asarray(fewer >= MIN_OF_EACH)


def f1_thresholds(probabilities: NDArray[np.float64], has: NDArray[np.bool_]) -> NDArray[np.float64]:
    """Find for each label the threshold with the best F1; so macro F1 is the best that thresholds can give there.

    Args:
        probabilities: How likely each row has each label, float64, shape (rows, labels); NaN where that is not known.
        has: Which labels each row has, bool, shape (rows, labels).

    Returns:
        Each label has the rows whose probability is so high or higher, float64, shape (labels,); `MIDDLE` where
        `can_choose` says no.
    """
    thresholds = np.full(has.shape[1], MIDDLE)
    for n in np.flatnonzero(can_choose(probabilities, has)):
        known = ~np.isnan(probabilities[:, n])
        thresholds[n] = f1_threshold(probabilities[known, n], has[known, n])
    return thresholds


def with_f1_thresholds(
    name: str, column: LabelsColumn, predicted: Sequence[PredictedTable]
) -> tuple[LabelsColumn, list[str]]:
    """Return a column with numbers where it asks for the thresholds with the best F1.

    Returns:
        The column, and the labels that keep `MIDDLE`, since too few rows have them, or lack them.
    """
    if column.thresholds != "f1":
        return column, []
    probabilities: list[NDArray[np.float64]] = []
    has: list[NDArray[np.bool_]] = []
    for table in predicted:
        true = TrueLabels.read(table.reader, name, column, table.rows)
        probabilities.append(true.likely(np.asarray(table.values)))
        has.append(true.has)
    together = np.concatenate(probabilities), np.concatenate(has)
    thresholds = dict(zip(column.labels, f1_thresholds(*together).tolist(), strict=True))
    rare = [column.labels[n] for n in np.flatnonzero(~can_choose(*together))]
    return column.model_copy(update={"thresholds": thresholds}), rare


def calibrate(name: str, column: LabelsColumn, predicted: Sequence[PredictedTable]) -> CalibrationOutcome:
    """Choose the thresholds of a column with the best F1."""
    chosen, rare = with_f1_thresholds(name, column, predicted)
    found = zip(column.labels, label_thresholds(chosen).tolist(), strict=True)
    messages: list[str] = []
    if shown := ", ".join(f"{label} {threshold:.2f}" for label, threshold in found if label not in rare):
        rows = sum(len(table.rows) for table in predicted)
        messages.append(f"{name}: thresholds with the best F1 on {rows:,} dev rows: {shown}")
    if rare:
        messages.append(
            f"{name}: {MIDDLE} for {', '.join(rare)}: fewer than {MIN_OF_EACH} dev rows have the label, or lack it"
        )
    return CalibrationOutcome(messages, column=chosen)

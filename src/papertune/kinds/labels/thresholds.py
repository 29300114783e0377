"""The thresholds of a labels column, chosen on rows with gold labels."""

from collections.abc import Sequence

import numpy as np
from numpy.typing import NDArray

from papertune.kinds.base import CalibrationOutcome, PredictedTable
from papertune.kinds.labels.column import LabelsColumn
from papertune.kinds.labels.matrix import GoldLabels
from papertune.kinds.labels.output import label_thresholds
from papertune.metrics.screening import MIN_OF_EACH, f1_threshold

# The threshold of labels with too few rows: the more probable of yes and no is chosen.
DEFAULT_THRESHOLD = 0.5


def can_choose(probabilities: NDArray[np.float64], has: NDArray[np.bool_]) -> NDArray[np.bool_]:
    """Check for which labels there are enough rows with the label, and without it, to choose a threshold.

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
    """Choose for each label the threshold with the best F1; macro F1 is then the best that thresholds can reach.

    Args:
        probabilities: The probability of each label, float64, shape (rows, labels); NaN if it has no gold answer.
        has: Which labels each row has, bool, shape (rows, labels).

    Returns:
        The minimum probability of each label, float64, shape (labels,); `DEFAULT_THRESHOLD` where `can_choose` is
        false.
    """
    thresholds = np.full(has.shape[1], DEFAULT_THRESHOLD)
    for n in np.flatnonzero(can_choose(probabilities, has)):
        known = ~np.isnan(probabilities[:, n])
        thresholds[n] = f1_threshold(probabilities[known, n], has[known, n])
    return thresholds


def with_f1_thresholds(
    name: str, column: LabelsColumn, predicted: Sequence[PredictedTable]
) -> tuple[LabelsColumn, list[str]]:
    """Return a column with numbers instead of "f1" as thresholds.

    Returns:
        The column, and the labels with `DEFAULT_THRESHOLD`, which too few rows have or lack.
    """
    if column.thresholds != "f1":
        return column, []
    probabilities: list[NDArray[np.float64]] = []
    has: list[NDArray[np.bool_]] = []
    for table in predicted:
        gold_labels = GoldLabels.read(table.reader, name, column, table.rows)
        probabilities.append(gold_labels.by_paper(np.asarray(table.values)))
        has.append(gold_labels.has)
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
            f"{name}: {DEFAULT_THRESHOLD} for {', '.join(rare)}: fewer than {MIN_OF_EACH} dev rows have the label, or "
            "lack it"
        )
    return CalibrationOutcome(messages, column=chosen)

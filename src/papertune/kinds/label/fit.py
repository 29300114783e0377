"""The calibrator and the thresholds of a label column, fitted on a calibration set."""

from collections import Counter
from collections.abc import Sequence

import numpy as np
from numpy.typing import NDArray

from papertune.kinds.base import CalibrationOutcome, PredictedTable
from papertune.kinds.label.calibrators import Calibrator, Temperature
from papertune.kinds.label.cells import read_label
from papertune.kinds.label.column import Costs, LabelColumn
from papertune.kinds.label.decision import Decision
from papertune.kinds.label.record import Calibration
from papertune.metrics.calibration import fit_isotonic, fit_temperature
from papertune.metrics.screening import MIN_OF_EACH, cost_threshold, f1_threshold
from papertune.metrics.selective import conformal_threshold, threshold_for_accuracy

# With fewer rows nothing is fitted: the error of a share would be 0.2 or more.
MIN_ROWS = 30


def row_shortage(rows: int) -> str:
    """Return why nothing can be fitted on this number of rows; "" if something can."""
    if rows >= MIN_ROWS:
        return ""
    count = "1 row is" if rows == 1 else f"{rows} rows are"
    return f"{count} in its calibration set, and at least {MIN_ROWS} are needed"


def shortage(labels: Sequence[str]) -> str:
    """Return why nothing can be fitted on rows with these gold labels; "" if something can."""
    if why := row_shortage(len(labels)):
        return why
    if len(counts := Counter(labels)) < 2:
        return f'all {len(labels)} rows of its calibration set have the label "{next(iter(counts))}"'
    return ""


def why_not_found(found: Calibration | None) -> str:
    """Return why a setting was not fitted.

    Args:
        found: The calibration of the column; None if it had no calibration set.
    """
    if found is None:
        return "there was no calibration set for it"
    return row_shortage(found.rows) or f"the {found.rows:,} rows of its calibration set gave none"


def threshold_shortage(column: LabelColumn, labels: Sequence[str]) -> str:
    """Return why no threshold can be chosen on rows with these gold labels; "" if one can, or none is wanted."""
    counts = [labels.count(label) for label in column.labels]
    if "threshold" not in column.fitted_keys or min(counts) >= MIN_OF_EACH:
        return ""
    rarest = column.labels[counts.index(min(counts))]
    rows = "1 row has" if min(counts) == 1 else f"{min(counts)} rows have"
    return f'{rows} the label "{rarest}" there, and at least {MIN_OF_EACH} of each label are needed'


def fit_decision(
    column: LabelColumn,
    probabilities: NDArray[np.float64],
    gold_ids: NDArray[np.int64],
    *,
    is_scaled: bool = False,
) -> Calibration:
    """Fit the calibrator and the thresholds that a label column asks for.

    The calibrator comes first. The thresholds of labels and of abstaining are chosen among calibrated probabilities, on
    the same rows. The threshold of label sets is chosen among uncalibrated ones, since conformal prediction needs
    scores that were not fitted on these rows.

    Args:
        column: The column.
        probabilities: Of the model, float64, shape (rows, labels).
        gold_ids: Index of the gold label, int64, shape (rows,).
        is_scaled: Whether the weights of a join were fitted on these rows. A temperature fitted on the same rows once
            more would undo the penalty that keeps the weights of few rows small.

    Returns:
        The calibration; only the number of rows if there is a `shortage`, without a threshold if there is a
        `threshold_shortage`.
    """
    rows = len(gold_ids)
    if shortage([column.labels[label] for label in gold_ids]):
        return Calibration(rows)
    calibrator: Calibrator | None = None
    if column.calibration == "temperature":
        calibrator = Temperature(1.0) if is_scaled else fit_temperature(probabilities, gold_ids)
    elif column.calibration == "isotonic":
        calibrator = fit_isotonic(probabilities, gold_ids)
    calibrated = Decision(calibrator).calibrated(probabilities)
    found = _threshold(column, calibrated, gold_ids)
    decision = Decision(calibrator, column.threshold if isinstance(column.threshold, float) else found)
    abstain_below = set_threshold = None
    if column.abstain_for_accuracy is not None:
        chosen = decision.chosen(calibrated)
        abstain_below = threshold_for_accuracy(calibrated, gold_ids, column.abstain_for_accuracy, chosen)
    if column.coverage is not None:
        set_threshold = conformal_threshold(probabilities, gold_ids, column.coverage)
    return Calibration(
        rows=rows,
        calibrator=None if calibrator is None else calibrator.as_dict(),
        threshold=found,
        abstain_below=abstain_below,
        set_threshold=set_threshold,
    )


def calibrate(name: str, column: LabelColumn, predicted: Sequence[PredictedTable]) -> CalibrationOutcome:
    """Calibrate a column on the rows with a gold label."""
    probabilities: list[NDArray[np.float64]] = []
    labels: list[str] = []
    for table in predicted:
        cells = (table.reader.given(row, name) for row in table.rows)
        read = (None if cell is None else read_label(cell, column.labels) for cell in cells)
        known = {row: label for row, label in zip(table.rows, read, strict=True) if label is not None}
        probabilities.append(np.asarray(table.values)[list(known)])
        labels += known.values()
    gold_ids = np.array([column.labels.index(label) for label in labels], dtype=np.int64)
    is_scaled = all(table.is_scaled for table in predicted)
    found = fit_decision(column, np.concatenate(probabilities), gold_ids, is_scaled=is_scaled)
    why = shortage(labels)
    messages = [f"{name}: nothing is fitted: {why}" if why else f"{name}: {in_words(column, found)}"]
    if not why and (why := threshold_shortage(column, labels)):
        messages.append(f"{name}: no threshold is chosen: {why}")
    return CalibrationOutcome(messages, found)


def in_words(column: LabelColumn, found: Calibration) -> str:
    """Describe a calibration, such as "temperature 1.62; labels from 0.031 in sets; on 100 dev rows"."""
    if found == Calibration(found.rows):
        return "uncalibrated probabilities"
    parts: list[str] = []
    if found.calibrator is not None:
        temperature = found.calibrator.get("temperature")
        parts.append("isotonic regression" if temperature is None else f"temperature {temperature:.2f}")
    if found.threshold is not None:
        parts.append(f'"{column.labels[0]}" from {found.threshold:.3f}')
    if column.abstain_for_accuracy is not None:
        wanted = f"accuracy {column.abstain_for_accuracy:g}"
        reached = found.abstain_below
        parts.append(f"{wanted} not reached" if reached is None else f"{wanted} from {reached:.3f}")
    if found.set_threshold is not None:
        parts.append(f"labels from {found.set_threshold:.3g} in sets")
    return "; ".join([*parts, f"on {found.rows:,} rows"])


def _threshold(column: LabelColumn, calibrated: NDArray[np.float64], gold_ids: NDArray[np.int64]) -> float | None:
    """Choose the threshold of the first of two labels, if the column wants it and there are enough rows."""
    scores, positive = calibrated[:, 0], gold_ids == 0
    if min(positive.sum(), (~positive).sum()) < MIN_OF_EACH:
        return None
    if column.threshold == "f1":
        return f1_threshold(scores, positive)
    if isinstance(column.threshold, Costs):
        costs = column.threshold
        return cost_threshold(
            scores, positive, false_positive=costs.false_positive, false_negative=costs.false_negative
        )
    return None

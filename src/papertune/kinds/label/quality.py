"""The quality of a label column's probabilities on a table: calibration, abstaining, label sets, screening."""

from dataclasses import dataclass, replace

import numpy as np
from numpy.typing import NDArray

from papertune.evaluation.report import Abstention, ColumnReport, LabelSets
from papertune.kinds.label.cells import read_label
from papertune.kinds.label.column import LabelColumn
from papertune.kinds.label.decision import Decision
from papertune.kinds.label.fit import in_words, why_not_found
from papertune.kinds.label.record import Calibration
from papertune.kinds.predictions import Predictions
from papertune.metrics.calibration import score_calibration
from papertune.metrics.screening import precision_recall, work_saved
from papertune.metrics.selective import risk_coverage
from papertune.prompts.examples import RowReader

# A label is rare if fewer rows have it: a system that never predicts it is right in more than four of five rows.
RARE_SHARE = 0.2


def is_for_screening(column: LabelColumn, share: float) -> bool:
    """Whether a column is for screening: rows with its first label are searched for, and accuracy means little.

    This is so for two labels if the first one is rare; if the recipe has a threshold, which is always one for the first
    label; or if it has weights and the first label is the rarer one.

    Args:
        column: The column of the run.
        share: The share of the scored rows that have its first label, from 0 to 1.
    """
    if len(column.labels) != 2 or not 0 < share < 1:
        return False
    return share < RARE_SHARE or column.threshold is not None or (column.weights is not None and share < 1 / 2)


def with_label_quality(
    report: ColumnReport,
    column: LabelColumn,
    predicted: Predictions,
    gold: RowReader,
    decision: Decision,
    record: Calibration | None,
) -> ColumnReport:
    """Add the quality of the probabilities to the report of a label column.

    Args:
        report: The report of the column.
        column: The column of the run.
        predicted: The run's predictions, one for each row of the table; its uncalibrated probabilities, if known, show
            the effect of calibration and the label sets.
        gold: Reads the table.
        decision: How labels are chosen.
        record: The calibration of the column; None if nothing was fitted.

    Returns:
        The report; unchanged if no row has a probability and a gold label.
    """
    rows = _read(report.name, column, predicted, gold, decision)
    if rows is None:
        return report
    calibrated, gold_ids, raw = rows.calibrated, rows.gold_ids, rows.raw
    before = None if raw is None or decision.calibrator is None else score_calibration(raw, gold_ids)
    fitted = "uncalibrated probabilities" if record is None else in_words(column, record)
    report = replace(
        report,
        facts={**report.facts, "fitted": fitted},
        calibration=score_calibration(calibrated, gold_ids),
        calibration_before=before,
        risk_coverage=risk_coverage(calibrated, gold_ids, rows.chosen),
    )
    abstained = predicted.abstained is not None and any(predicted.abstained)
    if column.abstain_for_accuracy is not None or decision.abstain_below or abstained:
        right = rows.chosen == gold_ids
        report = replace(report, abstention=_abstention(column, decision, record, rows.answered, right))
    if column.coverage is not None:
        if record is None or record.set_threshold is None:
            why = f"not fitted, since {why_not_found(record)}"
            report = replace(report, facts={**report.facts, "label sets": why})
        elif raw is not None:
            report = replace(report, label_sets=_label_sets(column.coverage, decision.sets(raw), gold_ids))
    if len(column.labels) == 2 and (gold_ids == 0).any():
        # Isotonic regression makes neighbours equal; the uncalibrated probability still orders them.
        scores = (calibrated if raw is None else raw)[:, 0]
        report = replace(
            report,
            positive=column.labels[0],
            is_screening=is_for_screening(column, float((gold_ids == 0).mean())),
            precision_recall=precision_recall(scores, gold_ids == 0),
            work_saved=work_saved(scores, gold_ids == 0),
        )
    return report


@dataclass(frozen=True)
class _Rows:
    """The rows with a probability and a gold label.

    Attributes:
        gold_ids: Index of the gold label, int64, shape (rows,).
        chosen: Index of the predicted label, also where the run abstains, int64, shape (rows,).
        answered: Where the run does not abstain, bool, shape (rows,).
        calibrated: Calibrated probabilities, float64, shape (rows, labels).
        raw: Uncalibrated probabilities, float64, shape (rows, labels); None if not known.
    """

    gold_ids: NDArray[np.int64]
    chosen: NDArray[np.int64]
    answered: NDArray[np.bool_]
    calibrated: NDArray[np.float64]
    raw: NDArray[np.float64] | None


def _read(name: str, column: LabelColumn, predicted: Predictions, gold: RowReader, decision: Decision) -> _Rows | None:
    """Read the rows of a column that have a probability and a gold label; None if there are none."""
    if predicted.probabilities is None:
        return None
    cells = [gold.given(row, name) for row in range(len(predicted.cells))]
    labels = [None if cell is None else read_label(cell, column.labels) for cell in cells]
    known = [row for row, label in enumerate(labels) if label is not None and len(predicted.probabilities[row])]
    if not known:
        return None
    # The probabilities of a file are rounded, so a row may not quite add up to 1.
    calibrated = np.array([predicted.probabilities[row] for row in known], dtype=np.float64)
    predicted_labels = [read_label(predicted.cells[row], column.labels) for row in known]
    # A cell takes precedence over its probabilities, which may be equal to a threshold after rounding.
    chosen = [
        column.labels.index(label) if label else most_probable
        for label, most_probable in zip(predicted_labels, decision.chosen(calibrated).tolist(), strict=True)
    ]
    answered = np.array([label is not None for label in predicted_labels])
    if predicted.abstained is not None:
        answered &= ~np.array([predicted.abstained[row] for row in known])
    return _Rows(
        np.array([column.labels.index(labels[row] or "") for row in known], dtype=np.int64),
        np.array(chosen, dtype=np.int64),
        answered,
        calibrated,
        None if predicted.raw is None else np.array([predicted.raw[row] for row in known], dtype=np.float64),
    )


def _abstention(
    column: LabelColumn,
    decision: Decision,
    record: Calibration | None,
    answered: NDArray[np.bool_],
    right: NDArray[np.bool_],
) -> Abstention:
    """Return the effect of abstaining; `answered` and `right` have the shape (rows,)."""
    missed = column.abstain_for_accuracy is not None and (record is None or record.abstain_below is None)
    return Abstention(
        wanted=column.abstain_for_accuracy,
        threshold=decision.abstain_below or None,
        answered=float(answered.mean()),
        accuracy=float(right[answered].mean()) if answered.any() else None,
        not_chosen=f"no probability was chosen, since {why_not_found(record)}" if missed else "",
    )


def _label_sets(wanted: float, sets: NDArray[np.bool_], gold_ids: NDArray[np.int64]) -> LabelSets:
    sizes = sets.sum(axis=1)
    return LabelSets(
        wanted=wanted,
        covered=float(sets[np.arange(len(sets)), gold_ids].mean()),
        mean_size=float(sizes.mean()),
        single=float((sizes == 1).mean()),
    )

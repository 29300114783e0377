"""What the probabilities of a label column are worth on a table: calibrated, abstaining, as sets, for screening."""

from dataclasses import replace

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
    """Whether a column is for screening: its first label is looked for, and accuracy says little.

    So it is for two labels if the first one is rare; if the recipe has a threshold, which is always one for the first
    label; and if it has weights and the first label is the rarer one.

    Args:
        column: The column as the run has learned it.
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
    """Add to the report of a label column what its probabilities are worth.

    Args:
        report: The report of one column.
        column: The column as the run has learned it.
        predicted: The run's predictions, one for each row of the table; its raw probabilities, if known, show what
            calibration does and what is in label sets.
        gold: Reads the table.
        decision: How labels are chosen.
        record: What calibration has found; None: nothing was fitted.

    Returns:
        The report; unchanged if no row has a probability and a gold label.
    """
    name = report.name
    if predicted.probabilities is None:
        return report
    cells = [gold.given(row, name) for row in range(len(predicted.cells))]
    labels = [None if cell is None else read_label(cell, column.labels) for cell in cells]
    known = [row for row, label in enumerate(labels) if label is not None and len(predicted.probabilities[row])]
    if not known:
        return report
    gold_ids = np.array([column.labels.index(labels[row] or "") for row in known], dtype=np.int64)
    # The probabilities of a file are rounded, so its rows do not quite add up to 1.
    calibrated = np.array([predicted.probabilities[row] for row in known], dtype=np.float64)
    chosen_labels = [read_label(predicted.cells[row], column.labels) for row in known]
    # A cell decides, where there is one: a threshold may lie within the rounding of many equal probabilities.
    chosen = np.array(
        [
            column.labels.index(label) if label else most_probable
            for label, most_probable in zip(chosen_labels, decision.chosen(calibrated).tolist(), strict=True)
        ],
        dtype=np.int64,
    )
    raw = None if predicted.raw is None else np.array([predicted.raw[row] for row in known], dtype=np.float64)
    before = None if raw is None or decision.calibrator is None else score_calibration(raw, gold_ids)
    fitted = "probabilities as the model gives them" if record is None else in_words(column, record)
    report = replace(
        report,
        facts={**report.facts, "fitted": fitted},
        calibration=score_calibration(calibrated, gold_ids),
        calibration_before=before,
        risk_coverage=risk_coverage(calibrated, gold_ids, chosen),
    )
    abstained = predicted.abstained is not None and any(predicted.abstained)
    if column.abstain_for_accuracy is not None or decision.abstain_below or abstained:
        answered = np.array([label is not None for label in chosen_labels])
        if predicted.abstained is not None:
            answered &= ~np.array([predicted.abstained[row] for row in known])
        report = replace(report, abstention=_abstention(column, decision, record, answered, chosen == gold_ids))
    if column.coverage is not None:
        if record is None or record.set_threshold is None:
            why = f"not fitted, since {why_not_found(record)}"
            report = replace(report, facts={**report.facts, "label sets": why})
        elif raw is not None:
            report = replace(report, label_sets=_label_sets(column.coverage, decision.sets(raw), gold_ids))
    if len(column.labels) == 2 and (gold_ids == 0).any():
        # Isotonic regression makes neighbours equal; the model's own probability still tells them apart.
        scores = (calibrated if raw is None else raw)[:, 0]
        report = replace(
            report,
            positive=column.labels[0],
            is_screening=is_for_screening(column, float((gold_ids == 0).mean())),
            precision_recall=precision_recall(scores, gold_ids == 0),
            work_saved=work_saved(scores, gold_ids == 0),
        )
    return report


def _abstention(
    column: LabelColumn,
    decision: Decision,
    record: Calibration | None,
    answered: NDArray[np.bool_],
    right: NDArray[np.bool_],
) -> Abstention:
    """Return what abstaining comes to; `answered` and `right` have the shape (rows,)."""
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

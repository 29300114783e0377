"""What the probabilities of a label column are worth on a table: calibrated, abstaining, as sets, for screening."""

from dataclasses import replace

import numpy as np
from numpy.typing import NDArray

from papertune.kinds.label.fit import in_words, why_not_found
from papertune.evaluation.predictions import Answers
from papertune.evaluation.report import Abstention, ColumnReport, LabelSets
from papertune.kinds.label.decision import Decision
from papertune.kinds import LabelColumn
from papertune.kinds.label.cells import read_label
from papertune.metrics.calibration import score_calibration
from papertune.metrics.screening import precision_recall, work_saved
from papertune.metrics.selective import risk_coverage
from papertune.prompts.examples import RowReader
from papertune.recipe import Recipe
from papertune.run_directory import Calibration

# A label that fewer rows have is rare: whoever never gives it is right about more than four of five.
RARE_SHARE = 0.2


def is_for_screening(column: LabelColumn, share: float) -> bool:
    """Tell whether the rows of a column's first label are what is looked for, so that accuracy says little.

    That is so for two labels if the first one is rare; if the recipe has a threshold, which is always one for the first
    label; and if it has weights and the first label is the rarer one.

    Args:
        column: The column as the run has learnt it.
        share: The share of the scored rows that have its first label, from 0 to 1.
    """
    if len(column.labels) != 2 or not 0 < share < 1:
        return False
    return share < RARE_SHARE or column.threshold is not None or (column.weights is not None and share < 1 / 2)


def with_label_quality(
    report: ColumnReport,
    recipe: Recipe,
    answers: Answers,
    truth: RowReader,
    decision: Decision,
    found: Calibration | None,
) -> ColumnReport:
    """Add to the report of a label column what its probabilities are worth.

    Args:
        report: The report of one column.
        recipe: The columns.
        answers: What the run said, a cell for each row of the truth's table; its raw probabilities, if they are known,
            tell what calibrating does and what is in label sets.
        truth: Reads the true cells.
        decision: How the column is answered.
        found: What the run found out about the column on dev rows; None: there were none.

    Returns:
        The report; as it was if the column is of another kind, or there is no row with a probability and a true label.
    """
    name = report.name
    column = recipe.columns[name]
    if not isinstance(column, LabelColumn) or answers.probabilities is None:
        return report
    given = [truth.given(row, name) for row in range(len(answers.cells))]
    labels = [None if cell is None else read_label(cell, column.labels) for cell in given]
    known = [row for row, label in enumerate(labels) if label is not None and len(answers.probabilities[row])]
    if not known:
        return report
    true_ids = np.array([column.labels.index(labels[row] or "") for row in known], dtype=np.int64)
    # What a file says is rounded, so its rows do not quite add up to 1.
    calibrated = np.array([answers.probabilities[row] for row in known], dtype=np.float64)
    said = [read_label(answers.cells[row], column.labels) for row in known]
    # Where there is an answer it is the choice: a threshold may lie within the rounding of many equal probabilities.
    chosen = np.array(
        [
            column.labels.index(label) if label else likely
            for label, likely in zip(said, decision.chosen(calibrated).tolist(), strict=True)
        ],
        dtype=np.int64,
    )
    raw = None if answers.raw is None else np.array([answers.raw[row] for row in known], dtype=np.float64)
    before = None if raw is None or decision.calibrator is None else score_calibration(raw, true_ids)
    told = "probabilities as the model gives them" if found is None else in_words(column, found)
    report = replace(
        report,
        facts={**report.facts, "fitted": told},
        calibration=score_calibration(calibrated, true_ids),
        calibration_before=before,
        risk_coverage=risk_coverage(calibrated, true_ids, chosen),
    )
    withheld = answers.withheld is not None and any(answers.withheld)
    if column.abstain_for_accuracy is not None or decision.abstain_below or withheld:
        answered = np.array([label is not None for label in said])
        if answers.withheld is not None:
            answered &= ~np.array([answers.withheld[row] for row in known])
        report = replace(report, abstention=_abstention(column, decision, found, answered, chosen == true_ids))
    if column.coverage is not None:
        if found is None or found.set_threshold is None:
            why = f"not fitted, since {why_not_found(found)}"
            report = replace(report, facts={**report.facts, "label sets": why})
        elif raw is not None:
            report = replace(report, label_sets=_label_sets(column.coverage, decision.sets(raw), true_ids))
    if len(column.labels) == 2 and (true_ids == 0).any():
        # Isotonic regression makes neighbours equal; the model's own probability still tells them apart.
        scores = (calibrated if raw is None else raw)[:, 0]
        report = replace(
            report,
            positive=column.labels[0],
            is_screening=is_for_screening(column, float((true_ids == 0).mean())),
            precision_recall=precision_recall(scores, true_ids == 0),
            work_saved=work_saved(scores, true_ids == 0),
        )
    return report


def _abstention(
    column: LabelColumn,
    decision: Decision,
    found: Calibration | None,
    answered: NDArray[np.bool_],
    right: NDArray[np.bool_],
) -> Abstention:
    """Tell what leaving the unsure rows without an answer comes to; `answered` and `right` have the shape (rows,)."""
    missed = column.abstain_for_accuracy is not None and (found is None or found.abstain_below is None)
    return Abstention(
        wanted=column.abstain_for_accuracy,
        threshold=decision.abstain_below or None,
        answered=float(answered.mean()),
        accuracy=float(right[answered].mean()) if answered.any() else None,
        not_chosen=f"no probability was chosen, since {why_not_found(found)}" if missed else "",
    )


def _label_sets(wanted: float, sets: NDArray[np.bool_], true_ids: NDArray[np.int64]) -> LabelSets:
    sizes = sets.sum(axis=1)
    return LabelSets(
        wanted=wanted,
        covered=float(sets[np.arange(len(sets)), true_ids].mean()),
        mean_size=float(sizes.mean()),
        single=float((sizes == 1).mean()),
    )

"""Selective prediction: answering only with enough confidence, or with a set of labels instead of one."""

import math
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from papertune.metrics.calibration import check_scored_rows

# Floating-point excess of a share times a whole number over the whole number that it should be.
ROUNDING = 1e-9


@dataclass(frozen=True)
class RiskCoverage:
    """How often the model is wrong if it answers only the rows with the highest confidence.

    Attributes:
        coverage: Shares of answered rows, ascending to 1; rows with the same confidence are answered together.
        risk: For each coverage the share of wrong rows among the answered ones.
        area: Area under the curve, the mean of the risk over the rows (AURC; Geifman et al. 2019, arXiv:1805.08206).
            Lower is better; it is 0 if no row is wrong.
    """

    coverage: tuple[float, ...]
    risk: tuple[float, ...]
    area: float


def risk_coverage(
    probabilities: NDArray[np.float64], gold_ids: NDArray[np.int64], chosen_ids: NDArray[np.int64] | None = None
) -> RiskCoverage:
    """Return the risk-coverage curve (El-Yaniv and Wiener 2010, JMLR 11, 1605 to 1641).

    Args:
        probabilities: Float64, shape (rows, labels).
        gold_ids: Column of the gold label, int64, shape (rows,).
        chosen_ids: Column of the predicted label, int64, shape (rows,); None: the most probable.

    Raises:
        ValueError: If there are no rows, or the shapes differ.
    """
    _, answered, wrong = _most_confident_first(probabilities, gold_ids, chosen_ids)
    risk = wrong / answered
    groups = np.diff(answered, prepend=0)
    return RiskCoverage(
        coverage=tuple((answered / answered[-1]).tolist()),
        risk=tuple(risk.tolist()),
        area=float((groups * risk).sum() / answered[-1]),
    )


def threshold_for_accuracy(
    probabilities: NDArray[np.float64],
    gold_ids: NDArray[np.int64],
    accuracy: float,
    chosen_ids: NDArray[np.int64] | None = None,
) -> float | None:
    """Find the threshold with which the most rows are answered at this accuracy or a higher one.

    Args:
        probabilities: Float64, shape (rows, labels).
        gold_ids: Column of the gold label, int64, shape (rows,).
        accuracy: Minimum share of right rows among the answered ones, from 0 to 1.
        chosen_ids: Column of the predicted label, int64, shape (rows,); None: the most probable.

    Returns:
        The minimum probability of an answer; None if no threshold reaches the accuracy. It is reached on these rows; on
        others the accuracy may be lower, in particular if these are few.

    Raises:
        ValueError: If there are no rows, or the shapes differ.
    """
    confidence, answered, wrong = _most_confident_first(probabilities, gold_ids, chosen_ids)
    enough = np.flatnonzero(answered - wrong >= accuracy * answered - ROUNDING)
    return float(confidence[enough[-1]]) if len(enough) else None


def conformal_threshold(probabilities: NDArray[np.float64], gold_ids: NDArray[np.int64], coverage: float) -> float:
    """Find the threshold of label sets that contain the gold label in a chosen share of new rows.

    Split conformal prediction with the score 1 - probability of the gold label (Sadinle, Lei and Wasserman 2019,
    "Least ambiguous set-valued classifiers with bounded error levels", JASA 114, 223 to 234). For these rows and a new
    one drawn from the same source, the set of the new row contains its label with at least this probability, even if
    the model's probabilities are bad. That is a mean over all rows: a rare label may be missed more often.

    Args:
        probabilities: Float64, shape (rows, labels); of rows that nothing else was learned from or chosen on.
        gold_ids: Column of the gold label, int64, shape (rows,).
        coverage: The share, above 0 and below 1.

    Returns:
        The minimum probability of a label in the set, for `papertune.kinds.label.decision.label_sets`; 0, with which a
        set has all labels, if there are fewer than coverage / (1 - coverage) rows.

    Raises:
        ValueError: If there are no rows, the shapes differ, or the coverage is out of range.
    """
    check_scored_rows(probabilities, gold_ids)
    if not 0 < coverage < 1:
        raise ValueError(f"coverage must be above 0 and below 1, not {coverage}")
    descending = np.sort(probabilities[np.arange(len(gold_ids)), gold_ids])[::-1]
    needed = math.ceil((len(descending) + 1) * coverage - ROUNDING)  # the quantile for a finite number of rows
    return float(descending[needed - 1]) if needed <= len(descending) else 0.0


def count_from_the_top(
    scores: NDArray[np.float64], marked: NDArray[np.bool_]
) -> tuple[NDArray[np.float64], NDArray[np.int64], NDArray[np.int64]]:
    """Count the rows at or above each different score.

    Args:
        scores: Float64, shape (rows,).
        marked: Rows that are also counted separately, bool, shape (rows,).

    Returns:
        The scores, descending, the number of rows at or above each, and the number of marked ones among these; each of
        shape (scores,).
    """
    order = np.argsort(-scores, kind="stable")
    descending = scores[order]
    last = np.flatnonzero(np.append(np.diff(descending) != 0, True))  # of each group of equal scores
    return descending[last], last + 1, np.cumsum(marked[order])[last].astype(np.int64)


def _most_confident_first(
    probabilities: NDArray[np.float64], gold_ids: NDArray[np.int64], chosen_ids: NDArray[np.int64] | None
) -> tuple[NDArray[np.float64], NDArray[np.int64], NDArray[np.int64]]:
    """Return the different confidences, descending, the rows answered at each, and the wrong ones among these."""
    check_scored_rows(probabilities, gold_ids)
    chosen = probabilities.argmax(axis=1) if chosen_ids is None else chosen_ids
    return count_from_the_top(probabilities[np.arange(len(chosen)), chosen], chosen != gold_ids)

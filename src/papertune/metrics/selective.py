"""Selective prediction: answering only where the model is sure enough, or with a set of labels instead of one."""

import math
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from papertune.metrics.calibration import check_scored_rows

# What a share times a whole number may be above the whole number that it should be.
ROUNDING = 1e-9


@dataclass(frozen=True)
class RiskCoverage:
    """How often the model is wrong if it answers only where it is surest.

    Attributes:
        coverage: Shares of the rows that are answered, rising to 1; rows of the same confidence are answered together.
        risk: For each coverage the share of the answered rows that are wrong.
        area: Area under the curve, the mean of the risk over the rows as they are answered one group after the other
            (AURC; Geifman et al. 2019, arXiv:1805.08206). Lower is better; it is 0 if no row is wrong.
    """

    coverage: tuple[float, ...]
    risk: tuple[float, ...]
    area: float


def risk_coverage(
    probabilities: NDArray[np.float64], true_ids: NDArray[np.int64], chosen_ids: NDArray[np.int64] | None = None
) -> RiskCoverage:
    """Give the risk-coverage curve (El-Yaniv and Wiener 2010, JMLR 11, 1605 to 1641).

    Args:
        probabilities: Float64, shape (rows, labels).
        true_ids: Column of the true label, int64, shape (rows,).
        chosen_ids: Column of the label that is answered, int64, shape (rows,); None: the likeliest.

    Raises:
        ValueError: If there are no rows, or the shapes do not fit.
    """
    _, answered, wrong = _surest_first(probabilities, true_ids, chosen_ids)
    risk = wrong / answered
    groups = np.diff(answered, prepend=0)
    return RiskCoverage(
        coverage=tuple((answered / answered[-1]).tolist()),
        risk=tuple(risk.tolist()),
        area=float((groups * risk).sum() / answered[-1]),
    )


def threshold_for_accuracy(
    probabilities: NDArray[np.float64],
    true_ids: NDArray[np.int64],
    accuracy: float,
    chosen_ids: NDArray[np.int64] | None = None,
) -> float | None:
    """Find the threshold with which most rows are answered, at this accuracy or better.

    Args:
        probabilities: Float64, shape (rows, labels).
        true_ids: Column of the true label, int64, shape (rows,).
        accuracy: Least share of the answered rows that are right, from 0 to 1.
        chosen_ids: Column of the label that is answered, int64, shape (rows,); None: the likeliest.

    Returns:
        The least probability of an answer that is given; None if no threshold reaches the accuracy. It is reached on
        these rows. On others it may be missed, the more so the fewer these are.

    Raises:
        ValueError: If there are no rows, or the shapes do not fit.
    """
    confidence, answered, wrong = _surest_first(probabilities, true_ids, chosen_ids)
    enough = np.flatnonzero(answered - wrong >= accuracy * answered - ROUNDING)
    return float(confidence[enough[-1]]) if len(enough) else None


def conformal_threshold(probabilities: NDArray[np.float64], true_ids: NDArray[np.int64], coverage: float) -> float:
    """Find the threshold of label sets that hold the true label in a given share of new rows.

    Split conformal prediction with the score 1 - probability of the true label (Sadinle, Lei and Wasserman 2019,
    "Least ambiguous set-valued classifiers with bounded error levels", JASA 114, 223 to 234). Over the drawing of these
    rows and a new one from the same source, the new row's set holds its label with at least this probability, however
    bad the model's probabilities are. That is a mean over all rows: a rare label may be missed more often.

    Args:
        probabilities: Float64, shape (rows, labels); of rows from which nothing else was learnt or chosen.
        true_ids: Column of the true label, int64, shape (rows,).
        coverage: The share, above 0 and below 1.

    Returns:
        The least probability of a label in the set, for `papertune.kinds.label.decision.label_sets`; 0, with which a set
        has all labels, where there are too few rows for this coverage: fewer than coverage / (1 - coverage).

    Raises:
        ValueError: If there are no rows, the shapes do not fit, or the coverage is no such share.
    """
    check_scored_rows(probabilities, true_ids)
    if not 0 < coverage < 1:
        raise ValueError(f"coverage must be above 0 and below 1, not {coverage}")
    likely = np.sort(probabilities[np.arange(len(true_ids)), true_ids])[::-1]
    needed = math.ceil((len(likely) + 1) * coverage - ROUNDING)  # the quantile for a finite number of rows
    return float(likely[needed - 1]) if needed <= len(likely) else 0.0


def count_from_the_top(
    scores: NDArray[np.float64], marked: NDArray[np.bool_]
) -> tuple[NDArray[np.float64], NDArray[np.int64], NDArray[np.int64]]:
    """Count rows for each different score from the highest on; rows with the same score count together.

    Args:
        scores: Float64, shape (rows,).
        marked: Rows that are counted apart too, bool, shape (rows,).

    Returns:
        The scores, how many rows have each or a higher one, and how many of these are marked; each of shape (scores,).
    """
    order = np.argsort(-scores, kind="stable")
    falling = scores[order]
    last = np.flatnonzero(np.append(np.diff(falling) != 0, True))  # of each group of equals
    return falling[last], last + 1, np.cumsum(marked[order])[last].astype(np.int64)


def _surest_first(
    probabilities: NDArray[np.float64], true_ids: NDArray[np.int64], chosen_ids: NDArray[np.int64] | None
) -> tuple[NDArray[np.float64], NDArray[np.int64], NDArray[np.int64]]:
    """Give the different confidences, falling, how many rows are answered from each on, and how many of them wrong."""
    check_scored_rows(probabilities, true_ids)
    chosen = probabilities.argmax(axis=1) if chosen_ids is None else chosen_ids
    return count_from_the_top(probabilities[np.arange(len(chosen)), chosen], chosen != true_ids)

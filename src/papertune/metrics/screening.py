"""Screening: finding the few papers that matter, by a score of how likely each does."""

import math
from collections.abc import Callable
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from papertune.metrics.intervals import Interval, counted_interval
from papertune.metrics.selective import ROUNDING, count_from_the_top

# Rows with and without a label that a threshold for it needs: one that a single row has chosen may mark every row.
LEAST_OF_EACH = 5


@dataclass(frozen=True)
class PrecisionRecall:
    """Precision and recall of the positive label at every threshold.

    Attributes:
        precision: Share of the rows with the threshold's score or a higher one that are positive.
        recall: Share of the positive rows that have the threshold's score or a higher one, rising to 1.
        thresholds: All different scores, falling.
        average_precision: Mean of the precision at the scores of the positive rows (scikit-learn's
            `average_precision_score`); a ranking by chance has the share of positive rows.
    """

    precision: tuple[float, ...]
    recall: tuple[float, ...]
    thresholds: tuple[float, ...]
    average_precision: float


@dataclass(frozen=True)
class WorkSaved:
    """How much reading a ranking saves.

    Attributes:
        recall: The share of the positive rows that is to be found.
        read_share: Share of all rows that is read until it is found, the highest scores first.
        wss: Work saved over sampling: 1 - read_share - (1 - recall). Reading in random order saves 0 (Cohen et al.
            2006, JAMIA 13, 206 to 219; WSS@95 with a recall of 0.95).
    """

    recall: float
    read_share: float
    wss: float


def precision_recall(scores: NDArray[np.float64], positive: NDArray[np.bool_]) -> PrecisionRecall:
    """Give the precision-recall curve.

    Args:
        scores: How likely each row is positive, in any unit, float64, shape (rows,).
        positive: Whether it is, bool, shape (rows,).

    Raises:
        ValueError: If the shapes differ, a score is no number or no row is positive.
    """
    thresholds, chosen, hits = _highest_first(scores, positive)
    precision, recall = hits / chosen, hits / hits[-1]
    return PrecisionRecall(
        precision=tuple(precision.tolist()),
        recall=tuple(recall.tolist()),
        thresholds=tuple(thresholds.tolist()),
        average_precision=float((precision * np.diff(recall, prepend=0.0)).sum()),
    )


def average_precision_interval(scores: NDArray[np.float64], positive: NDArray[np.bool_]) -> Interval:
    """Give the 95 percent bootstrap interval of the average precision; a resample without a positive row counts as 0.

    Args:
        scores: How likely each row is positive, in any unit, float64, shape (rows,).
        positive: Whether it is, bool, shape (rows,).

    Raises:
        ValueError: If the shapes differ, a score is no number or no row is positive.
    """
    kinds, occurrences = np.unique(
        np.stack([reading_steps(scores, positive), positive], axis=1), axis=0, return_counts=True
    )
    return counted_interval(occurrences, resampled_average_precision(kinds[:, 0], kinds[:, 1] > 0))


def reading_steps(scores: NDArray[np.float64], positive: NDArray[np.bool_]) -> NDArray[np.int64]:
    """Cut a ranking into steps, each of which ends with the next positive rows; no more of it counts for a resample.

    Args:
        scores: How likely each row is positive, in any unit, float64, shape (rows,).
        positive: Whether it is, bool, shape (rows,).

    Returns:
        The step in which each row is read, from 0 on, int64, shape (rows,). Positive rows with the same score are in
        one step, with the other rows of their score and those between them and the positive rows above; rows below all
        positive ones are in a last step.

    Raises:
        ValueError: If the shapes differ, a score is no number or no row is positive.
    """
    _check_scores(scores, positive)
    return np.searchsorted(np.unique(-scores[positive]), -scores).astype(np.int64)


def resampled_average_precision(
    steps: NDArray[np.int64], positive: NDArray[np.bool_]
) -> Callable[[NDArray[np.int64]], NDArray[np.float64]]:
    """Give a function from how often each kind of row is drawn to the average precision of the rows drawn.

    Args:
        steps: The step of `reading_steps` in which each kind of row is read, int64, shape (kinds,); at least one kind.
        positive: Whether it is positive, bool, shape (kinds,).

    Returns:
        A function of counts, int64, shape (resamples, kinds), that gives float64, shape (resamples,): 0 where no
        positive row is drawn.
    """
    from scipy.sparse import csr_array

    kinds = np.arange(len(steps))
    shape = (len(steps), int(steps.max()) + 1)
    read_in = csr_array((np.ones(len(steps), dtype=np.int64), (kinds, steps)), shape=shape)
    found_in = csr_array((positive.astype(np.int64), (kinds, steps)), shape=shape)

    def average_precision(counts: NDArray[np.int64]) -> NDArray[np.float64]:
        hits = counts @ found_in  # (resamples, steps)
        found = hits.cumsum(axis=1)
        read = (counts @ read_in).cumsum(axis=1)
        shares = (hits * found / np.maximum(read, 1)).sum(axis=1)
        return np.asarray(shares / np.maximum(found[:, -1], 1), dtype=np.float64)

    return average_precision


def f1_threshold(scores: NDArray[np.float64], positive: NDArray[np.bool_]) -> float:
    """Find the threshold with the best F1 of the positive label: a row is called positive at this score and above.

    Args:
        scores: How likely each row is positive, float64, shape (rows,).
        positive: Whether it is, bool, shape (rows,).

    Returns:
        One of the scores; the highest of thresholds that are equally good.

    Raises:
        ValueError: If the shapes differ, a score is no number or no row is positive.
    """
    thresholds, chosen, hits = _highest_first(scores, positive)
    return float(thresholds[np.argmax(2 * hits / (chosen + hits[-1]))])


def cost_threshold(
    scores: NDArray[np.float64], positive: NDArray[np.bool_], *, false_positive: float, false_negative: float
) -> float:
    """Find the threshold with the least cost of mistakes: a row is called positive at this score and above.

    The costs are counted on the rows. With calibrated probabilities of very many rows the threshold would come out near
    false_positive / (false_positive + false_negative) (Elkan 2001, "The foundations of cost-sensitive learning").

    Args:
        scores: How likely each row is positive, float64, shape (rows,).
        positive: Whether it is, bool, shape (rows,).
        false_positive: Cost of calling a row positive that is not.
        false_negative: Cost of missing one that is.

    Returns:
        One of the scores, or the next number above them, with which no row is called positive. It is the highest of
        thresholds that cost the same.

    Raises:
        ValueError: If the shapes differ, a score is no number or no row is positive.
    """
    thresholds, chosen, hits = _highest_first(scores, positive)
    thresholds = np.append(np.nextafter(thresholds[0], np.inf), thresholds)
    chosen, hits = np.append(0, chosen), np.append(0, hits)
    costs = false_positive * (chosen - hits) + false_negative * (hits[-1] - hits)
    return float(thresholds[np.argmin(costs)])


def work_saved(scores: NDArray[np.float64], positive: NDArray[np.bool_], recall: float = 0.95) -> WorkSaved:
    """Tell how much of a table must be read to find most of its positive rows.

    Rows with the same score are read together, so a score that does not tell rows apart saves nothing.

    Args:
        scores: How likely each row is positive, in any unit, float64, shape (rows,).
        positive: Whether it is, bool, shape (rows,).
        recall: The share of the positive rows that is to be found, above 0, at most 1.

    Raises:
        ValueError: If the shapes differ, a score is no number, no row is positive, or the recall is no such share.
    """
    if not 0 < recall <= 1:
        raise ValueError(f"recall must be above 0 and at most 1, not {recall}")
    _, chosen, hits = _highest_first(scores, positive)
    needed = math.ceil(recall * int(hits[-1]) - ROUNDING)
    read_share = float(chosen[np.argmax(hits >= needed)] / chosen[-1])
    return WorkSaved(recall, read_share, recall - read_share)


def _highest_first(
    scores: NDArray[np.float64], positive: NDArray[np.bool_]
) -> tuple[NDArray[np.float64], NDArray[np.int64], NDArray[np.int64]]:
    """Give the different scores, falling, how many rows have each or more, and how many of these are positive."""
    _check_scores(scores, positive)
    return count_from_the_top(scores, positive)


def _check_scores(scores: NDArray[np.float64], positive: NDArray[np.bool_]) -> None:
    if scores.ndim != 1 or scores.shape != positive.shape:
        raise ValueError(f"scores {scores.shape} and positive rows {positive.shape} do not fit")
    if np.isnan(scores).any():
        raise ValueError("a score is not a number")
    if not positive.any():
        raise ValueError("no row is positive")

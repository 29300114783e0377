"""Screening: finding the few relevant papers by a score of their relevance."""

import math
from collections.abc import Callable
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from papertune.metrics.intervals import Interval, counted_interval
from papertune.metrics.selective import ROUNDING, count_from_the_top

# Rows with a label, and rows without it, that a threshold needs: one chosen by a single row may select every row.
MIN_OF_EACH = 5


@dataclass(frozen=True)
class PrecisionRecall:
    """Precision and recall of the positive label at every threshold.

    Attributes:
        precision: Share of positive rows among the rows at or above the threshold.
        recall: Share of the positive rows that are at or above the threshold, ascending to 1.
        thresholds: All different scores, descending.
        average_precision: Mean of the precision at the scores of the positive rows (scikit-learn's
            `average_precision_score`); for a random ranking it is the share of positive rows.
    """

    precision: tuple[float, ...]
    recall: tuple[float, ...]
    thresholds: tuple[float, ...]
    average_precision: float


@dataclass(frozen=True)
class WorkSaved:
    """How much reading a ranking saves.

    Attributes:
        recall: Share of the positive rows to find.
        read_share: Share of all rows that are read until these are found, the highest scores first.
        wss: Work saved over sampling: 1 - read_share - (1 - recall). Reading in random order saves 0 (Cohen et al.
            2006, JAMIA 13, 206 to 219; WSS@95 with a recall of 0.95).
    """

    recall: float
    read_share: float
    wss: float


def precision_recall(scores: NDArray[np.float64], positive: NDArray[np.bool_]) -> PrecisionRecall:
    """Return the precision-recall curve.

    Args:
        scores: Higher for rows that are more probably positive, in any unit, float64, shape (rows,).
        positive: Whether each row is positive, bool, shape (rows,).

    Raises:
        ValueError: If the shapes differ, a score is not a number or no row is positive.
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
    """Return the 95 percent bootstrap interval of average precision; a resample without a positive row counts as 0.

    Args:
        scores: Higher for rows that are more probably positive, in any unit, float64, shape (rows,).
        positive: Whether each row is positive, bool, shape (rows,).

    Raises:
        ValueError: If the shapes differ, a score is not a number or no row is positive.
    """
    kinds, occurrences = np.unique(
        np.stack([reading_steps(scores, positive), positive], axis=1), axis=0, return_counts=True
    )
    return counted_interval(occurrences, resampled_average_precision(kinds[:, 0], kinds[:, 1] > 0))


def reading_steps(scores: NDArray[np.float64], positive: NDArray[np.bool_]) -> NDArray[np.int64]:
    """Divide a ranking into steps, each ending with the next positive rows; a resample needs no other detail.

    Args:
        scores: Higher for rows that are more probably positive, in any unit, float64, shape (rows,).
        positive: Whether each row is positive, bool, shape (rows,).

    Returns:
        The step in which each row is read, from 0, int64, shape (rows,). A step has the positive rows of one score, the
        other rows of that score and the rows between it and the next higher positive rows. Rows below all positive ones
        are in a last step.

    Raises:
        ValueError: If the shapes differ, a score is not a number or no row is positive.
    """
    _check_scores(scores, positive)
    return np.searchsorted(np.unique(-scores[positive]), -scores).astype(np.int64)


def resampled_average_precision(
    steps: NDArray[np.int64], positive: NDArray[np.bool_]
) -> Callable[[NDArray[np.int64]], NDArray[np.float64]]:
    """Return a function that computes the average precision of drawn rows from the counts of their kinds.

    Args:
        steps: Step of each kind of row, as `reading_steps` returns it, int64, shape (kinds,); at least one kind.
        positive: Whether each kind is positive, bool, shape (kinds,).

    Returns:
        A function from counts, int64, shape (resamples, kinds), to average precision, float64, shape (resamples,); 0
        for a resample without a positive row.
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
    """Find the threshold with the highest F1 of the positive label, which is predicted from this score on.

    Args:
        scores: Probability that each row is positive, float64, shape (rows,).
        positive: Whether each row is positive, bool, shape (rows,).

    Returns:
        One of the scores; the highest of equally good thresholds.

    Raises:
        ValueError: If the shapes differ, a score is not a number or no row is positive.
    """
    thresholds, chosen, hits = _highest_first(scores, positive)
    return float(thresholds[np.argmax(2 * hits / (chosen + hits[-1]))])


def cost_threshold(
    scores: NDArray[np.float64], positive: NDArray[np.bool_], *, false_positive: float, false_negative: float
) -> float:
    """Find the threshold with the lowest cost of errors; the positive label is predicted from this score on.

    The costs are counted on these rows. With calibrated probabilities of very many rows the threshold is near
    false_positive / (false_positive + false_negative) (Elkan 2001, "The foundations of cost-sensitive learning").

    Args:
        scores: Probability that each row is positive, float64, shape (rows,).
        positive: Whether each row is positive, bool, shape (rows,).
        false_positive: Cost of predicting positive for a row that is not.
        false_negative: Cost of not predicting positive for a row that is.

    Returns:
        One of the scores, or the next larger number above all of them, with which no row is predicted positive. Of
        thresholds with the same cost it is the highest.

    Raises:
        ValueError: If the shapes differ, a score is not a number or no row is positive.
    """
    thresholds, chosen, hits = _highest_first(scores, positive)
    thresholds = np.append(np.nextafter(thresholds[0], np.inf), thresholds)
    chosen, hits = np.append(0, chosen), np.append(0, hits)
    costs = false_positive * (chosen - hits) + false_negative * (hits[-1] - hits)
    return float(thresholds[np.argmin(costs)])


def work_saved(scores: NDArray[np.float64], positive: NDArray[np.bool_], recall: float = 0.95) -> WorkSaved:
    """Measure how much of a table must be read to find most of its positive rows.

    Rows with the same score are read together, so a score that is equal for all rows saves nothing.

    Args:
        scores: Higher for rows that are more probably positive, in any unit, float64, shape (rows,).
        positive: Whether each row is positive, bool, shape (rows,).
        recall: Share of the positive rows to find, above 0, at most 1.

    Raises:
        ValueError: If the shapes differ, a score is not a number, no row is positive, or the recall is out of range.
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
    """Return the different scores, descending, the rows at or above each, and the positive ones among these."""
    _check_scores(scores, positive)
    return count_from_the_top(scores, positive)


def _check_scores(scores: NDArray[np.float64], positive: NDArray[np.bool_]) -> None:
    if scores.ndim != 1 or scores.shape != positive.shape:
        raise ValueError(f"scores {scores.shape} and positive rows {positive.shape} have different shapes")
    if np.isnan(scores).any():
        raise ValueError("a score is not a number")
    if not positive.any():
        raise ValueError("no row is positive")

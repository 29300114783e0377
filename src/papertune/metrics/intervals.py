"""95 percent intervals: how far a score could have come out otherwise with other papers.

A share of rows (accuracy) has Wilson's score interval, which stays honest at 0 and 1. Other scores have the percentile
bootstrap: rows are drawn with replacement, as many as there are, and the score is taken again (Efron and Tibshirani
1993, "An Introduction to the Bootstrap", chapter 13). The seed is fixed: the same rows give the same interval.

A bootstrapped score of exactly 0 or 1 gets an interval of no width, since every resample has it too: read that as "too
few rows".
"""

from collections.abc import Callable
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

RESAMPLES = 2000
COVERAGE = 0.95
SEED = 20230701

# So many numbers of 8 bytes are held at once, 32 MB.
_CELLS_AT_ONCE = 4_000_000


@dataclass(frozen=True)
class Interval:
    """The range that holds the score in 95 percent of the resamples.

    Attributes:
        low: Lower end, in the unit of the score.
        high: Upper end, in the unit of the score.
    """

    low: float
    high: float


def share_interval(hits: int, rows: int) -> Interval:
    """Give the interval of a share of rows (Wilson 1927, JASA 22, pages 209 to 212).

    Args:
        hits: Rows that count.
        rows: All rows, at least one.
    """
    from scipy.stats import binomtest

    interval = binomtest(hits, rows).proportion_ci(COVERAGE, method="wilson")
    return Interval(float(interval.low), float(interval.high))


def mean_interval(values: NDArray[np.float64]) -> Interval:
    """Give the interval of a mean over rows.

    Args:
        values: One score a row, shape (rows,).

    Returns:
        The interval of their mean.

    Raises:
        ValueError: If there are no rows.
    """
    rows = len(values)

    def means(random: np.random.Generator, resamples: int) -> NDArray[np.float64]:
        drawn = random.integers(0, rows, size=(resamples, rows))
        return np.asarray(values[drawn].mean(axis=1), dtype=np.float64)

    return _middle_of(means, rows)


def counted_interval(
    occurrences: NDArray[np.int64], score: Callable[[NDArray[np.int64]], NDArray[np.float64]]
) -> Interval:
    """Give the interval of a score that needs no more than how often each kind of row occurs.

    Accuracy and F1 need the confusion matrix and not the rows. Drawing rows makes the counts of their kinds
    multinomial, so the counts are drawn instead: the same distribution, and the work grows with the kinds alone. Where
    nearly each row is a kind of its own, as with the scores of average precision, it still grows with the rows.

    Args:
        occurrences: How many rows there are of each kind, shape (kinds,).
        score: From the counts of several resamples, shape (resamples, kinds), to their scores, shape (resamples,).

    Returns:
        The interval of the score.

    Raises:
        ValueError: If there are no rows.
    """
    rows = int(occurrences.sum())
    share = occurrences / max(rows, 1)

    def scores(random: np.random.Generator, resamples: int) -> NDArray[np.float64]:
        return score(random.multinomial(rows, share, size=resamples))

    return _middle_of(scores, len(occurrences) if rows else 0)


def _middle_of(scores_of: Callable[[np.random.Generator, int], NDArray[np.float64]], width: int) -> Interval:
    """Take the middle 95 percent of the resamples, made a few at a time as each holds `width` numbers."""
    if width == 0:
        raise ValueError("an interval needs at least one row")
    random = np.random.default_rng(SEED)
    at_once = max(1, _CELLS_AT_ONCE // width)
    scores = [scores_of(random, min(at_once, RESAMPLES - done)) for done in range(0, RESAMPLES, at_once)]
    tail = (1 - COVERAGE) / 2
    low, high = np.quantile(np.concatenate(scores), [tail, 1 - tail])
    return Interval(float(low), float(high))

"""95 percent intervals: how much a score would vary with other papers.

A share of rows (accuracy) has Wilson's score interval, which is valid at 0 and 1 too. Other scores have the percentile
bootstrap: as many rows as there are are drawn with replacement and scored again (Efron and Tibshirani 1993, "An
Introduction to the Bootstrap", chapter 13). The seed is fixed, so the same rows have the same interval.

A bootstrapped score of exactly 0 or 1 has an interval of width 0, because every resample has that score: it means "too
few rows".
"""

from collections.abc import Callable
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

RESAMPLES = 2000
COVERAGE = 0.95
SEED = 20230701

# Numbers of 8 bytes in memory at once, 32 MB.
_MAX_CELLS = 4_000_000


@dataclass(frozen=True)
class Interval:
    """The range of the score in the middle 95 percent of the resamples.

    Attributes:
        low: Lower end, in the unit of the score.
        high: Upper end, in the unit of the score.
    """

    low: float
    high: float


def share_interval(hits: int, rows: int) -> Interval:
    """Return the interval of a share of rows (Wilson 1927, JASA 22, pages 209 to 212).

    Args:
        hits: Number of rows that count.
        rows: Number of all rows, at least 1.
    """
    from scipy.stats import binomtest

    interval = binomtest(hits, rows).proportion_ci(COVERAGE, method="wilson")
    return Interval(float(interval.low), float(interval.high))


def mean_interval(values: NDArray[np.float64]) -> Interval:
    """Return the interval of a mean over rows.

    Args:
        values: The score of each row, shape (rows,).

    Raises:
        ValueError: If there are no rows.
    """
    rows = len(values)

    def means(random: np.random.Generator, resamples: int) -> NDArray[np.float64]:
        drawn = random.integers(0, rows, size=(resamples, rows))
        return np.asarray(values[drawn].mean(axis=1), dtype=np.float64)

    return _middle_interval(means, rows)


def ratio_interval(sums: NDArray[np.float64], weights: NDArray[np.float64]) -> Interval:
    """Return the interval of a sum over rows divided by the sum of their weights, such as a loss a token.

    Args:
        sums: What each row adds to the upper sum, float64, shape (rows,).
        weights: What it adds to the lower one, positive, float64, shape (rows,).

    Raises:
        ValueError: If there are no rows.
    """
    rows = len(sums)

    def ratios(random: np.random.Generator, resamples: int) -> NDArray[np.float64]:
        drawn = random.integers(0, rows, size=(resamples, rows))
        return np.asarray(sums[drawn].sum(axis=1) / weights[drawn].sum(axis=1), dtype=np.float64)

    return _middle_interval(ratios, rows)


def counted_interval(
    occurrences: NDArray[np.int64], score: Callable[[NDArray[np.int64]], NDArray[np.float64]]
) -> Interval:
    """Return the interval of a score that depends only on how often each kind of row occurs.

    Accuracy and F1 need the confusion matrix, not the rows. If rows are drawn, the counts of their kinds are
    multinomial, so the counts are drawn instead: the distribution is the same, and the work grows only with the number
    of kinds. If nearly every row is a kind of its own, as for average precision, it still grows with the rows.

    Args:
        occurrences: Number of rows of each kind, shape (kinds,).
        score: Function from the counts of several resamples, shape (resamples, kinds), to their scores, shape
            (resamples,).

    Raises:
        ValueError: If there are no rows.
    """
    rows = int(occurrences.sum())
    share = occurrences / max(rows, 1)

    def scores(random: np.random.Generator, resamples: int) -> NDArray[np.float64]:
        return score(random.multinomial(rows, share, size=resamples))

    return _middle_interval(scores, len(occurrences) if rows else 0)


def _middle_interval(scores_of: Callable[[np.random.Generator, int], NDArray[np.float64]], width: int) -> Interval:
    """Return the middle 95 percent of the resamples, made a few at a time because each has `width` numbers."""
    if width == 0:
        raise ValueError("an interval needs at least one row")
    random = np.random.default_rng(SEED)
    chunk = max(1, _MAX_CELLS // width)
    scores = [scores_of(random, min(chunk, RESAMPLES - done)) for done in range(0, RESAMPLES, chunk)]
    tail = (1 - COVERAGE) / 2
    low, high = np.quantile(np.concatenate(scores), [tail, 1 - tail])
    return Interval(float(low), float(high))

"""Whether one system is better than another on the same papers, or the difference is noise.

Both systems answer the same rows, so rows that are easy or hard for both do not count, and the interval of the
difference is narrower than the intervals of the two scores suggest. It is a percentile bootstrap over rows that draws
both answers of a row together (Efron and Tibshirani 1993, "An Introduction to the Bootstrap", chapter 13). The p-value
is the probability of a difference at least as large if the two systems were equally good: McNemar's exact test for
labels (McNemar 1947, Psychometrika 12, pages 153 to 157), a randomization test for means of scores (Smucker, Allan and
Carterette 2007, CIKM, doi:10.1145/1321440.1321528). A difference in average precision has only the interval: the two
systems rank by scores of different scales, so they cannot be swapped.
"""

from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

from papertune.metrics.intervals import SEED, counted_interval, mean_interval
from papertune.metrics.screening import precision_recall, reading_steps, resampled_average_precision

# With this many resamples a randomization test can measure p-values down to 0.0002.
RANDOMIZATIONS = 9999

# Numbers of 8 bytes in memory at once, 32 MB.
_MAX_CELLS = 4_000_000


@dataclass(frozen=True)
class PairedDifference:
    """How much better the first of two systems is, over rows that both have answered.

    Attributes:
        difference: Score of the first system minus score of the second.
        low: Lower end of the 95 percent interval of the difference.
        high: Upper end.
        p_value: Probability of a difference at least as large, in either direction, if the two were equally good; None
            without such a test.
    """

    difference: float
    low: float
    high: float
    p_value: float | None

    @property
    def may_be_noise(self) -> bool:
        """Whether these rows do not show which system is better: the interval contains 0, or p is at least 0.05.

        If few rows are right in only one system, the bootstrap interval is too narrow, but the test is valid.
        """
        return self.low <= 0 <= self.high or (self.p_value is not None and self.p_value >= 0.05)


def accuracy_difference(first_right: NDArray[np.bool_], second_right: NDArray[np.bool_]) -> PairedDifference:
    """Compare the accuracy of two systems, with McNemar's exact test.

    Args:
        first_right: Whether the first system's answer is right, bool, shape (rows,).
        second_right: Whether the second system's answer is right, bool, shape (rows,).

    Raises:
        ValueError: If the shapes differ or there are no rows.
    """
    from scipy.stats import binomtest

    _check(first_right, second_right)
    gained = int(np.sum(first_right & ~second_right))
    lost = int(np.sum(second_right & ~first_right))
    rows = len(first_right)
    # A row adds 1, 0 or -1 to the difference, so the counts of these three are drawn instead of rows.
    counts = np.array([gained, rows - gained - lost, lost], dtype=np.int64)
    interval = counted_interval(counts, lambda drawn: np.asarray((drawn[:, 0] - drawn[:, 2]) / rows, dtype=np.float64))
    p_value = float(binomtest(gained, gained + lost).pvalue) if gained + lost else 1.0
    return PairedDifference((gained - lost) / rows, interval.low, interval.high, p_value)


def mean_difference(first: NDArray[np.float64], second: NDArray[np.float64]) -> PairedDifference:
    """Compare two systems by the mean of a score of each row, with a randomization test.

    Args:
        first: Scores of the first system, such as F1 at 5, float64, shape (rows,).
        second: Scores of the second system, float64, shape (rows,).

    Raises:
        ValueError: If the shapes differ or there are no rows.
    """
    from scipy.stats import permutation_test

    _check(first, second)
    differences = first - second
    interval = mean_interval(differences)
    if len(differences) == 1 or not differences.any():  # scipy rejects one row; its sign does not matter
        return PairedDifference(float(differences.mean()), interval.low, interval.high, 1.0)
    test = permutation_test(
        (differences,),
        np.mean,  # for one sample, scipy flips the signs of its numbers at random
        permutation_type="samples",
        n_resamples=RANDOMIZATIONS,
        batch=max(1, _MAX_CELLS // len(differences)),
        rng=np.random.default_rng(SEED),
        vectorized=True,
    )
    return PairedDifference(float(differences.mean()), interval.low, interval.high, float(test.pvalue))


def average_precision_difference(
    first: NDArray[np.float64], second: NDArray[np.float64], positive: NDArray[np.bool_]
) -> PairedDifference:
    """Compare how two systems rank the same rows, by average precision, with a bootstrap over rows.

    A resample without a positive row has a difference of 0. So a few positive rows show nothing: with three of them one
    resample in twenty has none, and the interval contains 0.

    Args:
        first: Scores of the first system, higher for rows that are more probably positive, in any unit, float64, shape
            (rows,).
        second: Scores of the second system, in the same or another unit, float64, shape (rows,).
        positive: Whether the row is positive, bool, shape (rows,).

    Returns:
        The difference, without a p-value.

    Raises:
        ValueError: If the shapes differ, a score is not a number or no row is positive.
    """
    found = [precision_recall(scores, positive).average_precision for scores in (first, second)]
    steps = [reading_steps(scores, positive) for scores in (first, second)]
    kinds, occurrences = np.unique(np.stack([*steps, positive], axis=1), axis=0, return_counts=True)
    of_first, of_second = (resampled_average_precision(kinds[:, n], kinds[:, 2] > 0) for n in (0, 1))
    interval = counted_interval(occurrences, lambda drawn: of_first(drawn) - of_second(drawn))
    return PairedDifference(found[0] - found[1], interval.low, interval.high, None)


def _check(first: NDArray[Any], second: NDArray[Any]) -> None:
    if first.shape != second.shape or first.ndim != 1:
        raise ValueError(f"scores of the same rows are needed, not of the shapes {first.shape} and {second.shape}")
    if not len(first):
        raise ValueError("a difference needs at least one row")

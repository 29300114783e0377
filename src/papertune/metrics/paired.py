"""Is one contestant better than another on the same papers, or is the difference noise?

Both have answered the same rows, so what is easy or hard for both falls out of the difference, and its interval is
narrower than the two scores' own intervals make believe. The interval is a percentile bootstrap over rows, both answers
of a row drawn together (Efron and Tibshirani 1993, "An Introduction to the Bootstrap", chapter 13). The p-value is the
chance of a difference at least as large if it made no difference which of the two had answered: McNemar's exact test
for labels (McNemar 1947, Psychometrika 12, pages 153 to 157), a randomization test for means of scores (Smucker, Allan
and Carterette 2007, CIKM, doi:10.1145/1321440.1321528). A difference in average precision has the interval alone: the
two rank by scores that are not of one scale, so their rows cannot change places.
"""

from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

from papertune.metrics.intervals import SEED, counted_interval, mean_interval
from papertune.metrics.screening import precision_recall, reading_steps, resampled_average_precision

# A randomization test of so many resamples can tell p-values down to 0.0002.
RANDOMIZATIONS = 9999

# So many numbers of 8 bytes are held at once, 32 MB.
_CELLS_AT_ONCE = 4_000_000


@dataclass(frozen=True)
class PairedDifference:
    """How much better the first of two contestants is, over rows that both have answered.

    Attributes:
        difference: The first one's score less the second one's.
        low: Lower end of the difference's 95 percent interval.
        high: Upper end.
        p_value: Chance of a difference at least as large, in either direction, if the two were equally good; None
            where there is no such test.
    """

    difference: float
    low: float
    high: float
    p_value: float | None

    @property
    def may_be_noise(self) -> bool:
        """Whether these rows cannot tell which of the two is better: the interval holds 0, or p is 0.05 or more.

        With few rows that only one of the two has right the bootstrap's interval is too narrow and the test is not.
        """
        return self.low <= 0 <= self.high or (self.p_value is not None and self.p_value >= 0.05)


def accuracy_difference(first_right: NDArray[np.bool_], second_right: NDArray[np.bool_]) -> PairedDifference:
    """Compare the accuracy of two contestants, with McNemar's exact test.

    Args:
        first_right: Whether the first one's answer is right, bool, shape (rows,).
        second_right: The same of the second one, shape (rows,).

    Raises:
        ValueError: If the shapes differ or there are no rows.
    """
    from scipy.stats import binomtest

    _check(first_right, second_right)
    gained = int(np.sum(first_right & ~second_right))
    lost = int(np.sum(second_right & ~first_right))
    rows = len(first_right)
    # A row adds 1, 0 or -1 to the difference, so drawing rows is drawing the counts of these three.
    counts = np.array([gained, rows - gained - lost, lost], dtype=np.int64)
    interval = counted_interval(counts, lambda drawn: np.asarray((drawn[:, 0] - drawn[:, 2]) / rows, dtype=np.float64))
    p_value = float(binomtest(gained, gained + lost).pvalue) if gained + lost else 1.0
    return PairedDifference((gained - lost) / rows, interval.low, interval.high, p_value)


def mean_difference(first: NDArray[np.float64], second: NDArray[np.float64]) -> PairedDifference:
    """Compare two contestants by the mean of a score that each row has, with a randomization test.

    Args:
        first: The first one's score of each row, such as F1 at 5, float64, shape (rows,).
        second: The second one's, shape (rows,).

    Raises:
        ValueError: If the shapes differ or there are no rows.
    """
    from scipy.stats import permutation_test

    _check(first, second)
    differences = first - second
    interval = mean_interval(differences)
    if len(differences) == 1 or not differences.any():  # scipy refuses a single row; turned round, it is as far from 0
        return PairedDifference(float(differences.mean()), interval.low, interval.high, 1.0)
    test = permutation_test(
        (differences,),
        np.mean,  # of one sample, scipy turns the signs of its numbers at random
        permutation_type="samples",
        n_resamples=RANDOMIZATIONS,
        batch=max(1, _CELLS_AT_ONCE // len(differences)),
        rng=np.random.default_rng(SEED),
        vectorized=True,
    )
    return PairedDifference(float(differences.mean()), interval.low, interval.high, float(test.pvalue))


def average_precision_difference(
    first: NDArray[np.float64], second: NDArray[np.float64], positive: NDArray[np.bool_]
) -> PairedDifference:
    """Compare how two contestants rank the same rows, by average precision, with a bootstrap over rows.

    A resample without a positive row has a difference of 0. So a handful of positive rows tells nothing: with three of
    them one resample in twenty has none, and the interval holds 0.

    Args:
        first: How likely each row is positive to the first one, in any unit, float64, shape (rows,).
        second: The same of the second one, in a unit of its own, shape (rows,).
        positive: Whether the row is positive, bool, shape (rows,).

    Returns:
        The difference, without a p-value.

    Raises:
        ValueError: If the shapes differ, a score is no number or no row is positive.
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

"""Scores of a number column.

A row has a number or says that none is stated. A prediction is exact if it is the same number, or if neither the table
nor the prediction states one. It is within the tolerance if it is exact, or if both are numbers and near enough. A
number where none is stated, and none where one is, is wrong in both. Errors and the rank correlation are over the rows
where both are numbers; they say nothing about the others.
"""

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from papertune.metrics.intervals import Interval, mean_interval, share_interval
from papertune.metrics.scores import Measure, Scores


@dataclass(frozen=True)
class NumberScores(Scores):
    """Scores of a number column, as the module's docstring defines them.

    Attributes:
        rows: Number of rows.
        stated: Rows whose table cell has a number.
        predicted: Rows with a predicted number.
        both: Rows with both; errors and the correlation are over these.
        missing: Rows whose table cell has a number and that got none.
        invented: Rows that got a number although none is stated.
        exact: Share of exact predictions.
        exact_interval: Its 95 percent interval.
        within: Share of predictions within the tolerance.
        within_interval: Its 95 percent interval.
        mean_absolute_error: In the column's unit; None without rows that have both numbers.
        mean_absolute_error_interval: Its 95 percent bootstrap interval.
        median_absolute_error: Likewise.
        spearman: Rank correlation; None with fewer than two such rows, or where all numbers of a side are the same.
    """

    rows: int
    stated: int
    predicted: int
    both: int
    missing: int
    invented: int
    exact: float
    exact_interval: Interval
    within: float
    within_interval: Interval
    mean_absolute_error: float | None
    mean_absolute_error_interval: Interval | None
    median_absolute_error: float | None
    spearman: float | None

    @property
    def main(self) -> float:
        """The share within the tolerance."""
        return self.within

    def measures(self) -> list[Measure]:
        """Return the scores that tables show; the share within the tolerance first."""
        error = self.mean_absolute_error_interval
        return [
            Measure("within", "Within tolerance", self.within, self.within_interval),
            Measure("exact", "Exact", self.exact, self.exact_interval),
            Measure("mean_absolute_error", "Mean error", self.mean_absolute_error, error),
            Measure("median_absolute_error", "Median error", self.median_absolute_error),
            Measure("spearman", "Spearman", self.spearman),
        ]

    def dev_measures(self) -> dict[str, float]:
        """Return the shares within the tolerance and exact, and the mean error if there is one."""
        found = {"within": self.within, "exact": self.exact}
        if self.mean_absolute_error is not None:
            found["mean_absolute_error"] = self.mean_absolute_error
        return found

    def unanswered(self, *, is_compared: bool) -> str:
        """Return a sentence about rows where only one of table and prediction has a number."""
        if not self.missing and not self.invented:
            return ""
        return (
            f"{self.missing:,} of {self.stated:,} rows with a number got none, and {self.invented:,} of "
            f"{self.rows - self.stated:,} rows without one got one; these count as wrong. Errors are over the "
            f"{self.both:,} rows where both are numbers."
        )


def score_numbers(gold: NDArray[np.float64], predicted: NDArray[np.float64], near: NDArray[np.bool_]) -> NumberScores:
    """Compare predicted numbers with gold ones.

    Args:
        gold: NaN where none is stated, shape (rows,).
        predicted: NaN where none is predicted, shape (rows,).
        near: Which predictions are within the tolerance, see `within_tolerance`, shape (rows,).

    Raises:
        ValueError: If the shapes differ or there are no rows.
    """
    if not gold.shape == predicted.shape == near.shape or not len(gold):
        raise ValueError(f"numbers of the same rows are needed, not of the shapes {gold.shape} and {predicted.shape}")
    stated, given = ~np.isnan(gold), ~np.isnan(predicted)
    both = stated & given
    exact = int(np.sum((gold == predicted) | (~stated & ~given)))
    errors = np.abs(predicted[both] - gold[both])
    rows = len(gold)
    return NumberScores(
        rows=rows,
        stated=int(stated.sum()),
        predicted=int(given.sum()),
        both=int(both.sum()),
        missing=int(np.sum(stated & ~given)),
        invented=int(np.sum(given & ~stated)),
        exact=exact / rows,
        exact_interval=share_interval(exact, rows),
        within=float(near.mean()),
        within_interval=share_interval(int(near.sum()), rows),
        mean_absolute_error=float(errors.mean()) if len(errors) else None,
        mean_absolute_error_interval=mean_interval(errors) if len(errors) else None,
        median_absolute_error=float(np.median(errors)) if len(errors) else None,
        spearman=_spearman(gold[both], predicted[both]),
    )


def within_tolerance(
    gold: Sequence[float] | NDArray[np.float64],
    predicted: Sequence[float] | NDArray[np.float64],
    *,
    relative: float = 0.0,
    absolute: float = 0.0,
) -> NDArray[np.bool_]:
    """Return which predictions are near the gold numbers, shape (rows,).

    Args:
        gold: NaN where none is stated; there only NaN is right.
        predicted: NaN where none is predicted.
        relative: How far a prediction may be from the gold number, as a share of that number.
        absolute: How far it may be in any case.
    """
    known, values = np.asarray(gold, dtype=np.float64), np.asarray(predicted, dtype=np.float64)
    # A relative tolerance of 0.1 must allow 110 for 100, which floats miss by the last bit.
    allowed = np.maximum(absolute, relative * np.abs(known)) * (1 + 1e-12)
    return np.asarray((np.abs(values - known) <= allowed) | (np.isnan(known) & np.isnan(values)), dtype=np.bool_)


def _spearman(gold: NDArray[np.float64], predicted: NDArray[np.float64]) -> float | None:
    """Return the rank correlation; None where it is not defined."""
    from scipy.stats import spearmanr

    if len(gold) < 2 or (gold == gold[0]).all() or (predicted == predicted[0]).all():
        return None
    return float(spearmanr(gold, predicted).statistic)

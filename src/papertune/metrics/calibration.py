"""Calibration: whether a prediction with probability 0.9 is right in nine of ten rows, and how to make it so.

A calibrator is fitted on rows that are not training rows. It changes probabilities and hardly ever the predicted label:
temperature scaling keeps the order of each row's labels, isotonic regression the order of the rows.
"""

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from papertune.kinds.label.calibrators import MIN_PROBABILITY, Isotonic, Temperature, logarithms
from papertune.metrics.intervals import share_interval

# The temperature is searched between 1/100 and 100.
_MAX_LOG_TEMPERATURE = float(np.log(100))
# The mean of this many draws has a standard error of about a fortieth of their spread.
_DRAWS = 400


def fit_temperature(probabilities: NDArray[np.float64], gold_ids: NDArray[np.int64]) -> Temperature:
    """Find the temperature with the lowest log-loss.

    Below T = 1, (ln T)^2 / (2 rows) is added to the mean log-loss, a normal prior on ln T. Without it, a few dozen rows
    without an error, whose loss is lowest at T = 0, would give every prediction the probability 1.

    Args:
        probabilities: Float64, shape (rows, labels).
        gold_ids: Column of the gold label, int64, shape (rows,).

    Raises:
        ValueError: If there are no rows, or the shapes differ.
    """
    from scipy.optimize import minimize_scalar
    from scipy.special import log_softmax

    check_scored_rows(probabilities, gold_ids)
    logs = logarithms(probabilities)
    rows = np.arange(len(gold_ids))

    def loss(log_temperature: float) -> float:
        gold_logs = log_softmax(logs / np.exp(log_temperature), axis=1)[rows, gold_ids]
        return float(min(log_temperature, 0.0) ** 2 / (2 * len(rows)) - gold_logs.mean())

    # The log-loss is convex in 1/T, so it has only one minimum in ln T.
    bounds = (-_MAX_LOG_TEMPERATURE, _MAX_LOG_TEMPERATURE)
    found = minimize_scalar(loss, bounds=bounds, method="bounded", options={"xatol": 1e-8})
    return Temperature(float(np.exp(found.x)))


def fit_isotonic(probabilities: NDArray[np.float64], gold_ids: NDArray[np.int64]) -> Isotonic:
    """Fit the rising function of the first label's probability with the least squared error.

    Probabilities stay at least 1 / (rows + 2) away from 0 and 1 (Laplace's rule of succession): rows without the label
    do not show that it is impossible, and a single later row with it would make the log-loss infinite.

    Args:
        probabilities: Float64, shape (rows, 2).
        gold_ids: Column of the gold label, int64, shape (rows,).

    Raises:
        ValueError: If there are no rows, the shapes differ, or there are not two labels.
    """
    from sklearn.isotonic import IsotonicRegression

    check_scored_rows(probabilities, gold_ids)
    if probabilities.shape[1] != 2:
        raise ValueError(f"isotonic regression needs two labels, not {probabilities.shape[1]}")
    minimum = 1 / (len(gold_ids) + 2)
    fitted = IsotonicRegression(y_min=minimum, y_max=1 - minimum, out_of_bounds="clip")
    fitted.fit(probabilities[:, 0], (gold_ids == 0).astype(np.float64))
    return Isotonic(tuple(fitted.X_thresholds_.tolist()), tuple(fitted.y_thresholds_.tolist()))


@dataclass(frozen=True)
class ReliabilityBin:
    """Rows with about the same confidence.

    Attributes:
        rows: Number of rows.
        confidence: Mean probability of the most probable label.
        accuracy: Share of the rows in which that label is the gold label.
        low: Lower end of the 95 percent interval (Wilson's) of the accuracy.
        high: Upper end.
    """

    rows: int
    confidence: float
    accuracy: float
    low: float
    high: float


@dataclass(frozen=True)
class CalibrationScores:
    """Scores of probabilities.

    Attributes:
        rows: Number of scored rows.
        log_loss: Mean of -ln(probability of the gold label), nats; at most 36.04, because probabilities below 2.2e-16
            count as 2.2e-16.
        brier: Mean over rows of the sum over labels of (probability - 1 if gold else 0)^2, from 0 to 2 (Brier 1950).
            With two labels this is twice the squared error of one label, which is often reported instead.
        ece: Expected calibration error: mean over rows of |accuracy - confidence| of their bin.
        ece_by_chance: The mean of it if every probability were right: gold labels are drawn from the probabilities.
            It is above 0 because bins have few rows (Bröcker and Smith 2007, doi 10.1175/WAF993.1).
        bins: The bins, lowest confidence first.
    """

    rows: int
    log_loss: float
    brier: float
    ece: float
    ece_by_chance: float
    bins: tuple[ReliabilityBin, ...]


def score_calibration(
    probabilities: NDArray[np.float64], gold_ids: NDArray[np.int64], bins: int = 10
) -> CalibrationScores:
    """Score probabilities against the gold labels.

    The bins of the expected calibration error have about the same number of rows (Nguyen and O'Connor 2015,
    arXiv:1508.05154): of bins of equal width nearly all are empty if most confidences are high. Rows with the same
    confidence share a bin, so there may be fewer bins, of less equal size.

    Args:
        probabilities: Float64, shape (rows, labels).
        gold_ids: Column of the gold label, int64, shape (rows,).
        bins: Maximum number of bins.

    Raises:
        ValueError: If there are no rows or bins, or the shapes differ.
    """
    check_scored_rows(probabilities, gold_ids)
    if bins < 1:
        raise ValueError(f"at least one bin is needed, not {bins}")
    rows = len(gold_ids)
    confidence = probabilities.max(axis=1)
    right = probabilities.argmax(axis=1) == gold_ids
    rank = np.searchsorted(np.sort(confidence), confidence)  # rows with a lower confidence, shape (rows,)
    bin_ids = np.unique(rank * bins // rows, return_inverse=True)[1]
    found = [_bin(confidence[bin_ids == each], right[bin_ids == each]) for each in range(bin_ids.max() + 1)]
    gold = np.eye(probabilities.shape[1])[gold_ids]
    gold_probabilities = probabilities[np.arange(rows), gold_ids]
    return CalibrationScores(
        rows=rows,
        log_loss=float(-np.log(np.maximum(gold_probabilities, MIN_PROBABILITY)).mean()),
        brier=float(((probabilities - gold) ** 2).sum(axis=1).mean()),
        ece=sum(each.rows * abs(each.accuracy - each.confidence) for each in found) / rows,
        ece_by_chance=_ece_by_chance(confidence, bin_ids),
        bins=tuple(found),
    )


def check_scored_rows(probabilities: NDArray[np.float64], gold_ids: NDArray[np.int64]) -> None:
    """Check that probabilities and gold labels fit together.

    Args:
        probabilities: Float64, shape (rows, labels).
        gold_ids: Column of the gold label, int64, shape (rows,).

    Raises:
        ValueError: If there are no rows, the shapes differ, a number is not a probability or a column does not exist.
    """
    if probabilities.ndim != 2 or gold_ids.shape != probabilities.shape[:1]:
        raise ValueError(f"probabilities {probabilities.shape} and gold labels {gold_ids.shape} have different shapes")
    if not len(gold_ids):
        raise ValueError("no rows to score")
    # Written so that NaN, which compares as false, is rejected too.
    if not (np.all(probabilities >= 0) and np.all(probabilities <= 1)):
        raise ValueError("probabilities must be between 0 and 1")
    if not (np.all(gold_ids >= 0) and np.all(gold_ids < probabilities.shape[1])):
        raise ValueError(f"gold labels must be columns of the probabilities, 0 to {probabilities.shape[1] - 1}")


def _ece_by_chance(confidence: NDArray[np.float64], bin_ids: NDArray[np.int64]) -> float:
    """Return the mean calibration error over draws in which a row is right with the probability of its confidence."""
    random = np.random.default_rng(0)
    errors = []
    for _ in range(_DRAWS):
        surprise = (random.random(len(confidence)) < confidence) - confidence
        errors.append(np.abs(np.bincount(bin_ids, weights=surprise)).sum() / len(confidence))
    return float(np.mean(errors))


def _bin(confidence: NDArray[np.float64], right: NDArray[np.bool_]) -> ReliabilityBin:
    hits, rows = int(right.sum()), len(right)
    interval = share_interval(hits, rows)
    return ReliabilityBin(rows, float(confidence.mean()), hits / rows, interval.low, interval.high)

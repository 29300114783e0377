"""Calibration: whether a probability of 0.9 means right in nine of ten rows, and how to make it mean that.

A calibrator is fitted on rows that the model has not learnt from. It changes how sure the model says it is, hardly ever
which label it names: temperature scaling keeps the order of each row's labels, isotonic regression that of the rows.
"""

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from papertune.kinds.label.calibrators import LEAST_PROBABILITY, Isotonic, Temperature, logarithms
from papertune.metrics.intervals import share_interval

# A temperature is looked for between 1/100 and 100.
_LARGEST_LOG_TEMPERATURE = float(np.log(100))


def fit_temperature(probabilities: NDArray[np.float64], true_ids: NDArray[np.int64]) -> Temperature:
    """Find the temperature with the least log-loss.

    Below T = 1, (ln T)^2 / (2 rows) is added to the mean log-loss, as if ln T were normal before any row is seen. So a
    few dozen rows without a mistake, whose loss alone is least at T = 0, do not make the model sure of everything.

    Args:
        probabilities: Float64, shape (rows, labels).
        true_ids: Column of the true label, int64, shape (rows,).

    Raises:
        ValueError: If there are no rows, or the shapes do not fit.
    """
    from scipy.optimize import minimize_scalar
    from scipy.special import log_softmax

    check_scored_rows(probabilities, true_ids)
    logs = logarithms(probabilities)
    rows = np.arange(len(true_ids))

    def loss(log_temperature: float) -> float:
        likely = log_softmax(logs / np.exp(log_temperature), axis=1)[rows, true_ids]
        return float(min(log_temperature, 0.0) ** 2 / (2 * len(rows)) - likely.mean())

    # The log-loss is convex in 1/T, so in ln T it has one minimum only.
    bounds = (-_LARGEST_LOG_TEMPERATURE, _LARGEST_LOG_TEMPERATURE)
    found = minimize_scalar(loss, bounds=bounds, method="bounded", options={"xatol": 1e-8})
    return Temperature(float(np.exp(found.x)))


def fit_isotonic(probabilities: NDArray[np.float64], true_ids: NDArray[np.int64]) -> Isotonic:
    """Fit the rising function of the first label's probability that has the least squared error.

    No probability comes out nearer to 0 or 1 than 1 / (rows + 2), Laplace's rule of succession: rows without the label
    do not show that it is impossible, and one surprise would cost an infinite log-loss.

    Args:
        probabilities: Float64, shape (rows, 2).
        true_ids: Column of the true label, int64, shape (rows,).

    Raises:
        ValueError: If there are no rows, the shapes do not fit, or there are not two labels.
    """
    from sklearn.isotonic import IsotonicRegression

    check_scored_rows(probabilities, true_ids)
    if probabilities.shape[1] != 2:
        raise ValueError(f"isotonic regression is for two labels, not {probabilities.shape[1]}")
    least = 1 / (len(true_ids) + 2)
    fitted = IsotonicRegression(y_min=least, y_max=1 - least, out_of_bounds="clip")
    fitted.fit(probabilities[:, 0], (true_ids == 0).astype(np.float64))
    return Isotonic(tuple(fitted.X_thresholds_.tolist()), tuple(fitted.y_thresholds_.tolist()))


@dataclass(frozen=True)
class ReliabilityBin:
    """Rows of which the model is about equally sure.

    Attributes:
        rows: How many.
        confidence: Mean probability of the label that is likeliest.
        accuracy: Share of the rows for which it is the true one.
        low: Lower end of the accuracy's 95 percent interval (Wilson's).
        high: Upper end.
    """

    rows: int
    confidence: float
    accuracy: float
    low: float
    high: float


@dataclass(frozen=True)
class CalibrationScores:
    """What probabilities are worth as probabilities.

    Attributes:
        rows: How many rows were scored.
        log_loss: Mean of -ln(probability of the true label), nats; at most 36.04, as no probability is taken to be
            below 2.2e-16.
        brier: Mean over rows of the sum over labels of (probability - 1 if true else 0)^2, from 0 to 2 (Brier 1950). Of
            two labels that is twice what is often given, the squared error of one of them.
        ece: Expected calibration error: mean over rows of |accuracy - confidence| of their bin.
        bins: The bins, the least sure first.
    """

    rows: int
    log_loss: float
    brier: float
    ece: float
    bins: tuple[ReliabilityBin, ...]


def score_calibration(
    probabilities: NDArray[np.float64], true_ids: NDArray[np.int64], bins: int = 10
) -> CalibrationScores:
    """Score probabilities against the true labels.

    The bins of the expected calibration error hold about the same number of rows (Nguyen and O'Connor 2015,
    arXiv:1508.05154), since bins of the same width are nearly all empty where a model is mostly sure. Rows with the
    same confidence share a bin, whatever their order, so there may be fewer bins, and less even ones.

    Args:
        probabilities: Float64, shape (rows, labels).
        true_ids: Column of the true label, int64, shape (rows,).
        bins: Most bins.

    Raises:
        ValueError: If there are no rows or bins, or the shapes do not fit.
    """
    check_scored_rows(probabilities, true_ids)
    if bins < 1:
        raise ValueError(f"at least one bin is needed, not {bins}")
    rows = len(true_ids)
    confidence = probabilities.max(axis=1)
    right = probabilities.argmax(axis=1) == true_ids
    surer_than = np.searchsorted(np.sort(confidence), confidence)  # how many rows are less sure, shape (rows,)
    bin_ids = surer_than * bins // rows
    found = [_bin(confidence[members], right[members]) for members in (bin_ids == each for each in np.unique(bin_ids))]
    truth = np.eye(probabilities.shape[1])[true_ids]
    likely = probabilities[np.arange(rows), true_ids]
    return CalibrationScores(
        rows=rows,
        log_loss=float(-np.log(np.maximum(likely, LEAST_PROBABILITY)).mean()),
        brier=float(((probabilities - truth) ** 2).sum(axis=1).mean()),
        ece=sum(each.rows * abs(each.accuracy - each.confidence) for each in found) / rows,
        bins=tuple(found),
    )


def check_scored_rows(probabilities: NDArray[np.float64], true_ids: NDArray[np.int64]) -> None:
    """Check that probabilities and true labels fit together.

    Args:
        probabilities: Float64, shape (rows, labels).
        true_ids: Column of the true label, int64, shape (rows,).

    Raises:
        ValueError: If there are no rows, the shapes do not fit, a number is no probability or a column is not there.
    """
    if probabilities.ndim != 2 or true_ids.shape != probabilities.shape[:1]:
        raise ValueError(f"probabilities {probabilities.shape} and true labels {true_ids.shape} do not fit")
    if not len(true_ids):
        raise ValueError("no rows to score")
    # Written so that NaN, which compares as false, is refused too.
    if not (np.all(probabilities >= 0) and np.all(probabilities <= 1)):
        raise ValueError("probabilities must be between 0 and 1")
    if not (np.all(true_ids >= 0) and np.all(true_ids < probabilities.shape[1])):
        raise ValueError(f"true labels must be columns of the probabilities, 0 to {probabilities.shape[1] - 1}")


def _bin(confidence: NDArray[np.float64], right: NDArray[np.bool_]) -> ReliabilityBin:
    hits, rows = int(right.sum()), len(right)
    interval = share_interval(hits, rows)
    return ReliabilityBin(rows, float(confidence.mean()), hits / rows, interval.low, interval.high)

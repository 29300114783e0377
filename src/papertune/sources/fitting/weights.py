"""The weights of a join: how much each source counts.

A join is a logarithmic opinion pool (Genest and Zidek 1986, doi:10.1214/ss/1177013825):

    log p(label) = sum over sources of weight x log p_source(label) + offset(label) - log(normalizer)

Weights are not negative and need not add up to 1, so they calibrate the sources as well: a source that is too sure of
itself gets less. Offsets correct for sources that make rare labels too probable. Weights and offsets are fitted on
log-probabilities of rows that no source was fitted on, by the log-loss, with a penalty that keeps the weights of few
rows near those of the plain mean.
"""

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

# As if this many rows spoke for the mean of the sources, and for offsets of 0.
_WEIGHT_PENALTY = 1.0
_OFFSET_PENALTY = 0.2
_SMALLEST = 1e-3


@dataclass(frozen=True)
class Weights:
    """Fitted weights.

    Attributes:
        of_sources: The weight of each source.
        offsets: The offset of each label.
    """

    of_sources: tuple[float, ...]
    offsets: tuple[float, ...]

    def joined(self, sources: Sequence[NDArray[np.float64]]) -> NDArray[np.float64]:
        """Return the joined log-probabilities, float64, shape (rows, labels).

        Args:
            sources: The log-probabilities of each source, float64, shape (rows, labels).
        """
        return join(sources, self.of_sources, self.offsets)


def join(
    sources: Sequence[NDArray[np.float64]],
    weights: Sequence[float] | NDArray[np.float64],
    offsets: Sequence[float] | NDArray[np.float64],
) -> NDArray[np.float64]:
    """Return the joined log-probabilities, float64, shape (rows, labels)."""
    scores = np.zeros_like(sources[0]) + np.asarray(offsets)
    for weight, source in zip(weights, sources, strict=True):
        scores += weight * source
    scores -= scores.max(axis=1, keepdims=True)
    result: NDArray[np.float64] = scores - np.log(np.exp(scores).sum(axis=1, keepdims=True))
    return result


def log_losses(log_probabilities: NDArray[np.float64], gold: NDArray[np.int64]) -> NDArray[np.float64]:
    """Return the log-loss of each row, in nats."""
    losses: NDArray[np.float64] = -log_probabilities[np.arange(len(gold)), gold]
    return losses


def mean_log_loss(log_probabilities: NDArray[np.float64], gold: NDArray[np.int64]) -> float:
    """Return the mean log-loss, in nats."""
    return float(log_losses(log_probabilities, gold).mean())


def fit_weights(sources: Sequence[NDArray[np.float64]], gold: NDArray[np.int64]) -> Weights:
    """Fit weights and offsets.

    Args:
        sources: Log-probabilities of each source for rows that it was not fitted on, float64, shape (rows, labels).
        gold: Index of the gold label, int64, shape (rows,).
    """
    from scipy.optimize import minimize

    count, (rows, labels) = len(sources), sources[0].shape
    stacked = np.stack(sources)  # (sources, rows, labels)
    penalty = _WEIGHT_PENALTY * count  # so that a source given twice changes nothing
    start = np.concatenate([np.full(count, 1 / count), np.zeros(labels)])

    def loss(values: NDArray[np.float64]) -> tuple[float, NDArray[np.float64]]:
        weights, offsets = values[:count], values[count:]
        joined = join(sources, weights, offsets)
        wrong = np.exp(joined)
        wrong[np.arange(rows), gold] -= 1
        far = weights - 1 / count
        total = log_losses(joined, gold).sum() + penalty * far @ far + _OFFSET_PENALTY * offsets @ offsets
        by_weight = np.einsum("rl,srl->s", wrong, stacked) + 2 * penalty * far
        by_offset = wrong.sum(axis=0) + 2 * _OFFSET_PENALTY * offsets
        return total / rows, np.concatenate([by_weight, by_offset]) / rows

    bounds = [(0, None)] * count + [(None, None)] * labels
    found = minimize(loss, start, jac=True, method="L-BFGS-B", bounds=bounds).x
    weights = found[:count]
    if not weights.any():
        weights[0] = _SMALLEST  # rows that no source can tell apart are still ranked by the first
    return Weights(tuple(map(float, weights)), tuple(map(float, found[count:])))

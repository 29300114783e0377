"""The machine of ELAS u4 fitted from products of records, for simulations that fit it hundreds of times.

It is exact, where scikit-learn's LinearSVC (`elas_u4.fit_machine`) stops at a tolerance; the order of the records is
the same. Squared hinge loss in the primal by Newton's method (Chapelle 2007, doi:10.1162/neco.2007.19.5.1155).
"""

import numpy as np
from numpy.typing import NDArray

from papertune.evaluation.systems.elas_u4 import RATIO

_COST = 0.11
_MAX_STEPS = 60
_TOLERANCE = 1e-10


def fit_dual(
    products: NDArray[np.float64], relevant: NDArray[np.bool_], start: NDArray[np.float64]
) -> NDArray[np.float64]:
    """Fit the machine.

    Args:
        products: Inner product of each pair of records, plus 1 for the offset, shape (records, records).
        relevant: Whether each is relevant; both values occur, shape (records,).
        start: Coefficients to start from, such as those of a fit before, shape (records,).

    Returns:
        Coefficients: the score of a record is their sum times its products, shape (records,).
    """
    signs = np.where(relevant, 1.0, -1.0)
    weights = np.where(relevant, 1.0, relevant.sum() / (RATIO * (~relevant).sum()))
    costs = _COST * weights * (len(weights) / weights.sum())

    def objective(coefficients: NDArray[np.float64]) -> tuple[float, NDArray[np.float64]]:
        scores = products @ coefficients
        slack = np.maximum(0, 1 - signs * scores)
        return float(coefficients @ scores / 2 + (costs * slack * slack).sum()), scores

    coefficients = start
    value, scores = objective(coefficients)
    for _ in range(_MAX_STEPS):
        inside = np.flatnonzero(signs * scores < 1)
        target = np.zeros_like(coefficients)
        system = products[np.ix_(inside, inside)] + np.diag(1 / (2 * costs[inside]))
        target[inside] = np.linalg.solve(system, signs[inside])
        step = 1.0
        candidate = target
        new_value, new_scores = objective(candidate)
        while new_value > value and step > _TOLERANCE:
            step /= 2
            candidate = coefficients + step * (target - coefficients)
            new_value, new_scores = objective(candidate)
        gain = value - new_value
        if gain > 0:
            coefficients, value, scores = candidate, new_value, new_scores
        if gain <= _TOLERANCE * max(1.0, abs(value)):
            break
    return coefficients

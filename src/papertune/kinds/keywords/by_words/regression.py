"""The logistic regression that says which phrases are keywords."""

from collections.abc import Sequence

import numpy as np
from numpy.typing import NDArray


def fit_regression(
    tables: Sequence[NDArray[np.float64]], right: Sequence[NDArray[np.bool_]], strength: float
) -> tuple[NDArray[np.float64], float]:
    """Fit a logistic regression; zeros if all candidates are keywords, or none is.

    Args:
        tables: The features of the candidates of each document, float64, shape (candidates, features).
        right: Which of them are keywords, bool, shape (candidates,).
        strength: Inverse of the L2 penalty on standardized features, scikit-learn's C.

    Returns:
        Coefficients for features as they are, float64, shape (features,), and the intercept.
    """
    table, wanted = np.concatenate(tables), np.concatenate(right)
    if wanted.all() or not wanted.any():
        return np.zeros(table.shape[1]), 0.0
    from sklearn.linear_model import LogisticRegression
    from sklearn.preprocessing import StandardScaler

    scaler = StandardScaler().fit(table)
    fitted = LogisticRegression(C=strength, max_iter=1000).fit(scaler.transform(table), wanted)
    weights = fitted.coef_[0] / scaler.scale_
    return weights, float(fitted.intercept_[0] - weights @ scaler.mean_)

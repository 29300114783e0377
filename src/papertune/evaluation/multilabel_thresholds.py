"""Thresholds of the labels of a labels column, chosen on rows whose labels are known."""

import numpy as np
from numpy.typing import NDArray

from papertune.evaluation.screening import f1_threshold

# Where nothing speaks for another: the likelier of yes and no.
MIDDLE = 0.5


def f1_thresholds(probabilities: NDArray[np.float64], has: NDArray[np.bool_]) -> NDArray[np.float64]:
    """Find for each label the threshold with the best F1; so macro F1 is the best that thresholds can give there.

    Args:
        probabilities: How likely each row has each label, float64, shape (rows, labels); NaN where that is not known.
        has: Which labels each row has, bool, shape (rows, labels).

    Returns:
        Each label has the rows whose probability is so high or higher, float64, shape (labels,); `MIDDLE` where none of
        the known rows has the label.
    """
    thresholds = np.full(has.shape[1], MIDDLE)
    for n in range(has.shape[1]):
        known = ~np.isnan(probabilities[:, n])
        if has[known, n].any():
            thresholds[n] = f1_threshold(probabilities[known, n], has[known, n])
    return thresholds

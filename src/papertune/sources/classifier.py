"""Logistic regression on the features of a source, with held-out probabilities by cross-validation."""

import warnings
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

from papertune.sources.fitting.weights import fit_weights, mean_log_loss

# The smallest probability of a label; a label that the training rows lack has it.
MIN_PROBABILITY = 1e-5
FOLDS = 5
_SEED = 0
# A looser tolerance costs up to 0.02 of average precision.
_OPTIONS = {"max_iter": 500}


@dataclass(frozen=True)
class LinearClassifier:
    """A fitted logistic regression.

    Attributes:
        coefficients: float32, shape (labels, features).
        intercepts: float32, shape (labels,).
        is_known: Which labels the training rows have, bool, shape (labels,).
    """

    coefficients: NDArray[np.float32]
    intercepts: NDArray[np.float32]
    is_known: NDArray[np.bool_]

    def log_probabilities(self, features: Any) -> NDArray[np.float64]:
        """Return the log-probability of each label.

        Args:
            features: Sparse or dense, shape (rows, features).

        Returns:
            float64, shape (rows, labels); at least log(`MIN_PROBABILITY`) before normalization.
        """
        found = np.full((features.shape[0], len(self.is_known)), np.log(MIN_PROBABILITY))
        scores = np.asarray(features.astype(np.float64) @ self.coefficients[self.is_known].astype(np.float64).T)
        known = log_softmax(scores + self.intercepts[self.is_known])
        found[:, self.is_known] = np.maximum(known, np.log(MIN_PROBABILITY))
        return log_softmax(found)


def log_softmax(scores: NDArray[np.float64]) -> NDArray[np.float64]:
    """Return scores as log-probabilities; float64, shape (rows, labels)."""
    highest = scores - scores.max(axis=1, keepdims=True)
    result: NDArray[np.float64] = highest - np.log(np.exp(highest).sum(axis=1, keepdims=True))
    return result


def fit_classifier(features: Any, gold: NDArray[np.int64], labels: int, strength: float) -> LinearClassifier:
    """Fit a logistic regression in which all labels count the same.

    Rare labels are learned better if they count the same in total ("balanced" class weights); the join corrects the
    probabilities afterwards.

    Args:
        features: Sparse or dense, shape (rows, features).
        gold: Index of the gold label, int64, shape (rows,).
        labels: Number of labels.
        strength: Inverse of the L2 penalty, scikit-learn's C.
    """
    is_known = np.isin(np.arange(labels), gold)
    coefficients = np.zeros((labels, features.shape[1]), dtype=np.float32)
    intercepts = np.zeros(labels, dtype=np.float32)
    if is_known.sum() > 1:
        from sklearn.exceptions import ConvergenceWarning
        from sklearn.linear_model import LogisticRegression

        with warnings.catch_warnings():
            warnings.simplefilter("ignore", ConvergenceWarning)
            model = LogisticRegression(C=strength, class_weight="balanced", **_OPTIONS).fit(features, gold)
        if len(model.classes_) == 2:  # scikit-learn keeps the difference
            coefficients[model.classes_[1]], intercepts[model.classes_[1]] = model.coef_[0], model.intercept_[0]
        else:
            coefficients[model.classes_], intercepts[model.classes_] = model.coef_, model.intercept_
    return LinearClassifier(coefficients, intercepts, is_known)


def cross_validate(
    features: Any, gold: NDArray[np.int64], labels: int, strengths: Sequence[float]
) -> tuple[LinearClassifier, NDArray[np.float64], float]:
    """Fit a classifier, and predict each training row by one that has not seen it.

    Args:
        features: Sparse or dense, shape (rows, features).
        gold: Index of the gold label, int64, shape (rows,).
        labels: Number of labels.
        strengths: Candidates for `fit_classifier`.

    Returns:
        The classifier, fitted on all rows; the held-out log-probabilities, float64, shape (rows, labels); and the
        chosen strength: that with the lowest held-out log-loss after a correction of scale and label shares.
    """
    parts = folds(gold)
    best: tuple[float, float, NDArray[np.float64]] | None = None
    for strength in strengths:
        held_out = np.zeros((len(gold), labels))
        for train, test in parts:
            held_out[test] = fit_classifier(features[train], gold[train], labels, strength).log_probabilities(
                features[test]
            )
        judged = has_company(gold)
        fitted = fit_weights([held_out[judged]], gold[judged])
        loss = mean_log_loss(fitted.joined([held_out[judged]]), gold[judged])
        if best is None or loss < best[0]:
            best = loss, strength, held_out
    assert best is not None
    _, chosen, found = best
    return fit_classifier(features, gold, labels, chosen), found, chosen


def has_company(gold: NDArray[np.int64]) -> NDArray[np.bool_]:
    """Return the rows whose label another row has too, bool, shape (rows,).

    The only row of a label is held out from classifiers that do not know the label, whatever they have learned.
    """
    company: NDArray[np.bool_] = np.bincount(gold)[gold] > 1
    return company


def folds(gold: NDArray[np.int64]) -> list[tuple[NDArray[np.int64], NDArray[np.int64]]]:
    """Return the rows to fit on and the rows to predict, for each fold; stratified, the same ones each time."""
    from sklearn.model_selection import KFold, StratifiedKFold

    count = min(FOLDS, int(np.bincount(gold).max()))
    if count == 1:  # every row has a label of its own, so there are no shares to keep
        return list(KFold(min(FOLDS, len(gold)), shuffle=True, random_state=_SEED).split(gold))
    with warnings.catch_warnings():
        warnings.filterwarnings("ignore", message="The least populated class", category=UserWarning)
        return list(StratifiedKFold(count, shuffle=True, random_state=_SEED).split(np.zeros(len(gold)), gold))

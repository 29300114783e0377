"""The simple baseline of a labels column: a logistic regression for each label."""

from collections.abc import Sequence
from typing import Any

import numpy as np
from numpy.typing import NDArray

from papertune.evaluation.systems.baselines import fit_tfidf, logistic_regression
from papertune.kinds.labels.thresholds import f1_thresholds

# Folds of the cross-validation that chooses thresholds.
FOLDS = 3


class TfidfLabelProbabilities:
    """A logistic regression for each label (binary relevance), with the features and the C of `TfidfLogistic`.

    Args:
        documents: Training texts, length train_rows.
        has: Which labels each has, bool, shape (train_rows, labels).

    Attributes:
        parameters: Number of trained coefficients; 0 if there is nothing to learn.
        terms: Features of the training documents, shape (train_rows, terms); None if they have no words.

    Raises:
        ValueError: If there are no training rows or the lengths differ.
    """

    def __init__(self, documents: Sequence[str], has: NDArray[np.bool_]) -> None:
        if len(documents) != len(has):
            raise ValueError(f"{len(documents)} training documents, but the labels of {len(has)}")
        if not len(documents):
            raise ValueError("there are no training rows")
        self._shares = has.mean(axis=0)
        self._classifiers: dict[int, Any] = {}
        self.terms = None
        fitted = fit_tfidf(documents)
        if fitted is not None:
            self._vectorizer, self.terms = fitted
            learnable = [n for n, share in enumerate(self._shares) if 0 < share < 1]
            self._classifiers = {n: logistic_regression().fit(self.terms, has[:, n]) for n in learnable}
        self.parameters = sum(each.coef_.size + each.intercept_.size for each in self._classifiers.values())

    def predict_proba(self, documents: Sequence[str]) -> NDArray[np.float64]:
        """Return the probability of each label in each document.

        Args:
            documents: Texts, length rows.

        Returns:
            Float64, shape (rows, labels). If there was nothing to learn about a label, its share of the training rows.
        """
        probabilities = np.tile(self._shares, (len(documents), 1))
        if self._classifiers and documents:
            terms = self._vectorizer.transform(documents)
            for n, classifier in self._classifiers.items():
                probabilities[:, n] = classifier.predict_proba(terms)[:, 1]
        return probabilities


class TfidfOneVsRest:
    """Predicts labels by `TfidfLabelProbabilities` and a threshold for each label.

    At 0.5 a rare label would hardly ever be predicted, so each label has the threshold with the best cross-validated F1
    on the training rows (Lipton, Elkan and Naryanaswamy 2014, arXiv:1402.1892).

    Args:
        documents: Training texts, length train_rows.
        has: Which labels each has, bool, shape (train_rows, labels).

    Attributes:
        parameters: Number of trained coefficients; 0 if there is nothing to learn.

    Raises:
        ValueError: If there are no training rows or the lengths differ.
    """

    def __init__(self, documents: Sequence[str], has: NDArray[np.bool_]) -> None:
        self._probabilities = TfidfLabelProbabilities(documents, has)
        self.parameters = self._probabilities.parameters
        terms = self._probabilities.terms
        self._thresholds = (
            np.full(has.shape[1], 0.5) if terms is None else f1_thresholds(_cross_validated(terms, has), has)
        )

    def predict(self, documents: Sequence[str]) -> tuple[NDArray[np.bool_], NDArray[np.float64]]:
        """Predict the labels of documents.

        Args:
            documents: Texts, length rows.

        Returns:
            Which labels each has, bool, and the labels' probabilities, float64, both of shape (rows, labels).
        """
        probabilities = self._probabilities.predict_proba(documents)
        return probabilities >= self._thresholds, probabilities


def _cross_validated(terms: Any, has: NDArray[np.bool_]) -> NDArray[np.float64]:
    """Return cross-validated probabilities of each label; NaN for a label that too few rows have, or lack."""
    from sklearn.model_selection import StratifiedKFold, cross_val_predict

    probabilities = np.full(has.shape, np.nan)
    for n, gold in enumerate(has.T):
        if min(gold.sum(), (~gold).sum()) >= FOLDS:
            folds = StratifiedKFold(FOLDS, shuffle=True, random_state=0)
            found = cross_val_predict(logistic_regression(), terms, gold, cv=folds, method="predict_proba")
            probabilities[:, n] = found[:, 1]

    return probabilities

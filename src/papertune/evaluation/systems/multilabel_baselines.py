"""The plain method that a fine-tuned model has to beat on a labels column: a logistic regression for each label."""

from collections.abc import Sequence
from typing import Any

import numpy as np
from numpy.typing import NDArray

from papertune.evaluation.systems.baselines import fit_tfidf
from papertune.kinds.labels.thresholds import f1_thresholds

# Parts of the training rows of which each is judged by what the others have taught.
FOLDS = 3


class TfidfLabelProbabilities:
    """For each label a logistic regression on the tf-idf of a document's words and word pairs (binary relevance).

    The features and C are those of `TfidfLogistic`.

    Args:
        documents: Texts to learn from, length train_rows.
        has: Which labels each has, bool, shape (train_rows, labels).

    Attributes:
        parameters: How many coefficients were learnt; 0 without anything to learn from.
        terms: The training documents' features, shape (train_rows, terms); None where they have no words.

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
            self._classifiers = {n: _classifier().fit(self.terms, has[:, n]) for n in learnable}
        self.parameters = sum(each.coef_.size + each.intercept_.size for each in self._classifiers.values())

    def of(self, documents: Sequence[str]) -> NDArray[np.float64]:
        """Give how likely each label is in each document.

        Args:
            documents: Texts, length rows.

        Returns:
            Float64, shape (rows, labels). A label that all or none of the training rows have is as likely as there.
        """
        probabilities = np.tile(self._shares, (len(documents), 1))
        if self._classifiers and documents:
            terms = self._vectorizer.transform(documents)
            for n, classifier in self._classifiers.items():
                probabilities[:, n] = classifier.predict_proba(terms)[:, 1]
        return probabilities


class TfidfOneVsRest:
    """Labels by `TfidfLabelProbabilities`, each from a threshold of its own on.

    At 0.5 such a classifier hardly ever names a rare label, so each label has the threshold with the best F1 on the
    training rows, cross-validated (Lipton, Elkan and Naryanaswamy 2014, arXiv:1402.1892).

    Args:
        documents: Texts to learn from, length train_rows.
        has: Which labels each has, bool, shape (train_rows, labels).

    Attributes:
        parameters: How many coefficients were learnt; 0 without anything to learn from.

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
        """Find the labels of documents.

        Args:
            documents: Texts, length rows.

        Returns:
            Which labels each is given, bool, and how likely each is, float64, both of shape (rows, labels).
        """
        probabilities = self._probabilities.of(documents)
        return probabilities >= self._thresholds, probabilities


def _classifier() -> Any:
    from sklearn.linear_model import LogisticRegression

    return LogisticRegression(C=10, max_iter=1000)


def _cross_validated(terms: Any, has: NDArray[np.bool_]) -> NDArray[np.float64]:
    """Give the probability of each label by a classifier that has not seen the row; NaN where rows are too few."""
    from sklearn.model_selection import StratifiedKFold, cross_val_predict

    probabilities = np.full(has.shape, np.nan)
    for n, given in enumerate(has.T):
        if min(given.sum(), (~given).sum()) >= FOLDS:
            folds = StratifiedKFold(FOLDS, shuffle=True, random_state=0)
            found = cross_val_predict(_classifier(), terms, given, cv=folds, method="predict_proba")
            probabilities[:, n] = found[:, 1]
    return probabilities

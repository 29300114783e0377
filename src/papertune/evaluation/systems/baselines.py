"""Simple baselines that a fine-tuned model has to beat: they run in seconds, without a GPU, and are often good enough.

`TfidfLogistic` is the text classifier to try first (Wang and Manning 2012, "Baselines and Bigrams", ACL P12-2018).
"""

from collections import Counter
from collections.abc import Sequence
from typing import Any

import numpy as np
from numpy.typing import NDArray

from papertune.metrics.phrases import is_mostly_cjk


def majority(train_labels: Sequence[str], rows: int) -> list[str]:
    """Predict the most frequent training label for every row.

    Args:
        train_labels: The labels of the training rows.
        rows: Number of predictions.

    Returns:
        The same label `rows` times; of equally frequent labels the one that comes first in the table.

    Raises:
        ValueError: If there are no training labels.
    """
    if not train_labels:
        raise ValueError("the most frequent label of an empty table is not defined")
    return [Counter(train_labels).most_common(1)[0][0]] * rows


class TfidfLogistic:
    """Logistic regression on the tf-idf of a document's words and word pairs, see `fit_tfidf`; C is 10.

    Args:
        documents: Training texts, length train_rows.
        gold: Their labels, length train_rows.
        labels: The label set, in the order of the probabilities' columns.

    Attributes:
        parameters: Number of trained coefficients; 0 if there is nothing to learn (one label only, or no words).

    Raises:
        ValueError: If there are no training rows, the lengths differ, or a training label is not in the label set.
    """

    def __init__(self, documents: Sequence[str], gold: Sequence[str], labels: Sequence[str]) -> None:
        if len(documents) != len(gold):
            raise ValueError(f"{len(documents)} training documents, but {len(gold)} labels")
        if not gold:
            raise ValueError("there are no training rows")
        if unknown := set(gold) - set(labels):
            raise ValueError(f"training label {min(unknown)!r} is not in the label set {list(labels)}")
        from sklearn.dummy import DummyClassifier
        from sklearn.pipeline import make_pipeline

        self._labels = list(labels)
        self.parameters = 0
        fitted = fit_tfidf(documents) if len(set(gold)) > 1 else None
        if fitted is None:
            self._model = DummyClassifier(strategy="prior").fit(documents, gold)
        else:
            vectorizer, terms = fitted
            classifier = logistic_regression().fit(terms, gold)
            self._model = make_pipeline(vectorizer, classifier)
            self.parameters = classifier.coef_.size + classifier.intercept_.size

    def predict(self, documents: Sequence[str]) -> tuple[list[str], NDArray[np.float64]]:
        """Classify documents.

        Args:
            documents: Texts, length rows.

        Returns:
            The most probable label of each, and the probabilities, shape (rows, labels). A label that the training
            rows lack has probability 0. If there was nothing to learn, the probabilities are the labels' shares of the
            training rows.
        """
        probabilities = np.zeros((len(documents), len(self._labels)))
        if documents:
            columns = [self._labels.index(label) for label in self._model.classes_]
            probabilities[:, columns] = self._model.predict_proba(documents)
        return [self._labels[number] for number in probabilities.argmax(axis=1)], probabilities


def logistic_regression() -> Any:
    """Return an untrained classifier for the features of `fit_tfidf`."""
    from sklearn.linear_model import LogisticRegression

    return LogisticRegression(C=10, max_iter=1000)


def fit_tfidf(documents: Sequence[str]) -> tuple[Any, Any] | None:
    """Fit scikit-learn's tf-idf of words and word pairs, or of 1 to 3 characters for Chinese, Japanese and Korean.

    Terms must occur in two documents, or in one if none occurs in two. Counts are damped to 1 + ln(count).

    Args:
        documents: Texts, length rows.

    Returns:
        The fitted vectorizer and the sparse matrix (rows, terms) of the documents, its rows of length 1; None if the
        documents have no terms.
    """
    from sklearn.feature_extraction.text import TfidfVectorizer

    units: dict[str, Any] = {"ngram_range": (1, 2)}
    if is_mostly_cjk(documents):
        units = {"ngram_range": (1, 3), "analyzer": "char"}
    for min_df in (2, 1):
        vectorizer = TfidfVectorizer(min_df=min_df, sublinear_tf=True, **units)
        try:
            return vectorizer, vectorizer.fit_transform(documents)
        except ValueError:  # scikit-learn raises it for an empty vocabulary
            continue
    return None

"""ELAS u4, the model with which ASReview 2 and 3 rank papers for screening unless another is chosen.

ASReview: van de Schoot et al. 2021, doi:10.1038/s42256-020-00287-7; the settings are those of `elas_u4` in
asreview/models/models.py of version 3.0.8. `benchmarks/elas_u4.py` compares the ranking with that of ASReview itself.
"""

import math
import warnings
from collections.abc import Sequence
from typing import Any

import numpy as np
from numpy.typing import NDArray

from papertune.warning_filters import changed_filters

# What the relevant papers weigh together, where the others weigh 1.
RATIO = 9.8
FOLDS = 5
# Limits of the sigmoid's slope, per standard deviation of the decision values. A slope above 0 keeps the ranking; below
# the upper limit, float64 still tells the probabilities of different decision values apart.
_SLOPES = (0.01, 10.0)


class ElasU4:
    """A linear support vector machine on tf-idf, which ranks papers by their distance from its plane.

    ASReview shows no probabilities. Here a sigmoid turns decision values into probabilities (Platt 1999), so that a
    paper gets a label; it rises, so it leaves the ranking as it is. It is fitted on decision values for training papers
    that the machine was not trained on (`FOLDS` folds); with one paper of a label, on those it was trained on.

    Args:
        documents: Training texts, length train_rows.
        relevant: Whether each is relevant, length train_rows.
        pool: The texts to rank. As in ASReview their words count in the inverse document frequencies.

    Attributes:
        scores: Decision value of each text of the pool, the more relevant the higher, float64, shape (pool,). Zeros if
            there is nothing to learn: one label only, or no terms.
        probabilities: Probability that it is relevant, float64, shape (pool,). If there is nothing to learn, the share
            of relevant training texts.
        parameters: Number of trained coefficients; 0 if there is nothing to learn.

    Raises:
        ValueError: If there are no training rows, or the lengths differ.
    """

    def __init__(self, documents: Sequence[str], relevant: Sequence[bool], pool: Sequence[str]) -> None:
        if not documents or len(documents) != len(relevant):
            raise ValueError(f"{len(documents)} training documents, but {len(relevant)} answers")
        gold = np.asarray(relevant, dtype=bool)
        self.scores = np.zeros(len(pool))
        self.probabilities = np.full(len(pool), gold.mean())
        self.parameters = 0
        features = None if gold.all() or not gold.any() else tfidf([*documents, *pool])
        if features is None:
            return
        known, unknown = features[: len(documents)], features[len(documents) :]
        machine = fit_machine(known, gold)
        self.parameters = machine.coef_.size + machine.intercept_.size
        if len(pool):
            self.scores = machine.decision_function(unknown)
        slope, offset = fit_sigmoid(_held_out_scores(known, gold), gold)
        self.probabilities = 1 / (1 + np.exp(-(slope * self.scores + offset)))


def tfidf(documents: Sequence[str]) -> Any | None:
    """Return the sparse tf-idf of words and word pairs, shape (rows, terms); None if there are no terms.

    Terms in more than 95 percent of the documents are left out.
    """
    from sklearn.feature_extraction.text import TfidfVectorizer

    try:
        return TfidfVectorizer(ngram_range=(1, 2), sublinear_tf=True, max_df=0.95).fit_transform(documents)
    except ValueError:  # scikit-learn raises it for an empty vocabulary
        return None


def fit_machine(features: Any, relevant: NDArray[np.bool_]) -> Any:
    """Train the support vector machine: squared hinge loss, C = 0.11, weights that add up to the number of rows.

    Args:
        features: What `tfidf` returns, shape (rows, terms).
        relevant: Bool, shape (rows,), with both values.
    """
    from sklearn.exceptions import ConvergenceWarning
    from sklearn.svm import LinearSVC

    weights = np.where(relevant, 1.0, relevant.sum() / (RATIO * (~relevant).sum()))
    with changed_filters():
        warnings.simplefilter("ignore", ConvergenceWarning)  # ASReview takes what 1,000 iterations give
        return LinearSVC(C=0.11, loss="squared_hinge", random_state=0).fit(
            features, relevant, sample_weight=weights * (len(weights) / weights.sum())
        )


def fit_sigmoid(scores: NDArray[np.float64], relevant: NDArray[np.bool_]) -> tuple[float, float]:
    """Fit p = 1 / (1 + exp(-(slope * score + offset))) by log-loss, with Platt's targets instead of 0 and 1.

    Args:
        scores: Float64, shape (rows,).
        relevant: Bool, shape (rows,).

    Returns:
        Slope, above 0, and offset.
    """
    from scipy.optimize import minimize

    positive, negative = int(relevant.sum()), int((~relevant).sum())
    targets = np.where(relevant, (positive + 1) / (positive + 2), 1 / (negative + 2))
    center, spread = scores.mean(), scores.std() or 1.0
    standardized = (scores - center) / spread

    def loss(parameters: NDArray[np.float64]) -> float:
        logits = math.exp(parameters[0]) * standardized + parameters[1]
        return float(np.mean(np.logaddexp(0, logits) - targets * logits))

    start = np.array([0.0, math.log((positive + 1) / (negative + 1))])
    found = minimize(loss, start, method="L-BFGS-B", bounds=[(math.log(_SLOPES[0]), math.log(_SLOPES[1])), (-50, 50)])
    slope = math.exp(found.x[0]) / spread
    return slope, float(found.x[1] - slope * center)


def _held_out_scores(features: Any, relevant: NDArray[np.bool_]) -> NDArray[np.float64]:
    """Return the decision value of each training text by a machine that was not trained on it, if that can be."""
    from sklearn.model_selection import StratifiedKFold

    scores = np.zeros(len(relevant))
    folds = min(FOLDS, int(relevant.sum()), int((~relevant).sum()))
    if folds < 2:
        scores[:] = fit_machine(features, relevant).decision_function(features)
        return scores
    for train, test in StratifiedKFold(folds, shuffle=True, random_state=0).split(scores, relevant):
        scores[test] = fit_machine(features[train], relevant[train]).decision_function(features[test])
    return scores

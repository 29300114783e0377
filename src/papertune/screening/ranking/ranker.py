"""Ranks the records that nobody has read, the most useful first.

The machine is that of ELAS u4 (`evaluation/systems/elas_u4.py`), fitted on the features of `features.py`. It depends on
the decisions alone: the same decisions always make the same order.
"""

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

from papertune.evaluation.systems.elas_u4 import fit_machine
from papertune.kinds.keywords.ranked.candidates import stop_words
from papertune.metrics.phrases import stem
from papertune.screening.ranking.features import Features, words_of


@dataclass(frozen=True)
class Ranking:
    """An order of all records.

    Attributes:
        scores: The higher, the sooner a record should be read, float64, shape (records,).
        order: Numbers of the records, the highest score first, of equal ones the first, int64, shape (records,).
        basis: What the order rests on: "decisions", "relevant records", "criteria" or "chance".
        weights: Weight of each feature, float64, shape (features,); None unless the basis is "decisions".
        features: The features.
    """

    scores: NDArray[np.float64]
    order: NDArray[np.int64]
    basis: str
    weights: NDArray[np.float64] | None
    features: Features

    def words(
        self, record: int, document: str, count: int = 8
    ) -> tuple[list[tuple[str, float]], list[tuple[str, float]]]:
        """Return the words and word pairs of a record that speak for it, and those against it.

        The machine weighs function words too; they tell a reader nothing and are left out, as are pairs with one.

        Args:
            record: Its number.
            document: Its text.
            count: Words of each kind at most.

        Returns:
            (word of the document in lower case, share of the score), the strongest first; empty lists before the
            machine has learned.
        """
        if self.weights is None:
            return [], []
        row = self.features.matrix[record]
        shown = row.indices < len(self.features.terms)
        columns = row.indices[shown]
        shares = row.data[shown] * self.weights[columns]
        order = np.argsort(-shares, kind="stable")
        # Of several words with a stem the first one stands for it.
        forms = {stem(word): word for word in reversed(words_of(document))} if self.features.stemmed else {}
        terms = [self.features.terms[int(columns[place])] for place in order]
        functions = stop_words()
        pairs = [
            (forms.get(term, term), float(shares[place]))
            for term, place in zip(terms, order, strict=True)
            if functions.isdisjoint(forms.get(term, term).split())
        ]
        speak_against = [pair for pair in reversed(pairs) if pair[1] < 0]
        return [pair for pair in pairs if pair[1] > 0][:count], speak_against[:count]


def rank(features: Features, relevant: Mapping[int, bool], seed: int = 0) -> Ranking:
    """Rank records.

    With relevant and irrelevant ones the machine decides. With relevant ones only, the similarity to them; with none,
    the similarity to the criteria, and without criteria a random order.

    Args:
        features: The features of all records.
        relevant: Whether each decided record is relevant, by its number.
        seed: Draws the random order.
    """
    known = sorted(relevant)
    gold = np.array([relevant[record] for record in known], dtype=bool)
    weights = None
    if gold.any() and not gold.all() and features.matrix.shape[1]:
        weights, offset = fit_weights(features.matrix, np.array(known), gold)
        scores, basis = features.matrix @ weights + offset, "decisions"
    elif gold.any() and features.matrix.shape[1]:
        mean = features.matrix[np.array(known)].mean(axis=0)
        scores, basis = np.asarray(features.matrix @ mean.T).ravel(), "relevant records"
    elif features.similarity is not None:
        scores, basis = features.similarity, "criteria"
    else:
        scores, basis = np.random.default_rng(seed).random(len(features)), "chance"
    return Ranking(scores, np.argsort(-scores, kind="stable"), basis, weights, features)


def fit_weights(matrix: Any, known: NDArray[np.int64], gold: NDArray[np.bool_]) -> tuple[NDArray[np.float64], float]:
    """Fit the machine on decided records.

    Only features that these records have can have a weight, so the others, most of a large table, are left out.

    Args:
        matrix: Features of all records, shape (records, features).
        known: Numbers of the decided ones, in ascending order, shape (decided,).
        gold: Whether each is relevant; both values occur, shape (decided,).

    Returns:
        Weight of each feature, float64, shape (features,), and the offset.
    """
    rows = matrix[known]
    used = np.unique(rows.indices)
    machine = fit_machine(rows[:, used], gold)
    weights = np.zeros(matrix.shape[1])
    weights[used] = machine.coef_[0]
    return weights, float(machine.intercept_[0])

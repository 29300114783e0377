import math
import warnings

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from sklearn.svm import LinearSVC

from papertune.evaluation.systems.elas_u4 import ElasU4, fit_machine, fit_sigmoid, tfidf
from papertune.evaluation.systems.outputs import TrainingRows
from papertune.recipe import load_recipe

RELEVANT = ["mice were given a drug and mice were tired", "rats in a forced swim test", "a drug for depressed mice"] * 4
OTHER = ["a survey among patients", "nurses and their work", "the costs of a hospital", "patients and nurses"] * 6
DOCUMENTS, GOLD = [*RELEVANT, *OTHER], [True] * len(RELEVANT) + [False] * len(OTHER)
POOL = ["nurses in a hospital", "a drug for rats", "mice", "words nobody knows", ""]


def label_column(*labels):
    recipe = {
        "table": {"document": "{text}"},
        "columns": {"label": {"kind": "label", "question": "Relevant?", "labels": list(labels)}},
    }
    return load_recipe(recipe).columns["label"]


def test_terms_are_words_and_pairs_that_are_not_in_nearly_all_documents():
    features = tfidf([f"paper mice {number}x" for number in range(20)]).toarray()
    # "paper", "mice" and "paper mice" are in all 20; "0x" and "mice 0x" are not.
    assert features.shape == (20, 40)
    np.testing.assert_allclose((features**2).sum(axis=1), np.ones(20))


def test_the_loss_of_the_machine_is_that_of_asreviews_settings():
    features, gold = tfidf(DOCUMENTS), np.array(GOLD)
    machine = fit_machine(features, gold)
    positive, negative = len(RELEVANT), len(OTHER)
    # ASReview: relevant rows weigh 1, others n1 / (9.8 n0); then all weights are scaled to the mean 1.
    weights = [1.0] * positive + [positive / (9.8 * negative)] * negative
    weights = [weight * len(weights) / sum(weights) for weight in weights]

    def loss(coefficients, intercept):
        total = (sum(c * c for c in coefficients) + intercept**2) / 2
        rows = zip(features.toarray(), gold, weights, strict=True)
        for row, relevant, weight in rows:
            margin = (1 if relevant else -1) * (row @ coefficients + intercept)
            total += 0.11 * weight * max(0, 1 - margin) ** 2
        return total

    best, intercept = loss(machine.coef_[0], machine.intercept_[0]), machine.intercept_[0]
    random = np.random.default_rng(0)
    for _ in range(50):
        step = random.normal(scale=0.05, size=features.shape[1])
        assert loss(machine.coef_[0] + step, intercept) > best
    assert loss(machine.coef_[0], intercept + 0.05) > best
    assert loss(machine.coef_[0], intercept - 0.05) > best


def test_relevant_documents_come_first_and_have_the_higher_probability():
    model = ElasU4(DOCUMENTS, GOLD, POOL)
    assert {POOL[row] for row in np.argsort(-model.scores)[:2]} == {"a drug for rats", "mice"}
    assert model.probabilities[1] > 0.5 > model.probabilities[0]
    assert list(np.argsort(model.probabilities)) == list(np.argsort(model.scores))
    assert model.parameters == tfidf([*DOCUMENTS, *POOL]).shape[1] + 1


def test_one_relevant_document_is_enough_to_rank():
    model = ElasU4([*DOCUMENTS[-5:], "mice"], [False] * 5 + [True], POOL)
    assert np.argmax(model.scores) == 2
    assert np.argmax(model.probabilities) == 2


@pytest.mark.parametrize(
    ("documents", "relevant", "share"),
    [(["mice", "rats"], [True, True], 1), (["mice", "rats"], [False, False], 0), (["", "?"], [True, False], 0.5)],
)
def test_without_anything_to_learn_the_probability_is_the_share_of_training_rows(documents, relevant, share):
    model = ElasU4(documents, relevant, ["", ""])
    assert model.scores.tolist() == [0, 0]
    assert model.probabilities.tolist() == [share, share]
    assert model.parameters == 0


def test_nothing_to_rank_is_no_error():
    assert ElasU4(DOCUMENTS, GOLD, []).probabilities.tolist() == []


@pytest.mark.parametrize(("documents", "relevant"), [([], []), (["a"], [])])
def test_rows_without_answers_are_an_error(documents, relevant):
    with pytest.raises(ValueError, match=rf"^{len(documents)} training documents, but 0 answers$"):
        ElasU4(documents, relevant, [])


@given(st.lists(st.tuples(st.floats(-3, 3), st.booleans()), min_size=2, max_size=40))
def test_the_sigmoid_rises_and_no_sigmoid_on_a_grid_has_a_lower_loss(rows):
    scores, relevant = np.array([score for score, _ in rows]), np.array([gold for _, gold in rows])
    slope, offset = fit_sigmoid(scores, relevant)
    positive = int(relevant.sum())
    high, low = (positive + 1) / (positive + 2), 1 / (len(rows) - positive + 2)

    def loss(slope, offset):
        total = 0.0
        for score, gold in zip(scores, relevant, strict=True):
            p = 1 / (1 + math.exp(-(slope * score + offset)))
            target = high if gold else low
            total -= target * math.log(p) + (1 - target) * math.log(1 - p)
        return total / len(rows)

    center, spread = scores.mean(), scores.std() or 1
    assert 0.0099 < slope * spread < 10.001
    # The grid is of slopes per standard deviation, and of logits at the mean.
    grid = [(s / spread, at - s / spread * center) for s in (0.01, 0.1, 0.5, 1, 2, 5, 10) for at in range(-5, 6)]
    assert loss(slope, offset) <= min(loss(*point) for point in grid) + 1e-4


def test_a_label_column_with_two_labels_has_it_as_a_baseline_that_looks_for_the_first():
    column = label_column("included", "excluded")
    rows = TrainingRows(DOCUMENTS, ["included" if relevant else "excluded" for relevant in GOLD])
    output = column.baselines()["ELAS u4"](rows, POOL)
    model = ElasU4(DOCUMENTS, GOLD, POOL)
    assert output.predictions.probabilities == [[p, 1 - p] for p in model.probabilities]
    assert output.predictions.cells[:3] == ["excluded", "included", "included"]
    assert list(column.baselines()) == ["TF-IDF + logistic regression", "ELAS u4", "majority"]


def test_a_label_column_with_three_labels_does_not_have_it():
    assert "ELAS u4" not in label_column("a", "b", "c").baselines()


def test_a_fit_that_does_not_converge_is_silent_and_leaves_the_filters_as_they_were(monkeypatch):
    class Short(LinearSVC):
        def __init__(self, **settings):
            super().__init__(**settings, max_iter=1)

    monkeypatch.setattr("sklearn.svm.LinearSVC", Short)
    before = list(warnings.filters)
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        fit_machine(np.random.default_rng(0).random((40, 5)), np.arange(40) % 2 == 0)
    assert warnings.filters == before

import numpy as np
import pytest
from scipy.sparse import csr_matrix
from sklearn.linear_model import LogisticRegression

from papertune.sources.classifier import MIN_PROBABILITY, cross_validate, fit_classifier, folds
from papertune.sources.fitting.weights import fit_weights, mean_log_loss


def make_rows(labels=3, rows=60, width=8, signal=2.0):
    rng = np.random.default_rng(0)
    gold = rng.integers(labels, size=rows)
    features = rng.normal(size=(rows, width)).astype(np.float32)
    features[np.arange(rows), gold] += signal
    return features, gold


@pytest.mark.parametrize("labels", [2, 3])
@pytest.mark.parametrize("make", [np.asarray, csr_matrix])
def test_probabilities_are_those_of_scikit_learn(labels, make):
    features, gold = make_rows(labels)
    twin = LogisticRegression(C=3, class_weight="balanced", max_iter=500).fit(make(features), gold)
    found = fit_classifier(make(features), gold, labels, 3).log_probabilities(make(features))
    assert np.allclose(np.exp(found), twin.predict_proba(make(features)), atol=1e-4)


def test_a_label_without_rows_has_the_smallest_probability():
    features, gold = make_rows(2)
    found = np.exp(fit_classifier(features, gold, 4, 1).log_probabilities(features))
    assert np.allclose(found.sum(axis=1), 1)
    assert found[:, 2:].max() == pytest.approx(MIN_PROBABILITY, rel=0.01)


def test_one_label_alone_is_certain():
    features, _ = make_rows(2)
    gold = np.ones(len(features), dtype=np.int64)
    assert np.exp(fit_classifier(features, gold, 2, 1).log_probabilities(features))[:, 1].min() > 0.9999


def test_each_row_is_predicted_by_a_classifier_that_has_not_seen_it():
    rng = np.random.default_rng(0)
    features, gold = np.eye(40, dtype=np.float32), rng.integers(2, size=40)  # each row has a feature of its own
    classifier, held_out, _ = cross_validate(features, gold, 2, [100.0])
    seen = classifier.log_probabilities(features)
    assert (seen.argmax(axis=1) == gold).all()
    for train, test in folds(gold):
        twin = fit_classifier(features[train], gold[train], 2, 100.0).log_probabilities(features[test])
        assert np.allclose(held_out[test], twin)
    assert (held_out.argmax(axis=1) == gold).mean() < 0.7


def test_the_penalty_with_the_lowest_held_out_loss_is_chosen():
    features, gold = make_rows(3, rows=80, width=100, signal=1.5)
    losses = {}
    for strength in (1e-3, 1.0, 100.0):
        _, held_out, _ = cross_validate(features, gold, 3, [strength])
        losses[strength] = mean_log_loss(fit_weights([held_out], gold).joined([held_out]), gold)
    assert cross_validate(features, gold, 3, list(losses))[2] == min(losses, key=losses.get)


def test_all_rows_are_in_one_fold_and_folds_are_the_same_each_time():
    gold = np.array([0] * 9 + [1])
    parts = folds(gold)
    assert sorted(np.concatenate([test for _, test in parts]).tolist()) == list(range(10))
    for (_, first), (_, second) in zip(parts, folds(gold), strict=True):
        assert first.tolist() == second.tolist()

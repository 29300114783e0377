"""What papertune fits to find shortcuts beside scikit-learn and SciPy, its slow twins."""

import math
import random

import numpy as np
import pytest
from hypothesis import example, given, settings
from hypothesis import strategies as st
from scipy.stats import binomtest
from sklearn.feature_extraction.text import CountVectorizer
from sklearn.model_selection import StratifiedKFold
from sklearn.naive_bayes import MultinomialNB
from sklearn.preprocessing import OneHotEncoder
from sklearn.tree import DecisionTreeClassifier

from papertune.evaluation.checks.shortcuts import _p_value, _runs, _value_candidate
from papertune.evaluation.checks.small_trees import (
    MIN_LEAF,
    number_splits,
    predict,
    stratified_folds,
    yes_no_splits,
)

numbers = st.one_of(st.integers(-4, 4).map(float), st.sampled_from([math.nan, 0.1, 1e14, 1e-9]))
number_rows = st.lists(st.tuples(numbers, st.integers(0, 2)), min_size=12, max_size=40)


def tree(leaves):
    return DecisionTreeClassifier(max_leaf_nodes=leaves, min_samples_leaf=MIN_LEAF, random_state=0)


def halves(count):
    rows = np.arange(count)
    return rows[rows % 3 > 0], rows[rows % 3 == 0]


@settings(max_examples=40)
@given(number_rows)
@example([(math.nan, 1)] * 6 + [(1.0, 0)] * 6 + [(math.nan, 0), (2.0, 1)])
@example([(float(n), 0) for n in range(20)] + [(math.nan, 1)] * 2)
def test_a_tree_of_a_number_predicts_as_scikit_learns(rows):
    values, classes = np.array([value for value, _ in rows]), np.array([label for _, label in rows])
    train, test = halves(len(rows))
    # With a leaf for each row, equally good leaves are split in either order.
    slow = tree(len(rows)).fit(values[train, np.newaxis], classes[train])
    find = number_splits(values, classes)
    predicted = predict(find, classes, train, test, len(rows))
    np.testing.assert_array_equal(predicted, slow.predict(values[test, np.newaxis]))
    first = find(train)
    assert (first is None) == (slow.tree_.node_count == 1)
    if first is not None:
        assert first.threshold == slow.tree_.threshold[0]
        stump = tree(2).fit(values[train, np.newaxis], classes[train])
        in_left = stump.apply(values[:, np.newaxis]) == stump.tree_.children_left[0]
        np.testing.assert_array_equal(first.goes_left, in_left)


@pytest.mark.parametrize("leaves", [2, 3, 4, 12])
def test_few_leaves_are_split_best_first_as_scikit_learn_does(leaves):
    for seed in range(10):
        numbers = np.random.default_rng(seed)
        values, classes = numbers.normal(size=150), numbers.integers(0, 3, 150)
        values[numbers.random(150) < 0.1] = math.nan
        train, test = halves(150)
        slow = tree(leaves).fit(values[train, np.newaxis], classes[train])
        predicted = predict(number_splits(values, classes), classes, train, test, leaves)
        np.testing.assert_array_equal(predicted, slow.predict(values[test, np.newaxis]))


def test_a_tree_of_yes_no_features_predicts_as_scikit_learns():
    for seed in range(10):
        numbers = np.random.default_rng(seed)
        classes = numbers.integers(0, 3, 151)
        features = (numbers.random((151, 30)) < 0.2 + 0.2 * classes[:, np.newaxis]).astype(np.float32)
        train, test = halves(151)
        slow = tree(5).fit(features[train], classes[train])
        find = yes_no_splits(features, classes)
        first = find(train)
        # Features may be equally good: the same impurity is reached, not always with the same one.
        sizes, impurities = (values[:3] for values in (slow.tree_.weighted_n_node_samples, slow.tree_.impurity))
        children = [slow.tree_.children_left[0], slow.tree_.children_right[0]]
        left = slow.tree_.weighted_n_node_samples[children] @ slow.tree_.impurity[children]
        assert first.gain == pytest.approx(sizes[0] * impurities[0] - left)
        if first.feature == slow.tree_.feature[0]:
            accuracy = (predict(find, classes, train, test, 2) == classes[test]).mean()
            assert accuracy == tree(2).fit(features[train], classes[train]).score(features[test], classes[test])


def test_of_equally_good_features_the_first_splits():
    classes = np.array([0] * 10 + [1] * 10)
    features = np.stack([np.ones(20), classes, classes], axis=1).astype(np.float32)
    split = yes_no_splits(features, classes)(np.arange(20))
    assert (split.feature, split.goes_left.tolist(), split.gain) == (1, [True] * 10 + [False] * 10, 10)


@given(st.lists(st.integers(0, 3), min_size=1, max_size=60), st.integers(2, 6))
def test_folds_are_those_of_scikit_learn(more, folds):
    classes = np.array([2, 0, 1, 3] * folds + more)
    slow = np.empty(len(classes), dtype=int)
    splits = StratifiedKFold(folds, shuffle=True, random_state=7).split(classes, classes)
    for number, (_, rows) in enumerate(splits):
        slow[rows] = number
    np.testing.assert_array_equal(stratified_folds(classes, folds, 7), slow)


@settings(max_examples=20)
@given(st.lists(st.tuples(st.sampled_from("abcdef"), st.integers(0, 2)), min_size=6, max_size=60))
def test_categories_are_predicted_as_by_scikit_learns_naive_bayes(rows):
    cells = [cell for cell, _ in rows]
    classes = np.array([label for _, label in rows])
    # Every class is in the training rows.
    cells, classes = cells + ["a", "a", "b"] * 3, np.concatenate([classes, np.repeat([0, 1, 2], 3)])
    train, test = halves(len(cells))
    column = np.array(cells, dtype=object)[:, np.newaxis]
    encoder = OneHotEncoder(handle_unknown="ignore").fit(column[train])
    slow = MultinomialNB().fit(encoder.transform(column[train]), classes[train])
    likelihoods = slow.predict_joint_log_proba(encoder.transform(column[test]))
    predicted = _value_candidate(cells, classes, classes).predict(train, test)
    chosen = likelihoods[np.arange(len(test)), predicted]
    np.testing.assert_allclose(chosen, likelihoods.max(axis=1))


@given(st.text(st.sampled_from("aA9文,;. \t\n"), max_size=12))
def test_runs_are_those_of_scikit_learn(text):
    slow = CountVectorizer(analyzer="char", ngram_range=(1, 4), lowercase=False).build_analyzer()
    assert _runs(text) == set(slow(text))


def test_the_p_value_is_that_of_scipy():
    for _ in range(40):
        rows = random.randint(40, 2000)
        right, share = random.randint(0, rows), random.uniform(0.05, 0.95)
        slow = binomtest(right, rows, share, alternative="greater").pvalue
        assert _p_value(right, rows, share) == pytest.approx(slow, rel=1e-6, abs=1e-200)

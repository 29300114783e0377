import itertools

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from scipy.stats import binomtest
from sklearn.metrics import average_precision_score

from papertune.metrics.intervals import RESAMPLES
from papertune.metrics.paired import accuracy_difference, average_precision_difference, mean_difference
from papertune.metrics.screening import average_precision_interval

PAIRS = st.lists(st.tuples(st.booleans(), st.booleans()), min_size=1, max_size=40)


@given(PAIRS)
def test_mcnemar_counts_rows_that_are_right_in_only_one_system(pairs):
    first, second = np.array(pairs).T
    found = accuracy_difference(first, second)
    gained = sum(a and not b for a, b in pairs)
    lost = sum(b and not a for a, b in pairs)
    assert found.difference == pytest.approx(first.mean() - second.mean())
    expected = binomtest(gained, gained + lost, 0.5).pvalue if gained + lost else 1.0
    assert found.p_value == pytest.approx(expected)
    assert found.low <= found.difference + 1e-9
    assert found.difference <= found.high + 1e-9


def test_mcnemar_worked_out_by_hand():
    # Five rows are right only in the first system, none only in the second: 2 x (1/2)^5.
    first = np.array([True] * 5 + [True] * 20 + [False] * 5)
    second = np.array([False] * 5 + [True] * 20 + [False] * 5)
    found = accuracy_difference(first, second)
    assert found.p_value == pytest.approx(2 / 32)
    assert found.difference == pytest.approx(5 / 30)


def test_the_interval_of_accuracy_equals_a_bootstrap_over_rows():
    generator = np.random.default_rng(1)
    first, second = generator.random(150) < 0.9, generator.random(150) < 0.8
    found = accuracy_difference(first, second)
    slow = [
        first[rows].mean() - second[rows].mean() for rows in (generator.integers(0, 150, 150) for _ in range(RESAMPLES))
    ]
    assert (found.low, found.high) == pytest.approx(tuple(np.quantile(slow, [0.025, 0.975])), abs=0.015)


def test_pairing_by_row_narrows_the_interval():
    # The same rows are wrong in both; ten more are right in the first.
    first = np.array([True] * 60 + [False] * 40)
    second = np.array([True] * 50 + [False] * 50)
    assert not accuracy_difference(first, second).may_be_noise
    other_rows = np.concatenate([second[50:], second[:50]])  # the same score, right on other rows
    assert accuracy_difference(first, other_rows).may_be_noise


def test_a_large_p_value_means_noise_although_the_interval_excludes_0():
    # Four rows are right only in the first system: the interval excludes 0, but p is 2 x (1/2)^4.
    second = np.array([False] * 4 + [True] * 16)
    found = accuracy_difference(np.ones(20, dtype=bool), second)
    assert found.low > 0
    assert found.p_value == pytest.approx(0.125)
    assert found.may_be_noise


def test_randomization_of_few_rows_equals_the_exact_test():
    first, second = np.array([0.9, 0.7, 0.8, 0.6, 0.9]), np.array([0.5, 0.6, 0.4, 0.7, 0.1])
    differences = first - second
    signs = np.array(list(itertools.product([1, -1], repeat=5)))
    means = (signs * differences).mean(axis=1)
    expected = 2 * min((means >= differences.mean() - 1e-12).mean(), (means <= differences.mean() + 1e-12).mean())
    found = mean_difference(first, second)
    assert found.p_value == pytest.approx(expected)
    assert found.difference == pytest.approx(differences.mean())
    slow = [differences[list(rows)].mean() for rows in itertools.product(range(5), repeat=5)]
    assert (found.low, found.high) == pytest.approx(tuple(np.quantile(slow, [0.025, 0.975])), abs=0.03)


def test_randomization_of_many_rows_agrees_with_the_t_test():
    from scipy.stats import ttest_rel

    generator = np.random.default_rng(2)
    second = generator.random(400)
    first = second + generator.normal(0.02, 0.2, 400)
    assert mean_difference(first, second).p_value == pytest.approx(ttest_rel(first, second).pvalue, abs=0.02)


def ranked_rows(rows, share, noise, decimals, seed):
    """Return scores of two systems that find the same rows hard, and which rows are positive."""
    generator = np.random.default_rng(seed)
    positive = generator.random(rows) < share
    hard = positive + generator.normal(0, 0.5, rows)
    return *(np.round(hard + generator.normal(0, of, rows), decimals) for of in noise), positive


def test_the_interval_of_an_average_precision_difference_draws_rows_in_pairs():
    first, second, positive = ranked_rows(150, 0.2, (0.1, 0.9), 1, seed=1)  # with ties
    found = average_precision_difference(first, second, positive)
    of_first, of_second = (average_precision_score(positive, scores) for scores in (first, second))
    assert found.difference == pytest.approx(of_first - of_second)
    generator = np.random.default_rng(2)
    slow = []
    for _ in range(200):
        rows = generator.integers(0, 150, 150)
        drawn = [average_precision_score(positive[rows], scores[rows]) for scores in (first, second)]
        slow.append(drawn[0] - drawn[1])
    assert (found.low, found.high) == pytest.approx(tuple(np.quantile(slow, [0.025, 0.975])), abs=0.04)
    assert (found.p_value, found.may_be_noise) == (None, False)


def test_average_precision_may_differ_although_the_intervals_overlap():
    first, second, positive = ranked_rows(300, 0.15, (0.05, 0.5), 3, seed=3)
    one, other = (average_precision_interval(scores, positive) for scores in (first, second))
    assert one.low < other.high
    assert not average_precision_difference(first, second, positive).may_be_noise
    swapped = average_precision_difference(second, first, positive)
    assert swapped.difference == -average_precision_difference(first, second, positive).difference


def test_average_precision_depends_only_on_the_order_of_scores():
    first, second, positive = ranked_rows(60, 0.3, (0.2, 0.4), 3, seed=4)
    found = average_precision_difference(first, second, positive)
    assert average_precision_difference(first * 1000, np.exp(second), positive) == found
    same = average_precision_difference(first, np.exp(first), positive)
    assert (same.difference, same.low, same.high, same.may_be_noise) == (0, 0, 0, True)


def test_three_positive_rows_are_too_few_for_a_difference():
    positive = np.arange(100) < 3
    found = average_precision_difference(-np.arange(100.0), np.arange(100.0), positive)
    assert found.difference > 0.9
    assert found.low == 0
    assert found.may_be_noise


def test_equal_systems_do_not_differ():
    same = np.array([0.2, 0.4])
    found = mean_difference(same, same)
    assert (found.difference, found.low, found.high, found.p_value) == (0, 0, 0, 1)
    assert found.may_be_noise
    assert accuracy_difference(same > 0.3, same > 0.3).p_value == 1


def test_differences_are_reproducible():
    first, second = np.linspace(0, 1, 50), np.linspace(0.1, 0.9, 50) ** 2
    assert mean_difference(first, second) == mean_difference(first, second)


def test_one_row_has_a_p_value_of_1():
    assert mean_difference(np.array([0.9]), np.array([0.1])).p_value == 1
    assert accuracy_difference(np.array([True]), np.array([False])).p_value == 1


def test_invalid_inputs_raise():
    with pytest.raises(ValueError, match=r"shapes \(2,\) and \(3,\)"):
        mean_difference(np.zeros(2), np.zeros(3))
    with pytest.raises(ValueError, match="at least one row"):
        accuracy_difference(np.zeros(0, dtype=bool), np.zeros(0, dtype=bool))
    with pytest.raises(ValueError, match=r"scores \(3,\) and positive rows \(2,\) have different shapes"):
        average_precision_difference(np.zeros(2), np.zeros(3), np.ones(2, dtype=bool))
    with pytest.raises(ValueError, match="no row is positive"):
        average_precision_difference(np.zeros(2), np.zeros(2), np.zeros(2, dtype=bool))

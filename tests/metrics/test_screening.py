import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from sklearn import metrics

from papertune.metrics.screening import (
    average_precision_interval,
    cost_threshold,
    f1_threshold,
    precision_recall,
    reading_steps,
    resampled_average_precision,
    work_saved,
)


@st.composite
def ranked_rows(draw):
    rows = draw(st.integers(1, 30))
    random = np.random.default_rng(draw(st.integers(0, 10_000)))
    positive = random.random(rows) < 0.4
    positive[random.integers(rows)] = True
    return random.integers(0, 12, size=rows) / 11, positive  # with ties


@settings(max_examples=60, deadline=None)
@given(ranked_rows())
def test_precision_and_recall_equal_scikit_learn(rows):
    scores, positive = rows
    curve = precision_recall(scores, positive)
    precision, recall, thresholds = metrics.precision_recall_curve(positive, scores)
    # In scikit-learn thresholds ascend, and the curve ends with a point without a threshold.
    assert curve.thresholds == pytest.approx(thresholds[::-1])
    assert curve.precision == pytest.approx(precision[-2::-1])
    assert curve.recall == pytest.approx(recall[-2::-1])
    assert curve.average_precision == pytest.approx(metrics.average_precision_score(positive, scores))


@settings(max_examples=60, deadline=None)
@given(ranked_rows(), st.sampled_from([(1, 1), (1, 10), (5, 1), (1, 0), (0, 1)]))
def test_no_other_threshold_is_better(rows, costs):
    scores, positive = rows
    chosen = {score: scores >= score for score in scores}
    f1 = {score: 2 * (each & positive).sum() / (each.sum() + positive.sum()) for score, each in chosen.items()}
    assert f1[f1_threshold(scores, positive)] == pytest.approx(max(f1.values()))
    false_positive, false_negative = costs

    def cost(threshold):
        chosen = scores >= threshold
        return false_positive * (chosen & ~positive).sum() + false_negative * (~chosen & positive).sum()

    found = cost_threshold(scores, positive, false_positive=false_positive, false_negative=false_negative)
    assert cost(found) == min(map(cost, [*scores, 2.0]))


def test_the_highest_of_equally_good_thresholds_is_chosen():
    scores, positive = np.array([0.9, 0.6, 0.3, 0.1]), np.array([True, False, True, False])
    assert f1_threshold(scores, positive) == 0.3
    # At 0.9 one row is missed, at 0.3 one is a false positive: the costs are equal.
    assert cost_threshold(scores, positive, false_positive=1, false_negative=1) == 0.9
    assert cost_threshold(scores, positive, false_positive=1, false_negative=5) == 0.3
    assert cost_threshold(scores[1:], positive[1:], false_positive=9, false_negative=1) == np.nextafter(0.6, 1)


def test_the_cost_threshold_of_many_calibrated_rows_is_the_one_of_elkan():
    random = np.random.default_rng(2)
    scores = random.random(50_000)
    found = cost_threshold(scores, random.random(50_000) < scores, false_positive=1, false_negative=4)
    assert found == pytest.approx(1 / 5, abs=0.03)


@settings(max_examples=60, deadline=None)
@given(ranked_rows(), st.sampled_from([0.5, 0.8, 0.95, 1.0]))
def test_work_saved_equals_a_count_row_by_row(rows, recall):
    scores, positive = rows
    saved = work_saved(scores, positive, recall)
    found = read = 0
    for score in sorted(set(scores), reverse=True):
        read += int((scores == score).sum())
        found += int(positive[scores == score].sum())
        if found / positive.sum() >= recall - 1e-9:
            break
    assert saved.recall == recall
    assert saved.read_share == read / len(scores)
    unread = len(scores) - read
    assert saved.wss == pytest.approx(unread / len(scores) - (1 - recall))


def test_work_saved_worked_out_by_hand():
    # 2 of 20 papers are relevant, the first and the fourth: 4 papers are read, 16 are not.
    scores = np.linspace(1, 0, 20)
    saved = work_saved(scores, np.isin(np.arange(20), [0, 3]))
    assert (saved.recall, saved.read_share, saved.wss) == (0.95, 0.2, pytest.approx(0.75))
    assert work_saved(np.zeros(20), np.arange(20) < 2).wss == pytest.approx(-0.05)  # all are read, and all is found


def test_the_interval_of_average_precision_equals_that_of_drawn_rows():
    random = np.random.default_rng(4)
    positive = random.random(150) < 0.2
    scores = np.round(random.random(150) + 0.4 * positive, 1)  # with ties
    found = average_precision_interval(scores, positive)
    drawn = random.integers(0, 150, size=(300, 150))
    slow = [metrics.average_precision_score(positive[rows], scores[rows]) for rows in drawn]
    low, high = np.quantile(slow, [0.025, 0.975])
    assert found.low == pytest.approx(low, abs=0.035)
    assert found.high == pytest.approx(high, abs=0.035)
    assert found.low < precision_recall(scores, positive).average_precision < found.high
    assert average_precision_interval(scores[:1], np.array([True])).low == 1


@settings(max_examples=60, deadline=None)
@given(ranked_rows())
def test_resampled_average_precision_equals_scikit_learn(rows):
    scores, positive = rows
    counts = np.random.default_rng(len(scores)).integers(0, 3, size=(3, len(scores)))
    found = resampled_average_precision(reading_steps(scores, positive), positive)(counts)
    for row, value in zip(counts, found, strict=True):
        drawn = np.repeat(np.arange(len(scores)), row)
        has_positive = bool(positive[drawn].any())
        slow = metrics.average_precision_score(positive[drawn], scores[drawn]) if has_positive else 0
        assert value == pytest.approx(slow)


def test_steps_end_with_positive_rows():
    scores = np.array([0.9, 0.8, 0.8, 0.7, 0.5, 0.4, 0.4, 0.1])
    positive = np.array([False, True, False, False, True, True, False, False])
    assert reading_steps(scores, positive).tolist() == [0, 0, 0, 1, 1, 2, 2, 3]


def test_invalid_inputs_raise():
    scores, positive = np.array([0.5, 0.2]), np.array([True, False])
    for function in (precision_recall, f1_threshold, work_saved, average_precision_interval, reading_steps):
        with pytest.raises(ValueError, match=r"scores \(2,\) and positive rows \(1,\) have different shapes"):
            function(scores, positive[:1])
        with pytest.raises(ValueError, match="no row is positive"):
            function(scores, ~positive & False)
        with pytest.raises(ValueError, match="a score is not a number"):
            function(np.array([np.nan, 1.0]), positive)
    with pytest.raises(ValueError, match="recall must be above 0 and at most 1, not 0"):
        work_saved(scores, positive, 0)

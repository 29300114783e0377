import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from papertune.kinds.label.decision import label_sets
from papertune.metrics.selective import conformal_threshold, risk_coverage, threshold_for_accuracy


@st.composite
def scored_rows(draw, labels=3):
    rows = draw(st.integers(1, 30))
    seed = draw(st.integers(0, 10_000))
    random = np.random.default_rng(seed)
    # Few different values, so that many rows have the same confidence.
    weights = random.integers(1, 4, size=(rows, labels)).astype(np.float64)
    return weights / weights.sum(axis=1, keepdims=True), random.integers(0, labels, size=rows)


@settings(max_examples=60, deadline=None)
@given(scored_rows())
def test_risk_and_coverage_equal_a_plain_loop(rows):
    probabilities, gold_ids = rows
    curve = risk_coverage(probabilities, gold_ids)
    confidences = sorted({row.max() for row in probabilities}, reverse=True)
    area = before = 0.0
    for number, threshold in enumerate(confidences):
        answered = [
            (row.argmax(), gold) for row, gold in zip(probabilities, gold_ids, strict=True) if row.max() >= threshold
        ]
        risk = sum(predicted != gold for predicted, gold in answered) / len(answered)
        assert curve.coverage[number] == len(answered) / len(gold_ids)
        assert curve.risk[number] == pytest.approx(risk)
        area += (curve.coverage[number] - before) * risk
        before = curve.coverage[number]
    assert len(curve.coverage) == len(confidences)
    assert curve.area == pytest.approx(area)


def test_area_is_the_mean_risk_if_all_confidences_differ():
    # Most confident first: right, right, wrong, right. Risks 0, 0, 1/3, 1/4.
    probabilities = np.array([[0.9, 0.1], [0.8, 0.2], [0.7, 0.3], [0.6, 0.4]])
    curve = risk_coverage(probabilities, np.array([0, 0, 1, 0]))
    assert curve.coverage == (0.25, 0.5, 0.75, 1.0)
    assert curve.area == pytest.approx((0 + 0 + 1 / 3 + 1 / 4) / 4)
    # The chosen label and its probability count.
    chosen = risk_coverage(probabilities, np.array([0, 0, 1, 0]), np.array([1, 1, 1, 1]))
    assert chosen.risk == (1, 1 / 2, 2 / 3, 3 / 4)


@settings(max_examples=60, deadline=None)
@given(scored_rows(), st.sampled_from([0.2, 0.5, 0.75, 0.9, 1.0]))
def test_the_threshold_answers_the_most_rows_at_the_accuracy(rows, accuracy):
    probabilities, gold_ids = rows
    confidence, right = probabilities.max(axis=1), probabilities.argmax(axis=1) == gold_ids
    reached = [
        threshold
        for threshold in sorted(set(confidence))
        if right[confidence >= threshold].sum() >= accuracy * sum(confidence >= threshold)
    ]
    assert threshold_for_accuracy(probabilities, gold_ids, accuracy) == (reached[0] if reached else None)


def test_the_threshold_uses_the_probability_of_the_chosen_label():
    probabilities = np.array([[0.9, 0.1], [0.4, 0.6], [0.3, 0.7]])
    assert threshold_for_accuracy(probabilities, np.array([0, 0, 0]), 1.0) == 0.9
    assert threshold_for_accuracy(probabilities, np.array([0, 0, 1]), 1.0, np.array([0, 0, 1])) == 0.4


@settings(max_examples=60, deadline=None)
@given(scored_rows(), st.sampled_from([0.1, 0.5, 0.8, 0.9, 0.95]))
def test_the_conformal_threshold_is_the_quantile_of_the_scores(rows, coverage):
    probabilities, gold_ids = rows
    scores = sorted(1 - row[gold] for row, gold in zip(probabilities, gold_ids, strict=True))
    number = int(np.ceil(round((len(scores) + 1) * coverage, 9)))
    threshold = conformal_threshold(probabilities, gold_ids, coverage)
    if number > len(scores):
        assert threshold == 0
        assert label_sets(probabilities, threshold).all()
    else:
        assert threshold == pytest.approx(1 - scores[number - 1])
        hit = label_sets(probabilities, threshold)[np.arange(len(gold_ids)), gold_ids]
        assert hit.sum() >= number


def test_label_sets_of_new_rows_have_the_chosen_coverage_even_with_bad_probabilities():
    random = np.random.default_rng(5)
    gold_ids = random.integers(0, 4, size=(300, 60))
    probabilities = random.dirichlet([1, 1, 1, 1], size=(300, 60))
    probabilities[gold_ids == 0, 0] /= 20  # a model that is often confident and wrong
    probabilities /= probabilities.sum(axis=2, keepdims=True)
    covered, at_threshold = [], []
    for gold, shares in zip(gold_ids, probabilities, strict=True):
        threshold = conformal_threshold(shares[:30], gold[:30], 0.8)
        sets = label_sets(shares[30:], threshold)
        covered.append(sets[np.arange(30), gold[30:]].mean())
        at_threshold.append((shares[np.arange(30, 60), gold[30:]] >= threshold).mean())
    assert np.mean(at_threshold) == pytest.approx(25 / 31, abs=0.02)  # the next row ranks among the first 25 of 31
    assert np.mean(covered) >= np.mean(at_threshold)


@pytest.mark.parametrize(("rows", "coverage", "enough"), [(19, 0.95, True), (18, 0.95, False), (99, 0.99, True)])
def test_the_minimum_number_of_rows_for_a_coverage(rows, coverage, enough):
    probabilities = np.tile([0.6, 0.4], (rows, 1))
    assert (conformal_threshold(probabilities, np.zeros(rows, dtype=np.int64), coverage) > 0) is enough


def test_no_label_set_is_empty():
    sets = label_sets(np.array([[0.5, 0.3, 0.2], [0.8, 0.1, 0.1]]), 0.7)
    assert sets.tolist() == [[True, False, False], [True, False, False]]
    assert label_sets(np.array([[0.5, 0.3, 0.2]]), 0.3).tolist() == [[True, True, False]]


def test_invalid_inputs_raise():
    probabilities, gold_ids = np.ones((2, 2)) / 2, np.array([0, 1])
    with pytest.raises(ValueError, match="coverage must be above 0 and below 1, not 1"):
        conformal_threshold(probabilities, gold_ids, 1.0)
    for function in (risk_coverage, lambda p, t: threshold_for_accuracy(p, t, 0.9)):
        with pytest.raises(ValueError, match=r"probabilities \(2, 2\) and gold labels \(1,\) have different shapes"):
            function(probabilities, gold_ids[:1])

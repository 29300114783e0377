import math

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from hypothesis.extra.numpy import arrays
from sklearn import metrics
from sklearn.isotonic import IsotonicRegression

from papertune.metrics.calibration import fit_isotonic, fit_temperature, score_calibration


def drawn_rows(rows, labels, temperature, seed=0):
    """Return probabilities sharpened by the temperature, and labels drawn from the calibrated ones."""
    random = np.random.default_rng(seed)
    calibrated = random.dirichlet(np.full(labels, 0.7), size=rows)
    gold_ids = (calibrated.cumsum(axis=1) < random.random((rows, 1))).sum(axis=1)
    sharp = calibrated**temperature
    return sharp / sharp.sum(axis=1, keepdims=True), gold_ids


@pytest.mark.parametrize("labels", [2, 5])
@pytest.mark.parametrize("temperature", [0.5, 1.0, 3.0])
def test_fit_temperature_recovers_the_temperature_of_drawn_rows(labels, temperature):
    probabilities, gold_ids = drawn_rows(20_000, labels, temperature)
    found = fit_temperature(probabilities, gold_ids)
    assert found.temperature == pytest.approx(temperature, rel=0.05)
    before, after = (score_calibration(each, gold_ids) for each in (probabilities, found.apply(probabilities)))
    if temperature != 1:
        assert after.ece < before.ece / 3
        assert after.log_loss < before.log_loss


@settings(max_examples=25, deadline=None)
@given(st.integers(1, 40), st.integers(2, 4), st.integers(0, 1000), st.sampled_from([0.3, 1.0, 2.0]))
def test_no_temperature_on_a_fine_grid_has_a_lower_loss(rows, labels, seed, temperature):
    probabilities, gold_ids = drawn_rows(rows, labels, temperature, seed)

    def loss(temperature):
        total = min(math.log(temperature), 0) ** 2 / 2
        for row, gold_id in zip(probabilities, gold_ids, strict=True):
            powers = [max(p, 2.220446049250313e-16) ** (1 / temperature) for p in row]
            total -= math.log(powers[gold_id] / math.fsum(powers))
        return total

    found = fit_temperature(probabilities, gold_ids).temperature
    best = min(map(loss, np.exp(np.linspace(-3, 3, 121))))
    assert loss(found) <= best + 1e-9


def test_few_rows_without_an_error_do_not_give_probabilities_of_1():
    # Without the prior, the best temperature of these rows would be 0.
    probabilities = np.tile([0.9, 0.1], (50, 1))
    calibrated = fit_temperature(probabilities, np.zeros(50, dtype=np.int64)).apply(probabilities)
    assert 0.98 < calibrated[0, 0] < 0.999


def test_a_gold_label_of_probability_0_has_a_finite_temperature():
    probabilities = np.tile([1.0, 0.0], (10, 1))
    calibrated = fit_temperature(probabilities, np.array([0] * 8 + [1] * 2)).apply(probabilities)
    assert calibrated[0] == pytest.approx([0.8, 0.2], abs=0.03)


def test_isotonic_equals_scikit_learn_within_the_bounds_of_laplace():
    random = np.random.default_rng(1)
    first = np.round(random.random(200), 2)  # with ties
    positive = random.random(200) < first**2
    probabilities = np.stack([first, 1 - first], axis=1)
    calibrator = fit_isotonic(probabilities, np.where(positive, 0, 1))
    slow = IsotonicRegression(out_of_bounds="clip").fit(first, positive)
    new = np.linspace(0, 1, 41)
    wanted = np.clip(slow.predict(new), 1 / 202, 201 / 202)
    # Between scores, a line to a clipped value differs from a clipped line, so only the scores are compared.
    at_scores = np.isin(new, first)
    calibrated = calibrator.apply(np.stack([new, 1 - new], axis=1))
    assert calibrated[at_scores, 0] == pytest.approx(wanted[at_scores])
    assert calibrated.sum(axis=1) == pytest.approx(np.ones(41))
    assert (np.diff(calibrated[:, 0]) >= 0).all()
    assert calibrated.min() >= 1 / 202 - 1e-12


def test_isotonic_corrects_a_shift_that_a_temperature_cannot():
    # The first label is right in one row in ten at 0.5, as with class weights; no temperature changes 0.5.
    probabilities = np.tile([[0.5, 0.5], [0.05, 0.95]], (500, 1))
    gold_ids = np.array([0 if row % 20 == 0 else 1 for row in range(1000)])
    calibrated = {
        fit.__name__: fit(probabilities, gold_ids).apply(probabilities) for fit in (fit_temperature, fit_isotonic)
    }
    assert calibrated["fit_temperature"][0, 0] == pytest.approx(0.5)
    assert calibrated["fit_isotonic"][0, 0] == pytest.approx(0.1)


@settings(max_examples=40, deadline=None)
@given(st.data(), st.integers(1, 60), st.integers(2, 4), st.integers(1, 12))
def test_scores_equal_a_plain_loop(data, rows, labels, bins):
    weights = data.draw(arrays(np.float64, (rows, labels), elements=st.sampled_from([0.0, 0.1, 0.5, 1.0])))
    probabilities = (weights + 1e-3) / (weights + 1e-3).sum(axis=1, keepdims=True)
    gold_ids = data.draw(arrays(np.int64, rows, elements=st.integers(0, labels - 1)))
    scores = score_calibration(probabilities, gold_ids, bins)
    members = {}
    for row in range(rows):
        below = sum(max(other) < max(probabilities[row]) for other in probabilities)
        members.setdefault(below * bins // rows, []).append(row)
    assert len(scores.bins) == len(members) <= bins
    ece = 0.0
    for number, found in zip(sorted(members), scores.bins, strict=True):
        confidence = sum(max(probabilities[row]) for row in members[number]) / len(members[number])
        right = sum(list(probabilities[row]).index(max(probabilities[row])) == gold_ids[row] for row in members[number])
        assert found.rows == len(members[number])
        assert found.confidence == pytest.approx(confidence)
        assert found.accuracy == right / found.rows
        assert found.low - 1e-12 <= found.accuracy <= found.high + 1e-12
        ece += found.rows / rows * abs(found.accuracy - confidence)
    assert scores.ece == pytest.approx(ece)
    assert scores.brier == pytest.approx(
        metrics.brier_score_loss(gold_ids, probabilities, labels=range(labels), scale_by_half=False)
    )
    assert scores.log_loss == pytest.approx(metrics.log_loss(gold_ids, probabilities, labels=range(labels)))


def test_calibration_error_by_chance_is_that_of_gold_labels_drawn_from_the_probabilities():
    confidence = np.linspace(0.55, 0.95, 8)
    probabilities = np.column_stack([confidence, 1 - confidence])
    # One row a bin: its error is 1 - p with probability p, and p otherwise.
    alone = score_calibration(probabilities, np.zeros(8, np.int64), bins=8).ece_by_chance
    assert alone == pytest.approx((2 * confidence * (1 - confidence)).mean(), rel=0.05)
    probabilities, gold_ids = drawn_rows(1000, 3, 1.0)
    scores = score_calibration(probabilities, gold_ids)
    assert scores.ece_by_chance == pytest.approx(scores.ece, rel=0.5)
    few = score_calibration(probabilities[:50], gold_ids[:50])
    assert few.ece_by_chance > 3 * scores.ece_by_chance


def test_bins_have_equal_size_and_do_not_depend_on_row_order():
    probabilities, gold_ids = drawn_rows(1000, 3, 2.0)
    scores = score_calibration(probabilities, gold_ids)
    assert [each.rows for each in scores.bins] == [100] * 10
    assert [each.confidence for each in scores.bins] == sorted(each.confidence for each in scores.bins)
    same = np.tile([0.8, 0.2], (30, 1))
    gold = np.array([0] * 20 + [1] * 10)
    (only,) = score_calibration(same, gold).bins
    assert (only.rows, only.accuracy) == (30, 2 / 3)
    assert score_calibration(same, gold[::-1]).ece == pytest.approx(0.8 - 2 / 3)


@pytest.mark.parametrize(
    ("probabilities", "gold_ids", "message"),
    [
        (
            np.ones((2, 2)) / 2,
            np.zeros(3, dtype=np.int64),
            r"probabilities \(2, 2\) and gold labels \(3,\) have different shapes",
        ),
        (np.ones((0, 2)), np.zeros(0, dtype=np.int64), "no rows to score"),
        (np.full((1, 2), np.nan), np.zeros(1, dtype=np.int64), "probabilities must be between 0 and 1"),
        (np.array([[2.0, -1.0]]), np.zeros(1, dtype=np.int64), "probabilities must be between 0 and 1"),
        (np.ones((1, 2)) / 2, np.array([2]), "gold labels must be columns of the probabilities, 0 to 1"),
    ],
)
def test_invalid_rows_raise(probabilities, gold_ids, message):
    for function in (score_calibration, fit_temperature, fit_isotonic):
        with pytest.raises(ValueError, match=message):
            function(probabilities, gold_ids)


def test_isotonic_regression_with_three_labels_and_zero_bins_raise():
    with pytest.raises(ValueError, match="isotonic regression needs two labels, not 3"):
        fit_isotonic(np.ones((1, 3)) / 3, np.array([0]))
    with pytest.raises(ValueError, match="at least one bin is needed, not 0"):
        score_calibration(np.ones((1, 3)) / 3, np.array([0]), bins=0)

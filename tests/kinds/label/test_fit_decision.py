import numpy as np
import pytest

from papertune.kinds import LabelColumn
from papertune.kinds.label.calibrators import Temperature
from papertune.kinds.label.fit import fit_decision, shortage, threshold_shortage
from papertune.kinds.label.record import Calibration
from papertune.metrics.calibration import fit_isotonic, fit_temperature
from papertune.metrics.screening import cost_threshold, f1_threshold
from papertune.metrics.selective import conformal_threshold, threshold_for_accuracy


def column(labels=("yes", "no"), **keys):
    return LabelColumn(kind="label", question="Include it?", labels=tuple(labels), **keys)


@pytest.fixture
def rows():
    random = np.random.default_rng(3)
    first = random.beta(0.5, 1.0, size=60)
    return np.stack([first, 1 - first], axis=1), np.where(random.random(60) < first**1.5, 0, 1)


def test_everything_that_the_column_asks_for_is_fitted(rows):
    probabilities, gold_ids = rows
    asked = column(threshold="f1", abstain_for_accuracy=0.9, coverage=0.8)
    found = fit_decision(asked, probabilities, gold_ids)
    calibrator = fit_temperature(probabilities, gold_ids)
    calibrated = calibrator.apply(probabilities)
    threshold = f1_threshold(calibrated[:, 0], gold_ids == 0)
    chosen = np.where(calibrated[:, 0] >= threshold, 0, 1)
    assert found == Calibration(
        rows=60,
        calibrator=calibrator.as_dict(),
        threshold=threshold,
        abstain_below=threshold_for_accuracy(calibrated, gold_ids, 0.9, chosen),
        set_threshold=conformal_threshold(probabilities, gold_ids, 0.8),
    )
    assert found.abstain_below is not None


def test_only_what_the_column_asks_for_is_fitted(rows):
    probabilities, gold_ids = rows
    assert fit_decision(column(calibration="none"), probabilities, gold_ids) == Calibration(60)
    isotonic = fit_decision(column(calibration="isotonic"), probabilities, gold_ids)
    assert isotonic == Calibration(60, fit_isotonic(probabilities, gold_ids).as_dict())


def test_rows_that_fitted_the_weights_of_a_join_fit_no_temperature(rows):
    probabilities, gold_ids = rows
    found = fit_decision(column(threshold="f1"), probabilities, gold_ids, is_scaled=True)
    assert found.calibrator == {"kind": "temperature", "temperature": 1.0}
    assert found.threshold == f1_threshold(Temperature(1.0).apply(probabilities)[:, 0], gold_ids == 0)
    isotonic = column(calibration="isotonic")
    assert fit_decision(isotonic, probabilities, gold_ids, is_scaled=True) == fit_decision(
        isotonic, probabilities, gold_ids
    )


def test_a_threshold_by_costs_is_chosen_among_calibrated_probabilities(rows):
    probabilities, gold_ids = rows
    costs = {"false_positive": 1, "false_negative": 8}
    found = fit_decision(column(threshold=costs), probabilities, gold_ids)
    calibrated = fit_temperature(probabilities, gold_ids).apply(probabilities)
    assert found.threshold == cost_threshold(calibrated[:, 0], gold_ids == 0, **costs)
    plain = fit_decision(column(threshold=costs, calibration="none"), probabilities, gold_ids)
    assert plain.threshold == cost_threshold(probabilities[:, 0], gold_ids == 0, **costs)


def test_abstention_uses_the_label_that_the_threshold_chooses(rows):
    probabilities, gold_ids = rows
    asked = column(threshold=0.05, abstain_for_accuracy=0.7, calibration="none")
    chosen = np.where(probabilities[:, 0] >= 0.05, 0, 1)
    found = fit_decision(asked, probabilities, gold_ids).abstain_below
    assert found == threshold_for_accuracy(probabilities, gold_ids, 0.7, chosen)
    assert found != threshold_for_accuracy(probabilities, gold_ids, 0.7)


def test_an_accuracy_that_cannot_be_reached_gives_no_threshold():
    probabilities = np.tile([0.9, 0.1], (40, 1))
    found = fit_decision(column(abstain_for_accuracy=0.9), probabilities, np.arange(40) % 2)
    assert (found.rows, found.abstain_below) == (40, None)


def test_three_labels_one_of_them_without_rows():
    random = np.random.default_rng(4)
    probabilities = random.dirichlet([1, 1, 1], size=40)
    found = fit_decision(column("abc", coverage=0.9), probabilities, random.integers(0, 2, size=40))
    assert found.calibrator is not None
    assert found.set_threshold is not None


@pytest.mark.parametrize(
    ("labels", "why"),
    [
        ([], "0 rows are in its calibration set, and at least 30 are needed"),
        (["a"], "1 row is in its calibration set, and at least 30 are needed"),
        (["a", "b"] * 14, "28 rows are in its calibration set, and at least 30 are needed"),
        (["a"] * 30, 'all 30 rows of its calibration set have the label "a"'),
        (["a", "b"] * 15, ""),
    ],
)
def test_nothing_is_fitted_on_too_few_rows_or_one_label(labels, why):
    assert shortage(labels) == why
    rows = len(labels)
    asked = column("ab", coverage=0.9, threshold="f1", abstain_for_accuracy=0.5)
    found = fit_decision(asked, np.tile([0.6, 0.4], (rows, 1)), np.array(["ab".index(label) for label in labels], int))
    assert (found == Calibration(rows)) is bool(why)


@pytest.mark.parametrize("threshold", ["f1", {"false_positive": 1, "false_negative": 100}])
@pytest.mark.parametrize(
    ("positive", "why"),
    [
        (1, '1 row has the label "yes" there, and at least 5 of each label are needed'),
        (4, '4 rows have the label "yes" there, and at least 5 of each label are needed'),
        (5, ""),
        (55, ""),
        (56, '4 rows have the label "no" there, and at least 5 of each label are needed'),
    ],
)
def test_a_threshold_needs_rows_of_each_label(rows, threshold, positive, why):
    probabilities, _ = rows
    gold_ids = np.repeat([0, 1], [positive, 60 - positive])
    asked = column(threshold=threshold)
    assert threshold_shortage(asked, [asked.labels[n] for n in gold_ids]) == why
    found = fit_decision(asked, probabilities, gold_ids)
    assert (found.threshold is None) is bool(why)
    assert found.calibrator is not None
    assert threshold_shortage(column(threshold=0.3), ["yes"]) == ""

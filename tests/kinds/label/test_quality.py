from dataclasses import replace

import numpy as np
import polars as pl
import pytest

from papertune.evaluation.report import Abstention, ColumnReport, LabelSets
from papertune.kinds.label.calibrators import Temperature
from papertune.kinds.label.decision import Decision
from papertune.kinds.label.quality import is_for_screening, with_label_quality
from papertune.kinds.label.record import Calibration
from papertune.kinds.predictions import Predictions
from papertune.metrics.calibration import score_calibration
from papertune.metrics.screening import precision_recall, work_saved
from papertune.metrics.selective import risk_coverage
from papertune.prompts.examples import RowReader
from papertune.recipe import load_recipe
from papertune.tables import Table

# The last row has no gold label.
GOLD = ["yes", "no", "no", "yes", ""]
RAW = np.array([[0.9, 0.1], [0.8, 0.2], [0.3, 0.7], [0.2, 0.8], [0.5, 0.5]])
GOLD_IDS = np.array([0, 1, 1, 0])
FOUND = Calibration(90, {"kind": "temperature", "temperature": 2.0}, None, 0.65, 0.3)
DECISION = Decision(Temperature(2.0), None, 0.65, 0.3)


def recipe_of(labels=("yes", "no"), **keys):
    column = {"kind": "label", "question": "Include it?", "labels": list(labels), **keys}
    return load_recipe({"table": {"document": "{title}"}, "columns": {"label": column}})


@pytest.fixture
def report_of():
    """Return a function that reports on the rows above."""

    def report_of(decision=DECISION, record=FOUND, raw=RAW, predictions=None, labels=("yes", "no"), **keys):
        recipe = recipe_of(labels, **keys)
        column = recipe.columns["label"]
        gold = RowReader(Table(pl.DataFrame({"title": ["x"] * 5, "label": GOLD}), "papers.csv"), recipe)
        predicted = predictions or column.predictions(RAW, decision)
        predicted = replace(predicted, raw=None if raw is None else raw.tolist())
        report = ColumnReport("label", "label", "Include it?", [], facts={"seen": "before"})
        return with_label_quality(report, column, predicted, gold, decision, record)

    return report_of


def test_scores_before_and_after_calibration(report_of):
    report = report_of()
    calibrated = Temperature(2.0).apply(RAW[:4])
    assert report.calibration == score_calibration(calibrated, GOLD_IDS)
    assert report.calibration_before == score_calibration(RAW[:4], GOLD_IDS)
    assert report.risk_coverage == risk_coverage(calibrated, GOLD_IDS)
    assert report.facts == {
        "seen": "before",
        "fitted": "temperature 2.00; labels from 0.3 in sets; on 90 rows",
    }
    assert report.label_sets is None  # the recipe does not ask for them
    assert report_of(replace(DECISION, abstain_below=0.0)).abstention is None


def test_accuracy_of_the_rows_where_the_run_does_not_abstain(report_of):
    # The calibrated confidences are 0.75, 0.67, 0.60, 0.67; the run abstains in the third row, one of three is right.
    report = report_of(abstain_for_accuracy=0.9)
    assert report.abstention == Abstention(0.9, 0.65, 3 / 4, pytest.approx(1 / 3))
    assert "accuracy 0.9 from 0.650" in report.facts["fitted"]
    never = report_of(Decision(Temperature(2.0), abstain_below=1.0), abstain_for_accuracy=0.9)
    assert never.abstention == Abstention(0.9, 1.0, 0.0, None)
    by_hand = report_of(Decision(abstain_below=0.75), None)
    assert by_hand.abstention == Abstention(None, 0.75, 3 / 4, pytest.approx(1 / 3))


@pytest.mark.parametrize(
    ("record", "why"),
    [
        (None, "there was no calibration set for it"),
        (Calibration(3), "3 rows are in its calibration set, and at least 30 are needed"),
        (Calibration(90), "the 90 rows of its calibration set gave none"),
    ],
)
def test_settings_that_could_not_be_fitted_are_reported(report_of, record, why):
    report = report_of(Decision(), record, abstain_for_accuracy=0.9, coverage=0.8)
    assert report.abstention == Abstention(0.9, None, 1.0, 2 / 4, f"no probability was chosen, since {why}")
    # Sets of all labels always have the gold label, so their coverage means nothing.
    assert (report.label_sets, report.facts["label sets"]) == (None, f"not fitted, since {why}")
    given = report_of(Decision(abstain_below=0.75), record, abstain_for_accuracy=0.9).abstention
    assert (given.threshold, given.answered) == (0.75, 3 / 4)
    assert given.not_chosen.endswith(why)


def test_abstention_of_predictions_without_an_empty_cell(report_of):
    predictions = recipe_of().columns["label"].predictions(RAW, DECISION)
    assert all(predictions.cells)
    assert predictions.abstained == [False, False, True, False, True]
    found = report_of(predictions=predictions, abstain_for_accuracy=0.9).abstention
    assert found == report_of(abstain_for_accuracy=0.9).abstention
    # Empty cells that are not marked count as abstained too.
    empty = [
        "" if abstained else cell for cell, abstained in zip(predictions.cells, predictions.abstained, strict=True)
    ]
    unmarked = replace(predictions, cells=empty, abstained=None)
    assert report_of(predictions=unmarked, abstain_for_accuracy=0.9).abstention == found


def test_rounded_probabilities_do_not_change_a_prediction(report_of):
    # As after isotonic regression: three rows have the same probability, which is the threshold too.
    plateau, rounded = 0.6666672, [0.666667, 0.333333]
    decision, record = Decision(threshold=plateau, abstain_below=plateau), Calibration(90, abstain_below=plateau)
    predictions = Predictions(["", "yes", "yes", "yes", ""], [[], rounded, rounded, rounded, []])
    report = report_of(decision, record, None, predictions, abstain_for_accuracy=0.9)
    assert report.abstention == Abstention(0.9, plateau, 1.0, pytest.approx(1 / 3))
    assert report.risk_coverage.risk[-1] == pytest.approx(2 / 3)


def test_coverage_of_label_sets(report_of):
    # The sets from 0.3 on, before calibration: {yes}, {yes}, {yes, no}, {no}.
    assert report_of(coverage=0.8).label_sets == LabelSets(wanted=0.8, covered=2 / 4, mean_size=5 / 4, single=3 / 4)


def test_screening_ranks_by_the_uncalibrated_probability(report_of):
    report = report_of()
    scores, positive = RAW[:4, 0], GOLD_IDS == 0
    assert report.positive == "yes"
    assert report.precision_recall == precision_recall(scores, positive)
    assert report.work_saved == work_saved(scores, positive)


@pytest.mark.parametrize(
    ("share", "keys", "is_screening"),
    [
        (0.19, {}, True),
        (0.2, {}, False),
        (0.45, {"weights": "balanced"}, True),
        (0.45, {"weights": {"yes": 2.0, "no": 1.0}}, True),
        (0.55, {"weights": "balanced"}, False),  # the other label has the larger weight
        (0.55, {"threshold": "f1"}, True),
        (0.55, {"threshold": 0.3}, True),
        (0.55, {"threshold": {"false_positive": 1.0, "false_negative": 5.0}}, True),
        (0.0, {"weights": "balanced"}, False),
        (1.0, {"threshold": "f1"}, False),
        (0.1, {"labels": ("yes", "no", "perhaps")}, False),
    ],
)
def test_a_column_is_for_screening_if_its_first_label_is_looked_for(share, keys, is_screening):
    assert is_for_screening(recipe_of(**keys).columns["label"], share) is is_screening


def test_the_report_of_a_screening_column(report_of):
    assert not report_of().is_screening  # half of the rows have the first label
    assert report_of(threshold="f1").is_screening
    assert not report_of(
        predictions=Predictions(["yes"] * 5), threshold="f1"
    ).is_screening  # no probabilities to rank by


def test_the_report_of_a_run_without_calibration(report_of):
    report = report_of(Decision(), None)
    assert report.facts["fitted"] == "uncalibrated probabilities"
    assert report.calibration == score_calibration(RAW[:4], GOLD_IDS)
    assert report.calibration_before is None


def test_the_report_of_a_file_with_calibrated_probabilities_only(report_of):
    calibrated = np.round(Temperature(2.0).apply(RAW), 6).tolist()
    report = report_of(raw=None, predictions=Predictions(["yes", "yes", "no", "no", ""], calibrated), coverage=0.8)
    assert report.calibration == score_calibration(np.array(calibrated[:4]), GOLD_IDS)
    assert (report.calibration_before, report.label_sets) == (None, None)
    assert report.work_saved == report_of().work_saved


def test_nothing_is_reported_without_probabilities_or_gold_labels(report_of):
    report = report_of(predictions=Predictions(["yes"] * 5))
    assert (report.calibration, report.facts) == (None, {"seen": "before"})
    assert report_of(predictions=Predictions(["yes"] * 5, [[], [], [], [], [0.9, 0.1]])).calibration is None


def test_screening_is_not_reported_without_rows_of_the_first_label(report_of):
    probabilities = np.array([*RAW[1:3].tolist()])
    report = report_of(predictions=Predictions(["", "yes", "no", "", ""], [[], *probabilities.tolist(), [], []]))
    assert report.calibration is not None
    assert (report.precision_recall, report.work_saved, report.positive) == (None, None, "")

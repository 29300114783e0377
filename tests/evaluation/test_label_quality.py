from dataclasses import replace

import numpy as np
import polars as pl
import pytest

from papertune.evaluation.predictions import Answers, answers_of_values, mark_withheld
from papertune.evaluation.report import Abstention, ColumnReport, LabelSets
from papertune.kinds.label.calibrators import Temperature
from papertune.kinds.label.decision import Decision
from papertune.kinds.label.quality import is_for_screening, with_label_quality
from papertune.kinds.label.record import Calibration
from papertune.metrics.calibration import score_calibration
from papertune.metrics.screening import precision_recall, work_saved
from papertune.metrics.selective import risk_coverage
from papertune.prompts.examples import RowReader
from papertune.recipe import load_recipe
from papertune.tables import Table

# Of the last row the table does not know the label.
TRUE = ["yes", "no", "no", "yes", ""]
RAW = np.array([[0.9, 0.1], [0.8, 0.2], [0.3, 0.7], [0.2, 0.8], [0.5, 0.5]])
TRUE_IDS = np.array([0, 1, 1, 0])
FOUND = Calibration(90, {"kind": "temperature", "temperature": 2.0}, None, 0.65, 0.3)
DECISION = Decision(Temperature(2.0), None, 0.65, 0.3)


def recipe_of(labels=("yes", "no"), **keys):
    column = {"kind": "label", "question": "Include it?", "labels": list(labels), **keys}
    return load_recipe({"table": {"document": "{title}"}, "columns": {"label": column}})


@pytest.fixture
def told():
    """Give a function that reports on the rows above."""

    def told(decision=DECISION, found=FOUND, raw=RAW, answers=None, labels=("yes", "no"), **keys):
        recipe = recipe_of(labels, **keys)
        truth = RowReader(Table(pl.DataFrame({"title": ["x"] * 5, "label": TRUE}), "papers.csv"), recipe)
        said = answers or answers_of_values({"label": RAW}, recipe, {"label": decision})["label"]
        said = replace(said, raw=None if raw is None else raw.tolist())
        report = ColumnReport("label", "label", "Include it?", [], facts={"seen": "before"})
        return with_label_quality(report, recipe, said, truth, decision, found)

    return told


def test_before_and_after_calibration(told):
    report = told()
    calibrated = Temperature(2.0).apply(RAW[:4])
    assert report.calibration == score_calibration(calibrated, TRUE_IDS)
    assert report.calibration_before == score_calibration(RAW[:4], TRUE_IDS)
    assert report.risk_coverage == risk_coverage(calibrated, TRUE_IDS)
    assert report.facts == {
        "seen": "before",
        "fitted": "temperature 2.00; labels from 0.3 on in sets; on 90 dev rows",
    }
    assert report.label_sets is None  # the recipe does not ask for them
    assert told(replace(DECISION, abstain_below=0.0)).abstention is None


def test_what_abstaining_achieves(told):
    # Calibrated the surest labels have 0.75, 0.67, 0.60, 0.67; the third row gets no answer, one of three is right.
    report = told(abstain_for_accuracy=0.9)
    assert report.abstention == Abstention(0.9, 0.65, 3 / 4, pytest.approx(1 / 3))
    assert "accuracy 0.9 from 0.650 on" in report.facts["fitted"]
    never = told(Decision(Temperature(2.0), abstain_below=1.0), abstain_for_accuracy=0.9)
    assert never.abstention == Abstention(0.9, 1.0, 0.0, None)
    by_hand = told(Decision(abstain_below=0.75), None)
    assert by_hand.abstention == Abstention(None, 0.75, 3 / 4, pytest.approx(1 / 3))


@pytest.mark.parametrize(
    ("found", "why"),
    [
        (None, "no dev rows were kept apart for it"),
        (Calibration(3), "3 dev rows are kept apart for it, and at least 30 are needed"),
        (Calibration(90), "the 90 dev rows that were kept apart for it gave none"),
    ],
)
def test_what_dev_rows_have_not_given_is_told(told, found, why):
    report = told(Decision(), found, abstain_for_accuracy=0.9, coverage=0.8)
    assert report.abstention == Abstention(0.9, None, 1.0, 2 / 4, f"no probability was chosen, since {why}")
    # Sets with all labels hold the true one always, which says nothing.
    assert (report.label_sets, report.facts["label sets"]) == (None, f"not fitted, since {why}")
    given = told(Decision(abstain_below=0.75), found, abstain_for_accuracy=0.9).abstention
    assert (given.threshold, given.answered) == (0.75, 3 / 4)
    assert given.not_chosen.endswith(why)


def test_what_abstaining_achieves_where_every_cell_has_an_answer(told):
    given = answers_of_values({"label": RAW}, recipe_of(), {"label": replace(DECISION, abstain_below=0.0)})["label"]
    assert all(given.cells)
    given = mark_withheld(given, DECISION)
    assert given.withheld == [False, False, True, False, True]
    assert told(answers=given, abstain_for_accuracy=0.9).abstention == told(abstain_for_accuracy=0.9).abstention


def test_rounding_turns_no_answer(told):
    # As after isotonic regression: three rows with one probability, and the thresholds are that probability.
    plateau, rounded = 0.6666672, [0.666667, 0.333333]
    decision, found = Decision(threshold=plateau, abstain_below=plateau), Calibration(90, abstain_below=plateau)
    said = Answers(["", "yes", "yes", "yes", ""], [[], rounded, rounded, rounded, []])
    report = told(decision, found, None, said, abstain_for_accuracy=0.9)
    assert report.abstention == Abstention(0.9, plateau, 1.0, pytest.approx(1 / 3))
    assert report.risk_coverage.risk[-1] == pytest.approx(2 / 3)


def test_what_sets_cover(told):
    # From 0.3 on, before calibration: {yes}, {yes}, {yes, no}, {no}.
    assert told(coverage=0.8).label_sets == LabelSets(wanted=0.8, covered=2 / 4, mean_size=5 / 4, single=3 / 4)


def test_screening_is_by_the_models_own_probability(told):
    report = told()
    scores, positive = RAW[:4, 0], TRUE_IDS == 0
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
        (0.55, {"weights": "balanced"}, False),  # then the other label is the one that counts more
        (0.55, {"threshold": "f1"}, True),
        (0.55, {"threshold": 0.3}, True),
        (0.55, {"threshold": {"false_positive": 1.0, "false_negative": 5.0}}, True),
        (0.0, {"weights": "balanced"}, False),
        (1.0, {"threshold": "f1"}, False),
        (0.1, {"labels": ("yes", "no", "perhaps")}, False),
    ],
)
def test_screening_is_where_the_first_label_is_looked_for(share, keys, is_screening):
    assert is_for_screening(recipe_of(**keys).columns["label"], share) is is_screening


def test_a_report_knows_what_is_for_screening(told):
    assert not told().is_screening  # half of the rows have the first label
    assert told(threshold="f1").is_screening
    assert not told(answers=Answers(["yes"] * 5), threshold="f1").is_screening  # nothing is ranked


def test_a_run_without_dev_rows_says_so(told):
    report = told(Decision(), None)
    assert report.facts["fitted"] == "probabilities as the model gives them"
    assert report.calibration == score_calibration(RAW[:4], TRUE_IDS)
    assert report.calibration_before is None


def test_a_file_has_calibrated_probabilities_only(told):
    calibrated = np.round(Temperature(2.0).apply(RAW), 6).tolist()
    report = told(raw=None, answers=Answers(["yes", "yes", "no", "no", ""], calibrated), coverage=0.8)
    assert report.calibration == score_calibration(np.array(calibrated[:4]), TRUE_IDS)
    assert (report.calibration_before, report.label_sets) == (None, None)
    assert report.work_saved == told().work_saved


def test_nothing_is_said_without_probabilities_or_truth(told):
    report = told(answers=Answers(["yes"] * 5))
    assert (report.calibration, report.facts) == (None, {"seen": "before"})
    assert told(answers=Answers(["yes"] * 5, [[], [], [], [], [0.9, 0.1]])).calibration is None


def test_a_table_without_the_positive_label_has_no_screening(told):
    probabilities = np.array([*RAW[1:3].tolist()])
    report = told(answers=Answers(["", "yes", "no", "", ""], [[], *probabilities.tolist(), [], []]))
    assert report.calibration is not None
    assert (report.precision_recall, report.work_saved, report.positive) == (None, None, "")

import numpy as np

from papertune.inference.outputs import empty_cells
from papertune.kinds import LabelColumn
from papertune.kinds.label.calibrators import Isotonic, Temperature
from papertune.kinds.label.decision import Decision
from papertune.kinds.label.output import label_cells, most_probable_rows, set_cells
from papertune.kinds.label.record import Calibration
from papertune.recipe import load_recipe

NAN = float("nan")
TWO = np.array([[0.9, 0.1], [0.3, 0.7], [NAN, NAN], [0.55, 0.45]])
THREE = np.array([[0.5, 0.3, 0.2], [0.1, 0.2, 0.7], [NAN, NAN, NAN], [0.34, 0.33, 0.33]])


def make_column(labels=("yes", "no"), **keys):
    return LabelColumn(kind="label", question="Include it?", labels=tuple(labels), **keys)


def cells(values, decision, labels=("yes", "no")):
    return label_cells(values, make_column(labels), decision).to_list()


class TestCells:
    def test_the_most_probable_label_is_the_default(self):
        assert cells(TWO, Decision()) == ["yes", "no", None, "yes"]
        assert cells(THREE, Decision(), "abc") == ["a", "c", None, "a"]

    def test_a_threshold_applies_to_the_calibrated_probability_of_the_first_label(self):
        assert cells(TWO, Decision(threshold=0.3)) == ["yes", "yes", None, "yes"]
        assert cells(TWO, Decision(threshold=0.95)) == ["no", "no", None, "no"]
        # Less confident: 0.9 becomes 0.75, 0.3 becomes 0.396.
        assert cells(TWO, Decision(Temperature(2.0), threshold=0.38)) == ["yes", "yes", None, "yes"]
        assert cells(TWO, Decision(Temperature(2.0), threshold=0.8)) == ["no", "no", None, "no"]

    def test_a_cell_stays_empty_where_the_chosen_label_has_a_low_probability(self):
        assert cells(TWO, Decision(abstain_below=0.6)) == ["yes", "no", None, ""]
        assert cells(TWO, Decision(Temperature(2.0), abstain_below=0.7)) == ["yes", "", None, ""]
        # "yes" at 0.3 is less probable than "no" would be.
        assert cells(TWO, Decision(threshold=0.3, abstain_below=0.5)) == ["yes", "", None, "yes"]
        recipe = load_recipe({"table": {"document": "{title}"}, "columns": {"label": make_column()}})
        assert empty_cells({"label": TWO}, recipe, {"label": Decision(abstain_below=0.8)}) == {"label": 2}

    def test_sets_have_the_most_probable_label_first_and_are_never_empty(self):
        column = make_column("abc")
        found = set_cells(THREE, column, Decision(Temperature(9.0), set_threshold=0.3))  # before calibration
        assert found.to_list() == ["a; b", "c", None, "a; b; c"]
        assert set_cells(THREE, column, Decision(set_threshold=0.9)).to_list() == ["a", "c", None, "a"]
        assert set_cells(THREE, column, Decision()).to_list() == ["a; b; c", "c; b; a", None, "a; b; c"]


class TestRanking:
    def test_rows_that_were_not_asked_are_last_and_equal_rows_stay_in_table_order(self):
        assert most_probable_rows(TWO, Decision()).tolist() == [0, 3, 1, 2]
        same = np.array([[0.2, 0.8], [NAN, NAN], [0.7, 0.3], [0.2, 0.8]])
        assert most_probable_rows(same, Decision()).tolist() == [2, 0, 3, 1]

    def test_rows_that_a_calibrator_makes_equal_are_ranked_by_the_probability_before_calibration(self):
        flat = Decision(Isotonic((0.0, 1.0), (0.4, 0.4)))
        assert most_probable_rows(TWO, flat).tolist() == [0, 3, 1, 2]


class TestDecisionOfARun:
    def test_the_recipe_and_the_calibration_together(self):
        record = Calibration(
            90, {"kind": "temperature", "temperature": 1.5}, threshold=0.2, abstain_below=0.7, set_threshold=0.1
        )
        fitted = make_column(threshold="f1", abstain_for_accuracy=0.9, coverage=0.9)
        assert fitted.decision("label", record) == Decision(Temperature(1.5), 0.2, 0.7, 0.1)
        # A number in the recipe is that number; of two reasons to abstain both count.
        given = make_column(threshold=0.4, abstain_below=0.8, abstain_for_accuracy=0.9)
        assert given.decision("label", Calibration(90, abstain_below=0.7)) == Decision(None, 0.4, 0.8)
        assert given.decision("label", Calibration(90, abstain_below=0.9)) == Decision(None, 0.4, 0.9)

    def test_probabilities_are_used_unchanged_without_a_calibration_set(self):
        fitted = make_column(threshold="f1", abstain_for_accuracy=0.9, coverage=0.9)
        assert fitted.decision("label", None) == Decision()
        assert fitted.decision("label", Calibration(12)) == Decision()


class TestWords:
    def test_nothing_follows_without_calibration(self):
        assert Decision().in_words() == []

    def test_each_setting_is_a_sentence(self):
        decision = Decision(Temperature(2.0), threshold=0.3, abstain_below=0.4, set_threshold=0.05)
        assert decision.in_words() == [
            "the probabilities are calibrated: softmax(log p / 2.0000); the most probable label stays.",
            "the first label is chosen if its calibrated probability is at least 0.3000.",
            "the cell stays empty if the calibrated probability of the chosen label is below 0.4000.",
            "the label set has the labels with an uncalibrated probability of at least 0.0500, and the most probable "
            "one.",
        ]
        assert Decision(Isotonic((0.1, 0.9), (0.2, 0.8))).in_words() == [
            "the probability of the first label is calibrated, linearly between these points: 0.1000 to 0.2000, 0.9000 "
            "to 0.8000."
        ]

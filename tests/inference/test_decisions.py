import numpy as np
import polars as pl
import pytest

from papertune.inference.outputs import (
    answering,
    build_output,
    choose_columns,
    empty_cells,
    label_cells,
    likeliest_rows,
    set_cells,
)
from papertune.kinds.label.calibrators import Isotonic, Temperature
from papertune.kinds.label.decision import Decision, decisions
from papertune.kinds.label.record import Calibration
from papertune.recipe import load_recipe
from papertune.tables import Table

NAN = float("nan")
TWO = np.array([[0.9, 0.1], [0.3, 0.7], [NAN, NAN], [0.55, 0.45]])
THREE = np.array([[0.5, 0.3, 0.2], [0.1, 0.2, 0.7], [NAN, NAN, NAN], [0.34, 0.33, 0.33]])


def recipe(labels=("yes", "no"), **keys):
    column = {"kind": "label", "question": "Include it?", "labels": list(labels), **keys}
    return load_recipe({"table": {"id": "id", "document": "{title}"}, "columns": {"label": column}})


@pytest.fixture
def table():
    return Table(pl.DataFrame({"id": list("abcd"), "title": ["x"] * 4}), "papers.csv")


def cells(values, decision, labels=("yes", "no")):
    return label_cells(values, recipe(labels).columns["label"], decision).to_list()


class TestCells:
    def test_the_likeliest_label_is_the_default(self):
        assert cells(TWO, Decision()) == ["yes", "no", None, "yes"]
        assert cells(THREE, Decision(), "abc") == ["a", "c", None, "a"]

    def test_a_threshold_is_of_the_first_labels_calibrated_probability(self):
        assert cells(TWO, Decision(threshold=0.3)) == ["yes", "yes", None, "yes"]
        assert cells(TWO, Decision(threshold=0.95)) == ["no", "no", None, "no"]
        # Less sure: 0.9 becomes 0.75, 0.3 becomes 0.396.
        assert cells(TWO, Decision(Temperature(2.0), threshold=0.38)) == ["yes", "yes", None, "yes"]
        assert cells(TWO, Decision(Temperature(2.0), threshold=0.8)) == ["no", "no", None, "no"]

    def test_a_cell_stays_empty_where_the_label_that_would_be_written_is_unsure(self):
        assert cells(TWO, Decision(abstain_below=0.6)) == ["yes", "no", None, ""]
        assert cells(TWO, Decision(Temperature(2.0), abstain_below=0.7)) == ["yes", "", None, ""]
        # "yes" at 0.3 is less sure than "no" would be.
        assert cells(TWO, Decision(threshold=0.3, abstain_below=0.5)) == ["yes", "", None, "yes"]
        assert empty_cells({"label": TWO}, recipe(), {"label": Decision(abstain_below=0.8)}) == {"label": 2}

    def test_sets_have_the_likeliest_label_first_and_are_never_empty(self):
        column = recipe("abc").columns["label"]
        found = set_cells(THREE, column, Decision(Temperature(9.0), set_threshold=0.3))  # before calibration
        assert found.to_list() == ["a; b", "c", None, "a; b; c"]
        assert set_cells(THREE, column, Decision(set_threshold=0.9)).to_list() == ["a", "c", None, "a"]
        assert set_cells(THREE, column, Decision()).to_list() == ["a; b; c", "c; b; a", None, "a; b; c"]


class TestRanking:
    def test_rows_without_an_answer_are_last_and_equals_stay_in_table_order(self):
        assert likeliest_rows(TWO, Decision()).tolist() == [0, 3, 1, 2]
        same = np.array([[0.2, 0.8], [NAN, NAN], [0.7, 0.3], [0.2, 0.8]])
        assert likeliest_rows(same, Decision()).tolist() == [2, 0, 3, 1]

    def test_rows_that_a_calibrator_makes_equal_are_told_apart_by_the_model(self):
        flat = Decision(Isotonic((0.0, 1.0), (0.4, 0.4)))
        assert likeliest_rows(TWO, flat).tolist() == [0, 3, 1, 2]


class TestColumns:
    def test_a_set_follows_its_label(self, table):
        sets = recipe(coverage=0.9)
        assert choose_columns(None, table, sets, probabilities=False) == ["id", "label", "label_set"]
        assert choose_columns(None, table, sets, probabilities=True) == [
            "id",
            "label",
            "label_set",
            "label_probability_yes",
            "label_probability_no",
        ]
        assert choose_columns("all", table, sets, probabilities=False) == ["id", "title", "label", "label_set"]
        assert choose_columns(["label"], table, sets, probabilities=False) == ["label"]
        assert choose_columns(["id", "label_set"], table, sets, probabilities=False) == ["id", "label_set"]
        assert list(answering(sets, ["id", "label_set"]).columns) == ["label"]
        assert choose_columns(None, table, recipe(), probabilities=False) == ["id", "label"]

    def test_the_output_has_calibrated_probabilities_and_sets(self, table):
        names = ["id", "label", "label_set", "label_probability_yes"]
        decision = {"label": Decision(Temperature(2.0), set_threshold=0.3)}
        output = build_output(table, recipe(coverage=0.9), {"label": TWO}, names, decision)
        assert output.rows() == [
            ("a", "yes", "yes", "0.750000"),
            ("b", "no", "no; yes", "0.395644"),
            ("c", "", "", ""),
            ("d", "yes", "yes; no", "0.525063"),
        ]


class TestWhatARunHasFound:
    def test_the_recipe_and_the_dev_rows_together(self):
        found = Calibration(
            90, {"kind": "temperature", "temperature": 1.5}, threshold=0.2, abstain_below=0.7, set_threshold=0.1
        )
        fitted = recipe(threshold="f1", abstain_for_accuracy=0.9, coverage=0.9)
        assert decisions(fitted, {"label": found}) == {"label": Decision(Temperature(1.5), 0.2, 0.7, 0.1)}
        # A number in the recipe is that number; of two reasons to abstain both count.
        given = recipe(threshold=0.4, abstain_below=0.8, abstain_for_accuracy=0.9)
        assert decisions(given, {"label": Calibration(90, abstain_below=0.7)}) == {"label": Decision(None, 0.4, 0.8)}
        assert decisions(given, {"label": Calibration(90, abstain_below=0.9)}) == {"label": Decision(None, 0.4, 0.9)}

    def test_without_dev_rows_the_model_is_taken_at_its_word(self):
        fitted = recipe(threshold="f1", abstain_for_accuracy=0.9, coverage=0.9)
        assert decisions(fitted, {}) == {"label": Decision()}
        assert decisions(fitted, {"label": Calibration(12)}) == {"label": Decision()}

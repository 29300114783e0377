import json

import numpy as np
import polars as pl
import pytest

from papertune.inference.outputs import build_output, choose_columns, empty_cells, predicting
from papertune.kinds.label.calibrators import Temperature
from papertune.kinds.label.decision import Decision
from papertune.recipe import load_recipe
from papertune.tables import Table, read_table

TWO = np.array([[0.9, 0.1], [0.3, 0.7], [np.nan, np.nan], [0.55, 0.45]])


def recipe(**keys):
    column = {"kind": "label", "question": "Include it?", "labels": ["yes", "no"], **keys}
    return load_recipe({"table": {"id": "id", "document": "{title}"}, "columns": {"label": column}})


@pytest.fixture
def table():
    return Table(pl.DataFrame({"id": list("abcd"), "title": ["x"] * 4}), "papers.csv")


class TestLabelColumn:
    def test_the_set_column_follows_its_label(self, table):
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
        assert list(predicting(sets, ["id", "label_set"]).columns) == ["label"]
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


def test_the_output_of_a_labels_column():
    recipe = load_recipe(
        {
            "table": {"document": "{text}"},
            "columns": {
                "topics": {"kind": "labels", "question": "About {label}?", "labels": ["a", "b"], "separator": " | "}
            },
        }
    )
    table = read_table([{"text": "A", "topics": "b"}, {"text": "B", "topics": ""}])
    values = {"topics": np.array([[0.75, 0.6], [0.25, 0.125]])}
    columns = choose_columns(None, table, recipe, probabilities=True)
    output = build_output(table, recipe, values, columns, {"topics": None})
    assert json.loads(output.write_json()) == [
        {
            "row": "1",
            "topics": "a | b",
            "topics_probability_a": "0.750000",
            "topics_probability_b": "0.600000",
            "topics_given": "b",
        },
        {
            "row": "2",
            "topics": "",
            "topics_probability_a": "0.250000",
            "topics_probability_b": "0.125000",
            "topics_given": "",
        },
    ]
    # An empty cell is an answer: no label applies.
    assert empty_cells(values, recipe, {"topics": None}) == {}

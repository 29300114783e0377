import numpy as np
import polars as pl
import pytest

from papertune.inference.outputs import build_output, empty_cells
from papertune.kinds.label.decision import Decision
from papertune.kinds.values import each_text, text_series
from papertune.recipe import load_recipe
from papertune.tables import Table

RECIPE = load_recipe(
    {
        "table": {"document": "{title}"},
        "columns": {
            "label": {"kind": "label", "question": "Is it medical?", "labels": ["1", "0"], "abstain_below": 0.6},
            "Keywords": {"kind": "keywords", "question": "Keywords?"},
        },
    }
)


def test_collectors_take_rows_in_any_order():
    collectors = {name: column.collector(name, 5) for name, column in RECIPE.columns.items()}
    for collector in collectors.values():
        collector.put([3, 0], {"label": [[0.25, 0.75], None], "Keywords": ["b; c", None]})
        collector.put([4, 1], {"label": [[0.1, 0.9], [0.5, 0.5]], "Keywords": ["", "a"]})
    columns = {name: collector.values() for name, collector in collectors.items()}
    assert columns["label"].dtype == np.float64
    np.testing.assert_array_equal(columns["label"], [[np.nan] * 2, [0.5, 0.5], [np.nan] * 2, [0.25, 0.75], [0.1, 0.9]])
    assert columns["Keywords"].to_list() == [None, "a", None, "b; c", ""]
    decisions = {name: column.decision(name, None) for name, column in RECIPE.columns.items()}
    cells = {name: column.cells(columns[name], decisions[name]) for name, column in RECIPE.columns.items()}
    assert cells["label"].to_list() == [None, "", None, "0", "0"]
    assert cells["Keywords"].to_list() == [None, "a", None, "b; c", ""]
    assert empty_cells(columns, RECIPE, decisions) == {"label": 1, "Keywords": 1}


def test_of_equally_probable_labels_the_first_is_written():
    assert RECIPE.columns["label"].cells(np.array([[0.5, 0.5]]), Decision()).to_list() == ["1"]


def test_columns_without_values_are_left_empty():
    table = Table(pl.DataFrame({"title": ["x", "y"]}), "list of rows")
    output = build_output(table, RECIPE, {}, ["row", "label", "label_probability_1", "Keywords"], {})
    assert output.rows() == [("1", "", "", ""), ("2", "", "", "")]


@pytest.mark.parametrize("count", [0, 1, 1023, 1024, 1025, 3000])
def test_text_series_of_any_length(count):
    texts = [None if n % 7 == 3 else f"text {n}" for n in range(count)]
    series = text_series("name", iter(texts))
    assert (series.name, series.dtype, series.to_list()) == ("name", pl.String, texts)
    assert list(each_text(series)) == texts

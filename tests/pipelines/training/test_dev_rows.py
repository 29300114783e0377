import warnings

import polars as pl
import pytest

from papertune import PapertuneWarning, RecipeError
from papertune.pipelines.training.job import prepare_job, split_dev_rows
from papertune.pipelines.training.request import TrainingRequest
from papertune.recipe import load_recipe
from papertune.tables import Table

pytestmark = pytest.mark.once


def dev_table(rows, labels="ab", start=0):
    numbers = range(start, start + rows)
    frame = pl.DataFrame(
        {
            "id": [f"p{n}" for n in numbers],
            "title": [f"t{n}" for n in numbers],
            "label": [labels[n % len(labels)] for n in numbers],
        }
    )
    return Table(frame, f"dev{start}.csv")


def label_recipe(training=(), **keys):
    column = {"kind": "label", "sources": ["model"], "question": "Which?", "labels": ["a", "b"], **keys}
    values = {"table": {"id": "id", "document": "{title}"}, "columns": {"label": column}, "training": dict(training)}
    return load_recipe(values)


def ids(tables):
    return [cell for table in tables for cell in table.column("id")]


@pytest.mark.parametrize(
    ("rows", "selected", "calibrated"),
    [(60, 30, 30), (61, 31, 30), (200, 100, 100), (399, 200, 199), (500, 200, 300), (900, 200, 300), (59, 59, 0)],
)
def test_half_of_the_rows_are_the_selection_set_and_the_others_the_calibration_set(rows, selected, calibrated):
    table = dev_table(rows)
    parts = split_dev_rows([table], label_recipe())
    selection, calibration = map(ids, parts)
    assert (len(selection), len(calibration)) == (selected, calibrated)
    assert not {*selection} & {*calibration}
    assert {*selection, *calibration} <= {*ids([table])}
    again = split_dev_rows([dev_table(rows)], label_recipe())
    assert (ids(again[0]), ids(again[1])) == (selection, calibration)
    for part in (selection, calibration):
        labels = [int(name[1:]) % 2 for name in part]
        assert abs(labels.count(0) - labels.count(1)) <= 1


def test_the_recipe_limits_both_sets():
    recipe = label_recipe({"dev_rows": 40, "calibration_rows": 35, "seed": 5})
    selection, calibration = split_dev_rows([dev_table(200), dev_table(100, start=200)], recipe)
    assert [len(table) for table in selection] == [40, 40]
    assert [len(table) for table in calibration] == [35, 35]
    assert ids(split_dev_rows([dev_table(200)], label_recipe({"seed": 6}))[1]) != ids(calibration)


def test_small_tables_are_counted_together():
    selection, calibration = split_dev_rows(
        [dev_table(20), dev_table(1, start=20), dev_table(41, start=40)], label_recipe()
    )
    assert [len(table) for table in selection] == [10, 1, 21]
    assert [len(table) for table in calibration] == [10, 20]


def test_without_a_column_to_calibrate_there_is_no_calibration_set():
    assert len(split_dev_rows([dev_table(100)], label_recipe(calibration="none"))[0][0]) == 100
    assert split_dev_rows([dev_table(100)], label_recipe(calibration="none", coverage=0.9))[1]
    keywords = load_recipe(
        {"table": {"document": "{title}"}, "columns": {"label": {"kind": "keywords", "question": "Which?"}}}
    )
    selection, calibration = split_dev_rows([dev_table(300)], keywords)
    assert (len(selection[0]), calibration) == (200, [])


def test_with_too_few_gold_cells_there_is_no_calibration_set():
    columns = {
        "label": {"kind": "label", "sources": ["model"], "question": "Which?", "labels": ["a", "b"]},
        "words": {"kind": "keywords", "question": "Name them."},
    }
    recipe = load_recipe({"table": {"id": "id", "document": "{title}"}, "columns": columns})
    frame = dev_table(100).frame.with_columns(words=pl.lit("one; two"))
    selection, calibration = split_dev_rows([Table(frame.drop("label"), "dev.csv")], recipe)
    assert (len(selection[0]), calibration) == (100, [])
    few = pl.when(pl.int_range(pl.len()) < 40).then("label").otherwise(pl.lit(""))
    selection, calibration = split_dev_rows([Table(frame.with_columns(label=few), "dev.csv")], recipe)
    assert (len(selection[0]), calibration) == (100, [])
    many = pl.when(pl.int_range(pl.len()) < 90).then("label").otherwise(pl.lit(""))
    selection, calibration = split_dev_rows([Table(frame.with_columns(label=many), "dev.csv")], recipe)
    assert (len(selection[0]), len(calibration[0])) == (50, 50)


@pytest.mark.filterwarnings('ignore:dev.csv has no column "label"')
def test_thresholds_need_dev_rows_with_gold_cells(tiny_folder):
    topics = {
        "kind": "labels",
        "sources": ["model"],
        "question": "About {label}?",
        "labels": ["a", "b"],
        "thresholds": "f1",
    }
    words = {"kind": "keywords", "question": "Name them."}
    columns = {"label": topics, "words": words}
    recipe = {"model": str(tiny_folder), "table": {"id": "id", "document": "{title}"}, "columns": columns}
    table = Table(dev_table(8).frame.with_columns(words=pl.lit("one; two")), "papers.csv")
    dev = Table(table.frame.drop("label"), "dev.csv")
    with pytest.raises(RecipeError) as caught:
        prepare_job(TrainingRequest(table, dev), load_recipe(recipe))
    assert str(caught.value) == (
        'columns.label.thresholds is "f1": they are chosen on dev rows, and none of them has an answer. Add --dev or '
        "--dev-fraction, or write numbers."
    )


@pytest.mark.parametrize(
    ("dev", "why"),
    [
        (None, "0 rows are in its calibration set, and at least 30 are needed"),
        (dev_table(50), "0 rows are in its calibration set, and at least 30 are needed"),
        (dev_table(80, labels="a"), 'all 40 rows of its calibration set have the label "a"'),
    ],
)
def test_settings_that_cannot_be_fitted_are_reported_before_weights_load(tiny_folder, dev, why):
    keys = {"threshold": "f1", "coverage": 0.9}
    recipe = label_recipe(**keys).model_copy(update={"model": str(tiny_folder)})
    with pytest.warns(PapertuneWarning) as caught:
        job = prepare_job(TrainingRequest(dev_table(8), dev), recipe)
    assert str(caught[-1].message) == (
        f'column "label": threshold and coverage will not be fitted: {why}. Give more rows with --dev or '
        "--dev-fraction; half of them become the calibration set."
    )
    assert job.calibration_set == [] or len(job.calibration_set[0]) == 40


def test_a_recipe_without_fitted_settings_is_not_warned_of(tiny_folder):
    recipe = label_recipe().model_copy(update={"model": str(tiny_folder)})
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        prepare_job(TrainingRequest(dev_table(8)), recipe)


def test_dev_rows_are_a_table_or_a_share_of_the_rows(tiny_folder):
    recipe = label_recipe().model_copy(update={"model": str(tiny_folder)})
    with pytest.raises(RecipeError, match=r"^--dev and --dev-fraction exclude each other\. Give one of them\.$"):
        prepare_job(TrainingRequest(dev_table(8), dev_table(6), 0.1), recipe)

"""Rows that are not labelled, and labels of pandas, from training to evaluation; words answer, no model is trained."""

import json
import warnings

import pytest

import papertune
from papertune import PapertuneWarning, RecipeError, TableError
from papertune.pipelines.evaluate import evaluate
from papertune.recipe import load_recipe

MARKS = ["-1", "", "NA"]


def recipe_with(tiny_folder, **label):
    return {
        "model": str(tiny_folder),
        "table": {"id": "uuid", "document": "title: {title}\nabstract: {abstract}"},
        "columns": {
            "label": {
                "kind": "label",
                "sources": ["words"],
                "question": "Is it medical? Answer 1 or 0.",
                "labels": ["1", "0"],
                **label,
            }
        },
    }


@pytest.fixture(scope="module")
def labelled(papers):
    return [{**row, "title": f"{row['title']} {'clinic' if row['label'] == '1' else 'lattice'}"} for row in papers(30)]


@pytest.fixture(scope="module")
def unlabelled(papers):
    return [{**row, "label": MARKS[n % 3]} for n, row in enumerate(papers(9, 100))]


@pytest.fixture(scope="module")
def run(tiny_folder, labelled, unlabelled, tmp_path_factory):
    folder = tmp_path_factory.mktemp("runs") / "run"
    with warnings.catch_warnings(record=True) as caught:
        warnings.simplefilter("always")
        run = papertune.train([*labelled, *unlabelled], recipe_with(tiny_folder, unlabelled=MARKS), folder)
    assert [str(each.message) for each in caught if issubclass(each.category, PapertuneWarning)] == [
        'list of rows, row 31, column "label": 9 cells are listed as unlabelled in the recipe; not learned (this is '
        "the first)."
    ]
    return run


def report_of(run, rows, folder, **more):
    evaluate(run, rows, folder, **more)
    return json.loads((folder / "report.json").read_text("utf-8"))["columns"][0]


def test_a_run_is_that_of_the_labelled_rows_alone(run, tiny_folder, labelled, papers, tmp_path):
    alone = papertune.train(labelled, recipe_with(tiny_folder), tmp_path / "run")
    new = papers(12, 200)
    assert run.predict(new, probabilities=True).equals(alone.predict(new, probabilities=True))


def test_unlabelled_rows_are_not_scored(run, labelled, unlabelled, tmp_path):
    expected = report_of(run, labelled, tmp_path / "labelled")
    got = report_of(run, [*labelled, *unlabelled], tmp_path / "all")
    assert got["facts"]["not scored"] == "9 of 39 rows, whose cell has no gold answer"
    scores = [each["contestants"][0]["scores"] for each in (got, expected)]
    assert scores[0]["rows"] == 30
    assert scores[0]["accuracy"] == scores[1]["accuracy"]


def test_predictions_that_pandas_has_written_again_are_read(run, labelled, tmp_path):
    predicted = run.predict(labelled).to_dicts()
    expected = report_of(run, labelled, tmp_path / "first", predictions=predicted)
    for row in predicted:
        row["label"] = {"1": "1.0", "0": "0.0"}[row["label"]]
    got = report_of(run, labelled, tmp_path / "second", predictions=predicted)
    assert got["contestants"][0]["scores"] == expected["contestants"][0]["scores"]


def test_cells_that_are_not_listed_stay_errors(tiny_folder, labelled, unlabelled):
    with pytest.raises(TableError) as caught:
        papertune.train([*labelled, *unlabelled[1:3]], recipe_with(tiny_folder, unlabelled=["-1"]), "run")
    assert str(caught.value) == (
        "the tables do not fit the recipe (2 problems):\n"
        '  - list of rows, row 31, column "label": the cell is empty. Fill it in, take the row out, or list "" in '
        "columns.label.unlabelled.\n"
        '  - list of rows, row 32, column "label": "NA" is not one of the 2 labels (1, 0). Correct the cell, or list '
        "it in columns.label.unlabelled."
    )


def test_a_label_is_not_unlabelled(tiny_folder):
    with pytest.raises(RecipeError) as caught:
        load_recipe(recipe_with(tiny_folder, unlabelled=["0.0"]))
    assert (
        "columns.label: unlabelled has '0.0', which is read as one of the labels; leave it out of one of them"
        in str(caught.value)
    )

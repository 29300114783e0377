"""A number column through training, prediction, evaluation and comparison on the tiny model."""

import copy
import json
import sys

import pytest

import papertune
from papertune import PapertuneWarning, TableError, compare, evaluate, load_recipe, read_table
from papertune.pipelines.check import check_tables
from papertune.prompts.examples import training_examples

CELLS = ("120", "1,250", "", "86 patients", "not stated", "40")


def numbered(rows):
    """Put a number beside each paper."""
    return [{**row, "size": CELLS[place % len(CELLS)]} for place, row in enumerate(rows)]


@pytest.fixture(scope="module")
def number_recipe(both_columns):
    """Return a recipe with a number column."""
    recipe = copy.deepcopy(both_columns)
    size = {"kind": "number", "question": "How many?", "minimum": 1, "maximum": 5000, "integer": True}
    recipe["columns"] = {"size": {**size, "unit": "patients"}}
    recipe["training"] |= {"micro_batch_size": 8}
    return recipe


@pytest.fixture(scope="module")
def sized(number_recipe, papers, tmp_path_factory):
    """Return a run that fills in a number column."""
    return papertune.train(numbered(papers(16)), number_recipe, tmp_path_factory.mktemp("runs") / "sized")


@pytest.fixture(scope="module")
def filled(sized, papers):
    return sized.predict(numbered(papers(12, 100)), probabilities=True, precision="fp32")


@pytest.mark.once
def test_examples_have_a_number_or_not_stated(number_recipe, papers):
    examples = training_examples(read_table(numbered(papers(6))), load_recipe(number_recipe))
    assert [example.answer for example in examples] == ["120", "1250", "not stated", "86", "not stated", "40"]


def test_every_cell_is_a_number_of_the_range_or_empty(sized, filled, papers):
    assert filled.columns == ["uuid", "size", "size_confidence", "size_given"]
    assert all(cell == "" or (cell == str(int(cell)) and 1 <= int(cell) <= 5000) for cell in filled["size"])
    assert len(set(filled["size"])) > 1
    assert all(0 < float(cell) <= 1 for cell in filled["size_confidence"])
    assert sized.predict(papers(2)).columns == ["uuid", "size"]


def test_an_empty_cell_is_an_answer(number_recipe, papers, tmp_path, recwarn):
    """A run that has learned nothing else writes empty cells, without a warning."""
    rows = [{**row, "size": ""} for row in papers(16)]
    recipe = {**number_recipe, "training": {**number_recipe["training"], "epochs": 20}}
    run = papertune.train(rows, recipe, tmp_path / "run")
    assert set(run.predict(papers(4, 50))["size"]) == {""}
    assert not recwarn.list


def test_a_stopped_prediction_is_resumed_to_the_same_bytes(sized, papers, make_listener, tmp_path, monkeypatch):
    """Batches of a few rows; the journal has kept the first."""
    monkeypatch.setattr("papertune.inference.plan.batch_tokens", lambda device: 300)
    rows = numbered(papers(24, 100))

    def stop(step):
        raise KeyboardInterrupt

    output = tmp_path / "out.csv"
    with pytest.raises(KeyboardInterrupt):
        sized.predict_file(rows, output, probabilities=True, listener=make_listener(on_rows=stop))
    lines = [json.loads(line) for line in (tmp_path / "out.csv.journal").read_text("utf-8").splitlines()]
    kept = [json.loads(value) for line in lines if "values" in line for value in line["values"]["size"]]
    assert 0 < len(kept) <= 24
    assert all(isinstance(text, str) and 0 < confidence <= 1 for text, confidence in kept)
    sized.predict_file(rows, output, probabilities=True)
    sized.predict_file(rows, tmp_path / "again.csv", probabilities=True)
    assert output.read_bytes() == (tmp_path / "again.csv").read_bytes()


def test_dev_rows_choose_the_checkpoint_by_numbers_within_the_tolerance(number_recipe, papers, tmp_path):
    run = papertune.train(numbered(papers(16)), number_recipe, tmp_path / "run", dev=numbered(papers(8, 300)))
    metrics = [json.loads(line) for line in (run.directory.path / "metrics.jsonl").read_text().splitlines()]
    (scored, *_) = [line for line in metrics if "eval_size_within" in line]
    assert scored["score"] == scored["eval_size_within"]
    assert 0 <= scored["eval_size_exact"] <= scored["eval_size_within"] <= 1


@pytest.fixture(scope="module")
def report(sized, papers, tmp_path_factory):
    """Return report.json, and the page, of the run on labelled rows with baselines."""
    folder = tmp_path_factory.mktemp("reports") / "report"
    evaluate(sized, numbered(papers(12, 100)), folder, baselines=numbered(papers(16)), precision="fp32")
    return json.loads((folder / "report.json").read_text("utf-8")), (folder / "report.html").read_text("utf-8")


@pytest.mark.once
def test_a_report_scores_the_run_beside_the_baselines(report, filled):
    values, page = report
    (column,) = values["columns"]
    scores = {each["name"]: each["scores"] for each in column["contestants"]}
    assert list(scores)[1:] == [
        "TF-IDF + ridge regression",
        "TF-IDF nearest neighbours",
        "first number in the text",
        "median",
    ]
    (run, *_) = scores.values()
    gold = ["120", "1250", "", "86", "", "40"] * 2
    assert run["rows"] == 12
    assert run["stated"] == 8
    assert run["exact"] == sum(one == other for one, other in zip(filled["size"], gold, strict=True)) / 12
    assert run["within_interval"]["low"] <= run["within"] <= run["within_interval"]["high"]
    assert column["facts"]["within tolerance"] == "at most 10% of the table's number away from it"
    assert column["facts"]["rows"].startswith("8 with a number, 4 not stated; predicted: ")
    assert column["facts"]["errors and Spearman"].startswith("over the ")
    assert "Within tolerance" in page
    assert "randomization test" in page


@pytest.mark.once
def test_a_file_scores_like_the_run_that_wrote_it(sized, papers, report, tmp_path):
    rows = numbered(papers(12, 100))
    sized.predict_file(rows, tmp_path / "out.csv", probabilities=True, precision="fp32")
    evaluate(sized, rows, tmp_path / "report", predictions=tmp_path / "out.csv")
    values = json.loads((tmp_path / "report" / "report.json").read_text("utf-8"))
    again, before = (each["columns"][0]["contestants"][0]["scores"] for each in (values, report[0]))
    assert again == before


@pytest.mark.once
def test_a_comparison_measures_prompted_models_too(sized, papers, number_recipe, tmp_path, monkeypatch):
    """Zero-shot and few-shot answers are numbers of the range as well."""
    for name in ("setfit", "keybert"):
        monkeypatch.setitem(sys.modules, name, None)
    train, test = numbered(papers(16)), numbered(papers(6, 200))
    found = compare(train, test, number_recipe, tmp_path / "report", run=sized)
    names = [system.name for system in found.columns[0].systems]
    assert [name.split(",")[0].split(" (")[0] for name in names][:2]
    assert any(name.startswith("zero-shot") for name in names)
    assert any(name.startswith("few-shot") for name in names)
    for system in found.columns[0].systems:
        assert system.scores.rows == 6
        assert 0 <= system.scores.predicted <= 6


@pytest.mark.once
def test_ambiguous_cells_stop_a_training(number_recipe, papers, tmp_path):
    recipe = {**number_recipe, "columns": {"size": {**number_recipe["columns"]["size"], "integer": False}}}
    with pytest.raises(TableError, match=r'row 2, column "size": "1,250" can be 1\.25 or 1250, and no other'):
        papertune.train(numbered(papers(4)), recipe, tmp_path / "run")


@pytest.mark.once
@pytest.mark.filterwarnings("ignore:.*the document is nearly that of")
def test_check_counts_numbers(number_recipe, papers):
    checked = check_tables([numbered(papers(12))], number_recipe)
    assert "  size: 8 numbers, 4 not stated" in checked.lines
    assert [shown.column for shown in checked.examples] == ["size"]


@pytest.mark.once
def test_truncated_documents_are_reported_as_for_other_kinds(number_recipe, papers, tmp_path):
    recipe = {**number_recipe, "encoding": {"max_prompt_tokens": 60}}
    with pytest.warns(PapertuneWarning, match="have more than 60 tokens"):
        papertune.train(numbered(papers(4)), recipe, tmp_path / "run")

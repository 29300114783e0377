"""Situations from public bug reports of other tools: files that were filled in before, and instruction files."""

import json
import shutil
from pathlib import Path

import pytest

import papertune as library

pytestmark = pytest.mark.once

CASES = Path(__file__).parents[1] / "data" / "cases"


@pytest.fixture
def case(tmp_path, monkeypatch):
    """Return a function that changes to a copy of a case."""

    def enter(name):
        shutil.copytree(CASES / name, tmp_path / name)
        monkeypatch.chdir(tmp_path / name)
        return tmp_path / name

    return enter


@pytest.fixture(scope="module")
def words(tiny_folder, tmp_path_factory):
    """Return a run that answers by words alone, which takes no training."""
    overrides = [f"model={tiny_folder}", 'columns.label.sources=["words"]']
    folder = tmp_path_factory.mktemp("filled") / "run"
    library.train(CASES / "filled" / "papers.csv", CASES / "filled" / "recipe.toml", folder, overrides=overrides)
    return folder


def report(papertune, words, folder, name):
    done = papertune("evaluate", words, "papers.csv", "-o", f"report-{name}", "--predictions", f"{name}.csv", "-q")
    assert done.code == 0, done.err
    return json.loads((folder / f"report-{name}" / "report.json").read_text("utf-8"))["contestants"]


def test_a_sorted_file_without_ids_scores_like_one_in_table_order(papertune, case, words):
    folder = case("filled")
    for name, options in {
        "filled": ["--probabilities"],
        "sorted": ["--probabilities", "--sort-by", "label"],
        "all": ["--probabilities", "--sort-by", "label", "--columns", "all"],
    }.items():
        assert papertune("predict", words, "papers.csv", "-o", f"{name}.csv", "-q", *options).code == 0
    scores = report(papertune, words, folder, "filled")
    assert scores[0]["score"] == 1.0
    assert report(papertune, words, folder, "sorted") == report(papertune, words, folder, "all") == scores


def test_sorted_rows_that_nothing_names_are_warned_of(papertune, case, words):
    case("filled")
    done = papertune("predict", words, "papers.csv", "-o", "bare.csv", "-q", "--columns", "label", "--sort-by", "label")
    assert done.warnings == [
        'bare.csv is sorted, and nothing in it says which row of papers.csv each row is. Add "row" to --columns.'
    ]


def test_labels_that_pandas_made_floats_are_read_in_predictions(papertune, case, words):
    folder = case("filled")
    scores = report(papertune, words, folder, "pandas")
    # One cell of the file is empty, which counts as wrong.
    assert (scores[0]["metric"], scores[0]["score"]) == ("accuracy", 39 / 40)


def test_a_table_can_be_filled_in_again_and_again(papertune, case, words):
    folder = case("filled")
    source, options = "papers.csv", ["--columns", "all", "--probabilities", "-q"]
    for name in ("one", "two", "three"):
        done = papertune("predict", words, source, "-o", f"{name}.csv", *options)
        assert done.code == 0, done.err
        assert [text.partition(":")[0] for text in done.warnings] == (
            [] if name == "one" else [f"{source} was filled in before"]
        )
        source = f"{name}.csv"
    assert (folder / "one.csv").read_text() == (folder / "three.csv").read_text()
    header, first, *_ = (folder / "two.csv").read_text().splitlines()
    assert header == "title,abstract,label,label_probability_1,label_probability_0,label_given"
    assert first.startswith("Graph 0,We colour the graph with 0 colours.,0,")
    # The model's labels neither count as those of the table, nor are they learned.
    wrong = (folder / "one.csv").read_text().replace(",1,0.", ",0,0.")
    (folder / "wrong.csv").write_text(wrong)
    done = papertune("evaluate", words, "wrong.csv", "-o", "report", "-q")
    assert done.code == 0, done.err
    assert json.loads((folder / "report" / "report.json").read_text("utf-8"))["contestants"][0]["score"] == 1.0
    done = papertune("check", "wrong.csv", "-r", words / "recipe.toml")
    assert "  label: 0 20, 1 20" in done.out


def test_probabilities_of_an_earlier_prediction_do_not_stay_beside_new_labels(papertune, case, words):
    folder = case("filled")
    assert (
        papertune("predict", words, "papers.csv", "-o", "one.csv", "--columns", "all", "--probabilities", "-q").code
        == 0
    )
    assert papertune("predict", words, "one.csv", "-o", "two.csv", "--columns", "all", "-q").code == 0
    assert (folder / "two.csv").read_text().splitlines()[0] == "title,abstract,label,label_given"


@pytest.mark.parametrize("source", ["data.json", "dataset_info.json:with_system", "dataset_info.json:no_query"])
def test_the_system_text_is_in_the_prompt_that_is_shown(papertune, case, tiny_folder, source):
    case("alpaca-system")
    done = papertune("check", source, "-r", "recipe.toml", "--set", f"model={tiny_folder}")
    assert done.code == 0, done.err
    assert "system\nYou are a librarian of a hospital. Papers on animals never count as medical." in done.out


def test_documents_in_the_instruction_are_one_message(papertune, case, tiny_folder):
    case("alpaca-all-in-instruction")
    done = papertune("check", "data.json", "-r", "recipe.toml", "--set", f"model={tiny_folder}")
    assert done.warnings == []
    assert done.error == (
        'data.json, entry 1, column "instruction": 30 entries have no input, and instructions that are not a question '
        "of the recipe (this is the first). If the document is in the instruction, move it to input; to learn any "
        "instructions, use the recipe instruct (-r instruct).\n"
    )


def test_a_prompt_beyond_the_context_is_refused_before_any_work(papertune, case, tiny_folder):
    case("alpaca-system")
    options = ["-r", "recipe.toml", "--set", f"model={tiny_folder}", "--set", "encoding.max_prompt_tokens=5000"]
    refusals = {
        papertune(*command, *options).error for command in (["check", "data.json"], ["train", "data.json", "-o", "run"])
    }
    assert refusals == {
        'encoding.max_prompt_tokens is 5,000, and an answer of "label" takes up to 2 tokens more, but '
        f"{tiny_folder} reads 4,096 tokens at most. Set encoding.max_prompt_tokens to 4094 or less, or choose a model "
        "with a longer context.\n"
    }

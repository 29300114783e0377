import json

import pytest
import torch
from safetensors.torch import load_file

import papertune
from papertune import OutputError, RecipeError, TableError
from papertune.pipelines.instructions import write_instructions
from papertune.prompts.examples import training_examples
from papertune.recipe import load_recipe


@pytest.fixture
def written(recipe, papers, tmp_path):
    write_instructions(papers(8), recipe, tmp_path / "papers.json")
    return tmp_path / "papers.json"


def weights(run):
    return load_file(run.directory.adapter / "adapter_model.safetensors")


def assert_same_weights(one, other):
    assert all(torch.equal(tensor, weights(other)[name]) for name, tensor in weights(one).items())


def test_an_entry_for_each_row_and_column(written, recipe, papers):
    entries = json.loads(written.read_text("utf-8"))
    first = papers(1)[0]
    assert len(entries) == 16
    assert entries[:2] == [
        {
            "instruction": "Is it medical? Answer 1 or 0.",
            "input": f"title: {first['title']}\nabstract: {first['abstract']}",
            "output": "0",
        },
        {
            "instruction": "List the keywords.",
            "input": f"title: {first['title']}\nabstract: {first['abstract']}",
            "output": first["Keywords"],
        },
    ]


def test_the_file_has_the_examples_of_the_table(written, recipe, papers):
    chosen = load_recipe(recipe)
    from_table = [(e.column, e.prompt, e.answer) for e in training_examples(papertune.read_table(papers(8)), chosen)]
    from_json = [(e.column, e.prompt, e.answer) for e in training_examples(papertune.read_table(written), chosen)]
    assert from_json == from_table


@pytest.mark.filterwarnings("ignore:.*the same as in another row")
def test_training_on_the_file_gives_the_weights_of_the_table(written, recipe, papers, tmp_path):
    from_json = papertune.train(written, recipe, tmp_path / "json")
    assert_same_weights(from_json, papertune.train(papers(8), recipe, tmp_path / "table"))
    # The run predicts ordinary tables.
    assert papertune.load_run(tmp_path / "json").predict(papers(3)).columns[:3] == ["uuid", "label", "Keywords"]


def test_a_jsonl_file_has_an_entry_a_line(recipe, papers, tmp_path, written):
    count = write_instructions(papers(8), recipe, tmp_path / "papers.jsonl", only=["label"])
    lines = [json.loads(line) for line in (tmp_path / "papers.jsonl").read_text("utf-8").splitlines()]
    assert count == 8
    assert lines == [entry for entry in json.loads(written.read_text("utf-8")) if entry["output"] in "01"]


def test_a_dataset_info_file_names_the_columns(recipe, papers, tmp_path):
    write_instructions(papers(8), recipe, tmp_path / "papers.json", only=["label"])
    entries = json.loads((tmp_path / "papers.json").read_text("utf-8"))
    renamed = [{"ask": e["instruction"], "text": e["input"], "say": e["output"]} for e in entries]
    (tmp_path / "renamed.json").write_text(json.dumps(renamed))
    columns = {"prompt": "ask", "query": "text", "response": "say"}
    register = {"mine": {"file_name": "renamed.json", "columns": columns}, "other": {"file_name": "papers.json"}}
    (tmp_path / "dataset_info.json").write_text(json.dumps(register))
    run = papertune.train(f"{tmp_path / 'dataset_info.json'}:mine", recipe, tmp_path / "run", only=["label"])
    assert_same_weights(run, papertune.train(papers(8), recipe, tmp_path / "table", only=["label"]))
    assert run.manifest.tables[0].source.endswith("dataset_info.json:mine (renamed.json)")


@pytest.mark.filterwarnings("ignore:.*the same as in another row")
def test_a_run_is_scored_on_the_file_like_on_the_table(run, written, papers, tmp_path):
    papertune.evaluate(run, papers(8), tmp_path / "table", precision="fp32")
    papertune.evaluate(run, written, tmp_path / "entries", precision="fp32")
    run.predict_file(written, tmp_path / "predicted.csv", probabilities=True, precision="fp32")
    papertune.evaluate(run, written, tmp_path / "predicted", predictions=tmp_path / "predicted.csv")
    reports = [json.loads((tmp_path / name / "report.json").read_text()) for name in ("table", "entries", "predicted")]
    expected = reports[0]["contestants"]
    metrics = [score["metric"] for score in expected]
    assert metrics == ["accuracy", "macro_f1", "average_precision", "f1_at_5", "f1_at_o"]
    assert reports[1]["contestants"] == reports[2]["contestants"] == expected


class TestHistory:
    ROWS = (
        {"instruction": "Is it medical? Answer 1 or 0.", "input": "a trial", "output": "1", "history": []},
        {
            "instruction": "Is it medical? Answer 1 or 0.",
            "input": "a graph",
            "output": "0",
            "history": [["Hello", "Good day"], ["Ready?", "Yes"]],
        },
    )

    def test_history_comes_before_the_question(self, recipe, tmp_path):
        (tmp_path / "talk.json").write_text(json.dumps(self.ROWS))
        table = papertune.read_table(tmp_path / "talk.json")
        chosen = load_recipe(recipe).only(("label",))
        examples = list(training_examples(table, chosen))
        assert [example.prompt.history for example in examples] == [(), (("Hello", "Good day"), ("Ready?", "Yes"))]
        run = papertune.train(tmp_path / "talk.json", chosen, tmp_path / "run")
        filled = run.predict(tmp_path / "talk.json", probabilities=True, precision="fp32")
        assert filled.columns == ["row", "label", "label_probability_1", "label_probability_0"]
        bare = run.predict([{**row, "history": []} for row in self.ROWS], probabilities=True, precision="fp32")
        assert bare.row(0) == filled.row(0)
        assert bare.row(1) != filled.row(1)

    def test_history_is_written(self, recipe, tmp_path):
        (tmp_path / "talk.json").write_text(json.dumps(self.ROWS))
        write_instructions(tmp_path / "talk.json", recipe, tmp_path / "again.json")
        again = json.loads((tmp_path / "again.json").read_text("utf-8"))
        assert again == [{k: v for k, v in row.items() if v} for row in self.ROWS]

    def test_history_that_is_not_a_list_of_pairs_is_refused(self, recipe, tmp_path):
        rows = [{**self.ROWS[0], "history": [["only a question"]]}, self.ROWS[1]]
        with pytest.raises(TableError, match='column "history": not a list of'):
            papertune.train(rows, recipe, tmp_path / "run")


class TestErrors:
    def test_a_question_of_another_recipe_is_refused(self, recipe, tmp_path):
        rows = [{"instruction": "Who wrote it?", "input": "a", "output": "b"}]
        with pytest.raises(TableError, match=r"'Who wrote it\?' is not a question of the recipe"):
            papertune.train(rows, recipe, tmp_path / "run")

    def test_an_existing_output_stays(self, written, recipe, papers):
        before = written.read_bytes()
        with pytest.raises(OutputError, match="exists"):
            write_instructions(papers(4), recipe, written)
        assert written.read_bytes() == before
        write_instructions(papers(4), recipe, written, overwrite=True)
        assert len(json.loads(written.read_text("utf-8"))) == 8

    def test_invalid_output_files_are_refused(self, recipe, papers, tmp_path):
        with pytest.raises(OutputError, match=r"suffix .json or .jsonl"):
            write_instructions(papers(2), recipe, tmp_path / "papers.csv")
        with pytest.raises(OutputError, match="cannot be written"):
            write_instructions(papers(2), recipe, tmp_path / "nowhere" / "papers.json")
        with pytest.raises(RecipeError, match="--only"):
            write_instructions(papers(2), recipe, tmp_path / "papers.json", only=["nothing"])
        assert list(tmp_path.iterdir()) == []

import json
import math
import shutil

import pandas as pd
import polars as pl
import pytest
from safetensors.torch import load_file, save_file

import papertune
from papertune import ModelError, OutputError, PapertuneWarning, RunError, TableError
from papertune.tables import write_table


@pytest.fixture(scope="module")
def new_papers(papers):
    """Return papers to predict, without the run's columns."""
    return [{name: row[name] for name in ("uuid", "title", "author", "abstract")} for row in papers(7, 100)]


@pytest.fixture(scope="module")
def filled(run, new_papers):
    return run.predict(new_papers, probabilities=True, precision="fp32")


def without(row, *names):
    return {name: cell for name, cell in row.items() if name not in names}


def abstaining(run, below):
    """Open a run anew with another threshold."""
    opened = papertune.load_run(run.directory.path)
    label = opened.recipe.columns["label"].model_copy(update={"abstain_below": below})
    opened.recipe = opened.recipe.model_copy(update={"columns": {**opened.recipe.columns, "label": label}})
    return opened


class TestTables:
    def test_a_path_a_frame_and_a_list_of_dicts_are_predicted_alike(self, run, new_papers, filled, saved):
        for table in (pl.DataFrame(new_papers), saved("new.csv", new_papers), str(saved("new.jsonl", new_papers))):
            assert run.predict(table, probabilities=True, precision="fp32").equals(filled)

    def test_a_pandas_frame_gives_one_with_the_same_index(self, run, new_papers, filled):
        frame = pd.DataFrame(new_papers, index=[f"r{n}" for n in range(7, 0, -1)])
        output = run.predict(frame, probabilities=True, precision="fp32")
        assert isinstance(output, pd.DataFrame)
        assert list(output.index) == list(frame.index)
        assert output.to_numpy().tolist() == [list(row) for row in filled.rows()]

    def test_a_column_of_a_filtered_pandas_frame_can_be_set(self, run, new_papers, filled):
        frame = pd.DataFrame(new_papers)
        some = frame[frame["uuid"].isin(["p102", "p105"])].copy()
        some["label"] = run.predict(some, precision="fp32")["label"]
        assert list(some["label"]) == [filled["label"][2], filled["label"][5]]

    def test_one_paper_is_enough(self, run, new_papers, filled):
        output = run.predict(new_papers[3:4], precision="fp32")
        assert output.rows() == [tuple(filled.row(3, named=True)[name] for name in ("uuid", "label", "Keywords"))]

    def test_rows_come_back_in_table_order(self, run, new_papers, filled):
        assert filled["uuid"].to_list() == [row["uuid"] for row in new_papers]
        backwards = run.predict(new_papers[::-1], probabilities=True, precision="fp32")
        assert backwards.equals(filled.reverse())


@pytest.mark.once
class TestColumns:
    def test_by_default_the_id_and_the_run_s_columns(self, run, new_papers):
        assert run.predict(new_papers).columns == ["uuid", "label", "Keywords"]

    def test_the_table_s_own_column_is_kept_beside_the_prediction(self, run, papers):
        output = run.predict(papers(3))
        assert output.columns == ["uuid", "label", "Keywords", "label_given", "Keywords_given"]
        assert output["label_given"].to_list() == ["0", "1", "0"]

    def test_all_means_the_table_then_the_run(self, run, papers):
        output = run.predict(papers(3), columns="all", probabilities=True)
        assert output.columns == [
            "uuid", "title", "author", "abstract",
            "label", "label_probability_1", "label_probability_0", "Keywords", "label_given", "Keywords_given",
        ]  # fmt: skip
        assert output["author"].to_list() == ["Author 0", "Author 1", "Author 2"]

    def test_a_list_of_names_is_the_order_of_the_output(self, run, papers):
        names = ["label_given", "Keywords", "author", "row", "uuid"]
        output = run.predict(papers(3), columns=names)
        assert output.columns == names
        assert output["row"].to_list() == ["1", "2", "3"]

    def test_probabilities_follow_a_list_of_names(self, run, papers):
        output = run.predict(papers(2), columns=["uuid", "label"], probabilities=True)
        assert output.columns == ["uuid", "label", "label_probability_1", "label_probability_0"]

    def test_columns_that_are_not_written_are_not_predicted(self, run, new_papers, filled, monkeypatch):
        monkeypatch.setattr("papertune.kinds.keywords.decoders.greedy", None)
        output = run.predict(new_papers, columns=["uuid", "label"], precision="fp32")
        assert output["label"].to_list() == filled["label"].to_list()
        with pytest.raises(TableError, match=r"names none of the columns that the run fills in \(label, Keywords\)"):
            run.predict(new_papers, columns=["uuid", "title"])

    def test_an_unknown_name_is_refused_and_a_near_one_offered(self, run, new_papers):
        with pytest.raises(TableError, match=r'"Keyword" is neither in list of rows .* Did you mean "Keywords"\?'):
            run.predict(new_papers, columns=["uuid", "Keyword"])
        with pytest.raises(TableError, match="label_given"):  # the table has no label of its own
            run.predict(new_papers, columns=["label_given"])

    def test_an_empty_list_of_names_is_refused(self, run, new_papers):
        with pytest.raises(TableError, match="no column"):
            run.predict(new_papers, columns=[])

    def test_a_single_name_may_be_a_string(self, run, new_papers):
        assert run.predict(new_papers, columns="label").columns == ["label"]

    def test_a_table_may_hold_an_earlier_prediction(self, run, papers):
        first = run.predict(papers(4), columns="all", probabilities=True)
        with pytest.warns(PapertuneWarning, match="data frame was filled in before"):
            again = run.predict(first, columns="all", probabilities=True)
        assert again.to_dicts() == first.to_dicts()
        assert again["label_given"].to_list() == [row["label"] for row in papers(4)]

    def test_rows_are_numbered_where_the_recipe_has_no_id(self, recipe, papers, tmp_path):
        del recipe["table"]["id"]
        rows = [without(row, "uuid") for row in papers(8)]
        run = papertune.train(rows, recipe, tmp_path / "run", only=["label"])
        output = run.predict([without(row, "label", "Keywords") for row in rows])
        assert output.columns == ["row", "label"]
        assert output["row"].to_list() == [str(n) for n in range(1, 9)]


class TestProbabilities:
    def test_probabilities_sum_to_one_and_choose_the_label(self, filled):
        for row in filled.iter_rows(named=True):
            probabilities = [float(row["label_probability_1"]), float(row["label_probability_0"])]
            assert sum(probabilities) == pytest.approx(1, abs=2e-6)
            assert row["label"] == "10"[probabilities.index(max(probabilities))]

    def test_rows_have_different_probabilities(self, filled):
        assert filled["label_probability_1"].n_unique() > 1

    def test_a_label_of_several_tokens_is_scored_too(self, recipe, papers, tmp_path):
        names = {"1": "medical", "0": "medical not"}
        recipe["columns"] = {"label": {**recipe["columns"]["label"], "labels": list(names.values())}}
        rows = [{**row, "label": names[row["label"]]} for row in papers(8)]
        run = papertune.train(rows, recipe, tmp_path / "run")
        output = run.predict(rows, probabilities=True, precision="fp32")
        assert set(output["label"]) <= set(names.values())
        for row in output.iter_rows(named=True):
            assert sum(float(row[f"label_probability_{name}"]) for name in names.values()) == pytest.approx(1, abs=2e-6)


class TestAbstaining:
    def test_a_cell_below_the_threshold_stays_empty_and_is_counted(self, run, new_papers, filled, tmp_path):
        best = [max(float(row[1]), float(row[2])) for row in filled.select(pl.col("^label.*$")).rows()]
        below = sorted(best)[3] + 1e-4
        with pytest.warns(PapertuneWarning, match=r'4 cells of "label" are empty \(below abstain_below\)'):
            output = abstaining(run, below).predict(new_papers, precision="fp32")
        assert [cell == "" for cell in output["label"]] == [p < below for p in best]
        with pytest.warns(PapertuneWarning, match=r'out.csv: 4 cells of "label" are empty'):
            abstaining(run, below).predict_file(new_papers, tmp_path / "out.csv", precision="fp32")
        assert papertune.read_table(tmp_path / "out.csv").column("label") == output["label"].to_list()

    def test_no_warning_if_no_cell_stays_empty(self, run, new_papers, recwarn):
        abstaining(run, 0.5).predict(new_papers)
        assert not recwarn.list

    def test_a_truncated_document_is_reported(self, recipe, papers, tmp_path):
        recipe["encoding"] = {"max_prompt_tokens": 70}
        with pytest.warns(PapertuneWarning, match="4 of 8 prompts have more than 70 tokens"):
            run = papertune.train(papers(8), recipe, tmp_path / "run", only=["label"])
        long = {"uuid": "x", "title": "long", "abstract": "heart " * 200}
        short = {"uuid": "y", "title": "short", "abstract": "heart"}
        with pytest.warns(PapertuneWarning, match=r"list of rows, row 2: 1 document has more than 70 tokens"):
            run.predict([short, long])


class TestSeveralColumnsAtOnce:
    def test_each_column_is_predicted_as_if_it_were_alone(self, recipe, papers, tmp_path):
        recipe["columns"]["field"] = {
            "kind": "label",
            "sources": ["model"],
            "question": "Which field is it?",
            "labels": ["heart trial", "graph", "network"],
        }
        rows = [{**row, "field": ["graph", "heart trial", "network"][n % 3]} for n, row in enumerate(papers(12))]
        run = papertune.train(rows, recipe, tmp_path / "run")
        new = [without(row, "label", "Keywords", "field") for row in papers(6, 40)]
        together = run.predict(new, probabilities=True, precision="fp32")
        for name in ("label", "Keywords", "field"):
            alone = papertune.load_run(tmp_path / "run")
            alone.recipe = alone.recipe.only((name,))
            output = alone.predict(new, probabilities=True, precision="fp32")
            assert output[name].to_list() == together[name].to_list()
            for title in output.columns:
                if "_probability_" in title:
                    for one, other in zip(output[title], together[title], strict=True):
                        assert math.isclose(float(one), float(other), abs_tol=2e-5)


@pytest.mark.once
class TestPredictFile:
    @pytest.mark.parametrize("name", ["out.csv", "out.tsv", "out.jsonl", "out.parquet", "out.xlsx"])
    def test_every_format_holds_the_same_cells(self, run, new_papers, filled, tmp_path, name):
        run.predict_file(new_papers, tmp_path / name, probabilities=True, precision="fp32")
        assert papertune.read_table(tmp_path / name).frame.equals(filled)
        assert sorted(path.name for path in tmp_path.iterdir()) == [name]  # no journal, no lock

    def test_a_cell_too_long_for_xlsx_is_reported_before_the_work(self, run, new_papers, tmp_path, monkeypatch):
        monkeypatch.setattr(run, "predictor", None)
        rows = [{**new_papers[0], "author": "A" * 40_000}]
        with pytest.raises(OutputError, match="xlsx holds at most 32,767"):
            run.predict_file(rows, tmp_path / "out.xlsx", columns="all")
        assert list(tmp_path.iterdir()) == []

    def test_characters_that_tables_cannot_hold_are_removed_from_keywords(self, run, papers, tmp_path, monkeypatch):
        from papertune.inference.predictor import Predictor

        values = {"label": [[0.5, 0.5]], "Keywords": ["heart\0 rate;\x1b[1mgraph\ufffe; \x07;e\tf"]}
        monkeypatch.setattr(Predictor, "answer", lambda *_: values)
        for name in ("out.csv", "out.xlsx", "out.parquet", "out.jsonl"):
            run.predict_file(papers(1), tmp_path / name)
            assert papertune.read_table(tmp_path / name).column("Keywords") == ["heart rate; [1mgraph; e f"]

    def test_reports_progress_and_returns_the_values(self, run, new_papers, listener, tmp_path):
        predicted = run.predict_file(new_papers, tmp_path / "out.csv", listener=listener)
        assert predicted.rows_begun == 7
        assert len(predicted.values["label"]) == 7
        last = listener.steps[-1]
        assert (last.stage, last.done, last.total, last.seconds_left) == ("rows", 7, 7, 0)

    def test_an_existing_output_stays(self, run, new_papers, tmp_path):
        output = tmp_path / "out.csv"
        output.write_text("mine\n")
        with pytest.raises(OutputError, match="exists already"):
            run.predict_file(new_papers, output)
        assert output.read_text() == "mine\n"
        run.predict_file(new_papers, output, overwrite=True)
        assert len(papertune.read_table(output)) == 7

    def test_an_output_that_appears_during_the_prediction_stays(self, run, new_papers, filled, make_listener, tmp_path):
        output = tmp_path / "out.csv"
        writing = make_listener(on_rows=lambda _: output.write_text("mine\n"))
        with pytest.raises(OutputError, match="exists and is not this prediction"):
            run.predict_file(new_papers, output, precision="fp32", listener=writing)
        assert output.read_text() == "mine\n"
        output.unlink()
        # Nothing is computed again.
        assert run.predict_file(new_papers, output, precision="fp32").rows_begun == 7
        assert papertune.read_table(output).column("label") == filled["label"].to_list()
        assert sorted(path.name for path in tmp_path.iterdir()) == ["out.csv"]

    @pytest.mark.parametrize(
        ("kind", "what"),
        [
            ("run", "the run changed"),
            ("table", "the cells of the table changed"),
            (
                "columns",
                "the columns to write: uuid, label, Keywords before, now uuid, title, author, abstract, label, "
                "Keywords",
            ),
            ("probabilities", "the columns to write changed; --probabilities: False before, now True"),
        ],
    )
    def test_a_journal_of_another_prediction_is_refused_and_kept(
        self, run, new_papers, recipe, papers, make_listener, tmp_path, kind, what
    ):
        output = tmp_path / "out.csv"

        def stop(_):
            raise KeyboardInterrupt

        with pytest.raises(KeyboardInterrupt):
            run.predict_file(new_papers, output, listener=make_listener(on_rows=stop))
        journal = tmp_path / "out.csv.journal"
        kept = journal.read_bytes()
        rows, options = new_papers, {}
        match kind:
            case "run":
                run = papertune.train(papers(4), recipe, tmp_path / "other", overrides=["training.seed=1"])
            case "table":
                rows = [{**row, "title": row["title"] + "!"} for row in new_papers]
            case "columns":
                options = {"columns": "all"}
            case "probabilities":
                options = {"probabilities": True}
        with pytest.raises(OutputError) as caught:
            run.predict_file(rows, output, **options)
        assert str(caught.value) == (
            f"{journal} keeps the rows of another prediction ({what}). Finish that one with its own command, choose "
            "another output, or delete this file to discard its rows."
        )
        assert journal.read_bytes() == kept
        assert not output.exists()

    def test_a_journal_without_the_column_to_sort_by_is_refused(self, run, new_papers, make_listener, tmp_path):
        def stop(_):
            raise KeyboardInterrupt

        shown = {"columns": ["uuid", "Keywords"]}
        with pytest.raises(KeyboardInterrupt):
            run.predict_file(new_papers, tmp_path / "out.csv", **shown, listener=make_listener(on_rows=stop))
        with pytest.raises(OutputError, match="keeps the rows of another prediction"):
            run.predict_file(new_papers, tmp_path / "out.csv", **shown, sort_by="label")

    @pytest.mark.parametrize("content", ["my diary\nof today\n", "[1]\n", "{}\n", "no line end"])
    def test_another_file_with_the_name_of_the_journal_stays(self, run, new_papers, tmp_path, content):
        journal = tmp_path / "out.csv.journal"
        journal.write_text(content)
        with pytest.raises(OutputError, match=r"out\.csv\.journal"):
            run.predict_file(new_papers, tmp_path / "out.csv")
        assert journal.read_text() == content


@pytest.mark.parametrize("kind", ["label", "keywords", "ranked_keywords"])
def test_a_model_whose_numbers_overflow_is_reported(recipe, papers, tmp_path, kind):
    name = "label" if kind == "label" else "Keywords"
    if kind == "ranked_keywords":
        recipe["columns"]["Keywords"] = {
            "kind": kind,
            "question": "Name a keyword.",
            "beams": 5,
            "sources": ["model"],
        }
    run = papertune.train(papers(4), recipe, tmp_path / "run", only=[name])
    weights = tmp_path / "run" / "adapter" / "adapter_model.safetensors"
    save_file({name: tensor * float("nan") for name, tensor in load_file(weights).items()}, weights)
    with pytest.raises(ModelError, match=f'the model\'s probabilities for "{name}" are not numbers'):
        run.predict_file(papers(3), tmp_path / "out.csv")
    assert not (tmp_path / "out.csv").exists()


@pytest.mark.once
class TestLoading:
    def test_a_folder_that_is_not_a_run(self, tmp_path):
        with pytest.raises(RunError, match="there is no such run directory"):
            papertune.load_run(tmp_path / "nothing")
        with pytest.raises(RunError, match=r"is not a run directory: it has no run\.json"):
            papertune.load_run(tmp_path)

    @pytest.mark.parametrize(
        ("content", "message"),
        [
            ('{"format": 7}', "newer papertune"),
            ("{", "is damaged"),
            ("[]", "is damaged"),
            ("null", "is damaged"),
            ("\x00", "is damaged"),
            ('{"format": "1"}', "is damaged"),
            ('{"format": 1, "tables": [1]}', "is damaged"),
            ('{"format": 1, "tables": [], "surprise": 1}', "is damaged"),
            ('{"format": 1, "tables": []}', "is damaged"),
            ('{"format": 2, "tables": [], "base_name": "x", "base_checksum": null, "calibration": [1]}', "is damaged"),
            ('{"format": 3, "tables": [], "base_name": "x", "base_checksum": null, "rankings": [1]}', "is damaged"),
            (
                '{"format": 5, "base_name": "x", "base_checksum": null, "tables": [{"source": "a", "rows": "3"}]}',
                r'run\.json is damaged: "tables\.0\.rows": input should be a valid integer\. Train again',
            ),
        ],
    )
    def test_a_manifest_that_cannot_be_read(self, tmp_path, content, message):
        (tmp_path / "run.json").write_text(content)
        with pytest.raises(RunError, match=message):
            papertune.load_run(tmp_path)

    @pytest.mark.parametrize("missing", ["recipe.toml", "tokenizer", "adapter"])
    def test_a_run_with_a_missing_file_is_incomplete(self, run, copy, missing):
        path = copy / missing
        path.rename(copy / "away")
        with pytest.raises(RunError, match=f"incomplete: {missing}.* is missing"):
            papertune.load_run(copy)

    @pytest.fixture
    def copy(self, run, tmp_path):
        return shutil.copytree(run.directory.path, tmp_path / "copy")

    def test_a_run_may_move(self, run, copy, new_papers, filled):
        assert papertune.load_run(copy).predict(new_papers, probabilities=True, precision="fp32").equals(filled)

    def test_a_run_without_its_checkpoints_predicts_the_same(self, run, copy, new_papers, filled):
        shutil.rmtree(copy / "training")
        assert papertune.load_run(copy).predict(new_papers, probabilities=True, precision="fp32").equals(filled)

    def test_another_base_model_is_refused(self, run, tmp_path, make_model, tiny_tokenizer, new_papers):
        make_model(seed=1).save_pretrained(tmp_path / "other")
        tiny_tokenizer.save_pretrained(tmp_path / "other")
        with pytest.raises(RunError, match=r"was trained on .* with weights [0-9a-f]{12}.*--base"):
            papertune.load_run(run.directory.path, base=tmp_path / "other").predict(new_papers)

    def test_the_base_model_may_move(self, run, tiny_folder, tmp_path, new_papers, filled):
        moved = shutil.copytree(tiny_folder, tmp_path / "moved")
        opened = papertune.load_run(run.directory.path, base=moved)
        assert opened.predict(new_papers, probabilities=True, precision="fp32").equals(filled)

    def test_the_folder_explains_itself(self, run):
        folder = run.directory.path
        assert "papertune predict both TABLE.csv -o FILLED.csv" in (folder / "README.md").read_text("utf-8")
        assert json.loads((folder / "run.json").read_text("utf-8"))["label_counts"] == {"label": {"0": 8, "1": 8}}
        assert papertune.load_recipe(folder / "recipe.toml") == run.recipe
        assert (folder / "adapter" / "adapter_model.safetensors").is_file()
        assert "torch" in json.loads((folder / "versions.json").read_text("utf-8"))


@pytest.fixture(scope="module")
def merged(run, tmp_path_factory):
    folder = tmp_path_factory.mktemp("merged") / "model"
    run.merge(folder, precision="fp32")
    return folder


class TestMerging:
    def test_the_merged_model_predicts_like_the_run(self, run, merged, new_papers, filled):
        from papertune.inference.predict import predict_rows
        from papertune.inference.predictor import Predictor
        from papertune.models import load_model, use_grouped_attention
        from papertune.prompts.examples import RowReader

        model, tokenizer = load_model(merged, precision="fp32")
        use_grouped_attention(model)
        predictor = Predictor(model, tokenizer, run.recipe)
        reader = RowReader(papertune.read_table(new_papers), run.recipe)
        values = predict_rows(predictor, reader, predictor.plan(reader, range(7))).values
        expected = [float(cell) for cell in filled["label_probability_1"]]  # by papertune's own forward pass
        assert [one for one, _ in values["label"]] == pytest.approx(expected, abs=5e-6)

    def test_a_folder_that_is_not_empty_is_refused(self, run, merged):
        with pytest.raises(OutputError, match="exists and is not empty"):
            run.merge(merged)

    def test_a_path_below_a_file_is_refused(self, run, tmp_path):
        (tmp_path / "file").write_text("")
        with pytest.raises(OutputError, match="cannot be written"):
            run.merge(tmp_path / "file" / "model")


def test_a_written_table_can_be_predicted_again(run, papers, tmp_path):
    rows = [without(row, "label", "Keywords") for row in papers(3)]
    write_table(run.predict(rows, columns="all"), tmp_path / "first.csv")
    assert run.predict(tmp_path / "first.csv").columns[:3] == ["uuid", "label", "Keywords"]


@pytest.mark.parametrize("precision", ["auto", "fp32", "int8"])
def test_the_precision_is_known_before_the_weights_are_loaded(run, precision):
    assert run.settled_precision(precision) == run.predictor(precision).precision_name


def test_prompts_that_fit_into_a_short_context_are_predicted_as_before(run, papers, tiny_folder, tmp_path):
    shutil.copytree(tiny_folder, tmp_path / "short")
    config = json.loads((tmp_path / "short" / "config.json").read_text())
    (tmp_path / "short" / "config.json").write_text(json.dumps({**config, "max_position_embeddings": 200}))
    short = papertune.load_run(run.directory.path, base=tmp_path / "short")
    with pytest.warns(PapertuneWarning, match='"Keywords" takes up to 12 tokens more, .* truncated to 188 tokens'):
        got = short.predict(papers(3), probabilities=True, precision="fp32")
    assert got.equals(run.predict(papers(3), probabilities=True, precision="fp32"))
    long = [{**papers(1)[0], "abstract": "heart " * 300}]
    with pytest.warns(PapertuneWarning, match="1 document has more than 188 tokens; only the beginning is read"):
        short.predict(long, precision="fp32")

"""Comparisons on the tiny model: the scores, what a system may see, and how a stopped comparison is resumed."""

import json
import re
import shutil
import sys
from dataclasses import replace
from pathlib import Path

import pytest

from papertune import OutputError, PapertuneWarning, RecipeError, RunError, TableError, compare, evaluate, read_table
from papertune.evaluation.predictions import predictions_of_values, score_predictions
from papertune.evaluation.systems.outputs import NotMeasured, SystemOutput
from papertune.events import SILENT
from papertune.inference.predict import predict_rows
from papertune.inference.predictor import Predictor
from papertune.kinds.predictions import Predictions
from papertune.models import find_base, load_own_llama, load_tokenizer
from papertune.models.sentence_encoder import find_encoder
from papertune.pipelines.comparison import base_model as base_systems
from papertune.pipelines.comparison.base_model import BaseModelSystems, without_answers
from papertune.pipelines.comparison.kept import FORMAT, KeptOutputs
from papertune.pipelines.comparison.learning_curve import curve_steps, read_curve, subset
from papertune.pipelines.comparison.prepare import check_curve_point, check_trainings, open_run, prepare_comparison
from papertune.prompts.examples import RowReader
from papertune.recipe import load_recipe


@pytest.fixture(scope="module")
def train_rows(papers):
    return papers(16)


@pytest.fixture(scope="module")
def test_rows(papers):
    return papers(8, 200)


@pytest.fixture(scope="module", autouse=True)
def _no_packages_from_the_hub():
    """Hide SetFit and KeyBERT, if they are installed."""
    with pytest.MonkeyPatch.context() as patch:
        for name in ("setfit", "keybert"):
            patch.setitem(sys.modules, name, None)
        yield


@pytest.fixture(scope="module")
def folder(tmp_path_factory):
    return tmp_path_factory.mktemp("comparisons") / "report"


@pytest.fixture(scope="module")
def comparison_listener(make_listener):
    """Return the listener of `report`."""
    return make_listener()


@pytest.fixture(scope="module")
def report(run, train_rows, test_rows, both_columns, folder, comparison_listener):
    """Return the report of a run and all other systems, with a learning curve of two points."""
    options = {"run": run, "curve": [6, "all"], "listener": comparison_listener}
    return compare(train_rows, test_rows, both_columns, folder, **options)


@pytest.fixture
def _bare_report(monkeypatch):
    """Skip slow parts that are not tested here: plots, leaks, label errors."""
    monkeypatch.setattr("papertune.evaluation.report.writing.page", lambda report: "")
    monkeypatch.setattr("papertune.pipelines.comparison.report_parts.find_leaks", lambda *_: None)
    monkeypatch.setattr("papertune.pipelines.comparison.compare.with_rows_to_look_at", lambda column, *_: column)


def column(report, name):
    return next(column for column in report.columns if column.name == name)


def system(report, name, title):
    return next(each for each in column(report, name).systems if each.name.startswith(title))


def kept_outputs(folder: Path):
    """Return the predictions of the kept outputs, by file name."""
    files = sorted((folder / "contestants").glob("*.json"))
    return {file.name: json.loads(file.read_text("utf-8"))["predictions"] for file in files}


class TestSystems:
    def test_all_systems_are_listed_and_missing_ones_explained(self, report):
        def names(name):
            return [each.name.split("/")[0].strip() for each in column(report, name).systems]

        baselines = ["TF-IDF + logistic regression", "ELAS u4", "majority"]
        encoder = ["sentence encoder + logistic regression"] if find_encoder() else []
        assert names("label") == ["fine-tuned", "few-shot", "zero-shot", *encoder, "linear probe of", *baselines]
        pytest.importorskip("yake")
        assert names("Keywords") == ["fine-tuned", "few-shot", "zero-shot", "TF-IDF n-grams", "YAKE"]
        missing = "not measured: not installed: pip install 'papertune[compare]'"
        assert column(report, "label").facts["SetFit"] == missing
        assert column(report, "Keywords").facts["KeyBERT"] == missing

    def test_the_run_has_the_scores_of_evaluate(self, report, run, test_rows, train_rows, tmp_path):
        evaluated = evaluate(run, test_rows, tmp_path / "report", baselines=train_rows)
        for name in ("label", "Keywords"):
            for title in ("fine-tuned", "TF-IDF"):
                here, there = (system(each, name, title) for each in (report, evaluated))
                if name == "label":
                    assert here.paired == there.paired  # of the keywords, YAKE may be the best baseline here
                assert here.scores == there.scores
                assert here.trained_weights == there.trained_weights

    def test_zero_shot_uses_the_prompts_of_the_run(self, report, tiny_folder, test_rows, both_columns):
        recipe = load_recipe(both_columns)
        base = find_base(str(tiny_folder))
        model, tokenizer = load_own_llama(base, "auto"), load_tokenizer(base)
        for name in recipe.columns:
            asked = recipe.only((name,))
            predictor = Predictor(model, tokenizer, asked)
            reader = RowReader(read_table(test_rows), asked)
            values = predict_rows(predictor, reader, predictor.plan(reader, range(8))).values
            scores = score_predictions(predictions_of_values(values, asked), reader, asked, range(8))
            assert system(report, name, "zero-shot").scores == scores[name]

    def test_few_shot_reports_the_number_of_examples_and_a_prompt(self, report, test_rows):
        for name, question in (("label", "Is it medical? Answer 1 or 0."), ("Keywords", "List the keywords.")):
            few = system(report, name, "few-shot")
            assert "chosen among 2, 4, 8 on 8 held-out rows of list of rows" in few.note
            count = int(few.note.split()[0])
            assert few.prompt.count(question) == count + 1
            assert few.prompt.count("<|im_start|>assistant") == count + 1
            assert test_rows[0]["title"] in few.prompt.split("<|im_start|>user")[-1]

    def test_costs_are_reported(self, report, run):
        tuned = system(report, "label", "fine-tuned")
        assert tuned.training_s == run.manifest.seconds
        assert tuned.trained_weights == run.manifest.trained_weights
        for each in column(report, "label").systems:
            assert each.rows_per_s > 0
        for title in ("few-shot", "zero-shot", "majority"):
            assert system(report, "label", title).trained_weights == 0

    def test_all_other_systems_are_compared_with_the_best_baseline(self, report):
        for each in report.columns:
            without = [system.name for system in each.systems if system.paired is None]
            assert len(without) == 1
            assert without[0] in ("TF-IDF + logistic regression", "ELAS u4", "majority", "TF-IDF n-grams", "YAKE")

    def test_report_files_are_written_and_journals_removed(self, report, folder):
        plain = json.loads((folder / "report.json").read_text("utf-8"))
        assert {each["column"] for each in plain["contestants"]} == {"label", "Keywords"}
        assert (folder / "report.html").stat().st_size > 0
        assert not list((folder / "contestants").glob("*.journal"))


@pytest.mark.once
class TestLearningCurve:
    def test_the_last_point_of_the_curve_is_the_run(self, report):
        for name, measure in (("label", "accuracy"), ("Keywords", "f1_at_5")):
            curve = column(report, name).learning_curve
            assert [title.split()[0] for title in curve] == ["fine-tuned", "TF-IDF"]
            for title, points in curve.items():
                assert [point.rows for point in points] == [6, 16]
                assert points[-1].score == getattr(system(report, name, title).scores, measure)
                assert all(point.low <= point.score <= point.high for point in points)

    def test_each_point_of_the_curve_is_a_training(self, report, folder, train_rows):
        manifest = json.loads((folder / "curve" / "6-rows" / "run.json").read_text("utf-8"))
        assert manifest["tables"][0]["rows"] == 6
        assert manifest["tables"][0]["checksum"] == subset(read_table(train_rows), 6).checksum()

    @pytest.mark.usefixtures("_bare_report")
    def test_the_curve_of_a_screening_column_shows_average_precision(self, train_rows, test_rows, recipe, tmp_path):
        settings = ["columns.label.threshold=0.5", "training.max_steps=1"]
        report = compare(train_rows, test_rows, recipe, tmp_path, only=["label"], overrides=settings, curve=[6, "all"])
        label = column(report, "label")
        assert label.is_screening
        for title, points in label.learning_curve.items():
            scores = system(report, "label", title).scores
            assert points[-1].score == scores.average_precision != scores.accuracy
            interval = scores.average_precision_interval
            assert (points[-1].low, points[-1].high) == (interval.low, interval.high)

    def test_the_time_of_the_curve_is_reported_before_it(self, report, comparison_listener):
        messages = comparison_listener.messages
        assert "learning curve: 1 training, about 1 min at the pace of the run" in messages
        assert messages.index("label: TF-IDF + logistic regression") < messages.index("label: fine-tuned")

    def test_subsets_are_nested(self, train_rows):
        table = read_table(train_rows)
        ids = [set(subset(table, rows).column("uuid")) for rows in (2, 6, 16)]
        assert list(map(len, ids)) == [2, 6, 16]
        assert ids[0] < ids[1] < ids[2]

    def test_sizes_larger_than_the_table_mean_the_whole_table(self, train_rows):
        assert curve_steps([50, 6, "all", 6], read_table(train_rows)) == [6, 16]
        assert read_curve("50, 6,all") == [50, 6, "all"]

    @pytest.mark.parametrize("text", ["", "50,", "1", "-5", "many", "50;100", "5.5"])
    def test_an_invalid_size_is_refused(self, text):
        with pytest.raises(
            TableError, match=r'--curve: ".*" is not a number of rows, at least 2\. Write .* 50,100,all'
        ):
            read_curve(text)


@pytest.mark.once
class TestNothingLeaks:
    @pytest.mark.usefixtures("_bare_report")
    def test_gold_cells_of_the_test_table_change_no_output(
        self, report, folder, run, train_rows, test_rows, both_columns, tmp_path
    ):
        answers = {name: [row[name] for row in test_rows] for name in ("label", "Keywords")}
        turned = [
            {**row, **{name: cells[(n + 1) % len(test_rows)] for name, cells in answers.items()}}
            for n, row in enumerate(test_rows)
        ]
        other = compare(train_rows, turned, both_columns, tmp_path / "report", run=run)
        others = kept_outputs(tmp_path / "report")
        answers = kept_outputs(folder)
        curve_files = [name for name in answers if name not in others]
        assert others == {name: kept for name, kept in answers.items() if name not in curve_files}
        assert len(curve_files) == 2
        assert all("--fine-tuned" in name for name in curve_files)
        assert system(other, "label", "fine-tuned").scores != system(report, "label", "fine-tuned").scores

    def test_systems_see_documents_without_gold_cells(self, test_rows, both_columns):
        recipe = load_recipe(both_columns)
        seen = without_answers(read_table(test_rows), recipe)
        assert seen.columns == ["uuid", "title", "abstract"]
        entries = [{"instruction": "Is it medical? Answer 1 or 0.", "input": "heart", "output": "1"}]
        assert without_answers(read_table(entries), recipe).column("output") == [""]

    def test_the_training_table_cannot_be_the_test_table(self, train_rows, both_columns, tmp_path):
        with pytest.raises(TableError, match="list of rows is also the training table"):
            compare(train_rows, list(train_rows), both_columns, tmp_path / "report")

    def test_a_run_is_not_scored_on_its_training_table(self, run, train_rows, papers, both_columns, tmp_path):
        with pytest.raises(RunError, match="was trained on list of rows, so its scores"):
            compare(papers(4, 100), train_rows, both_columns, tmp_path / "report", run=run)


@pytest.mark.once
@pytest.mark.usefixtures("_bare_report")
class TestResuming:
    SETTINGS = ("training.max_steps=3", "training.save_steps=1")

    @pytest.fixture
    def asked(self, monkeypatch):
        """Return the batches that go through a model; a test can stop before one of them."""

        class Asked(list):
            stop_at = None

        asked, answer = Asked(), Predictor.answer

        def counting(self, reader, rows, *encoded):
            if len(asked) == asked.stop_at:
                raise KeyboardInterrupt
            asked.append(list(rows))
            return answer(self, reader, rows, *encoded)

        monkeypatch.setattr(Predictor, "answer", counting)
        # Small batches, so that a system has several.
        monkeypatch.setattr("papertune.inference.predictor.batch_tokens", lambda device: 256)
        return asked

    @pytest.fixture
    def stopping(self, make_listener):
        """Return a listener that interrupts the training of the run."""

        def stop(step):
            if step.done >= 2:
                raise KeyboardInterrupt

        return make_listener(on_training=stop)

    def compare(self, rows, recipe, folder, **options):
        return compare(*rows, recipe, folder, only=["label"], overrides=self.SETTINGS, **options)

    def test_finished_work_is_not_repeated(self, asked, stopping, train_rows, test_rows, both_columns, tmp_path):
        rows = train_rows, test_rows
        undisturbed = self.compare(rows, both_columns, tmp_path / "undisturbed")
        whole = len(asked)
        asked.clear()
        with pytest.raises(KeyboardInterrupt):
            self.compare(rows, both_columns, tmp_path / "stopped", listener=stopping)
        assert asked == []  # training comes first
        batches = 0
        for stop_at in (3, whole // 2):
            asked.stop_at = stop_at - batches
            with pytest.raises(KeyboardInterrupt):
                self.compare(rows, both_columns, tmp_path / "stopped")
            batches += len(asked)
            asked.clear()
        asked.stop_at = None
        assert not (tmp_path / "stopped" / "report.json").exists()
        report = self.compare(rows, both_columns, tmp_path / "stopped")
        assert batches + len(asked) == whole
        assert kept_outputs(tmp_path / "stopped") == kept_outputs(tmp_path / "undisturbed")
        assert [each.scores for each in column(report, "label").systems] == [
            each.scores for each in column(undisturbed, "label").systems
        ]
        asked.clear()
        again = self.compare(rows, both_columns, tmp_path / "stopped", overwrite=True)
        assert asked == []
        assert column(again, "label").systems == column(report, "label").systems

    def test_another_recipe_needs_another_folder(self, asked, stopping, train_rows, test_rows, recipe, tmp_path):
        with pytest.raises(KeyboardInterrupt):
            self.compare((train_rows, test_rows), recipe, tmp_path / "report", listener=stopping)
        recipe["columns"]["label"]["question"] = "Medical, 1 or 0?"
        with pytest.raises(OutputError, match=r"begun here \(columns\.label\.question: "):
            self.compare((train_rows, test_rows), recipe, tmp_path / "report")
        assert asked == []


@pytest.mark.once
class TestFewShot:
    @pytest.fixture
    def few_shot(self, both_columns, test_rows, tmp_path):
        """Return a function that predicts with the base model and examples from some rows."""
        recipe = load_recipe(both_columns)
        documents = without_answers(read_table(test_rows), recipe)
        kept = KeptOutputs(tmp_path / "contestants", SILENT)
        model = BaseModelSystems(recipe, documents, kept, device="cpu", base=None, listener=SILENT)
        return lambda rows: model.few_shot("label", read_table(rows))

    def test_few_shot_without_room_for_an_example_is_not_measured(self, few_shot, train_rows, monkeypatch):
        monkeypatch.setattr(base_systems, "context_tokens", lambda model: 60)
        with pytest.raises(NotMeasured, match="no example fits into the model's context of 60 tokens"):
            few_shot(train_rows)

    def test_examples_that_exceed_the_context_are_left_out(self, few_shot, train_rows, monkeypatch):
        monkeypatch.setattr(base_systems, "context_tokens", lambda model: 300)
        monkeypatch.setattr(base_systems, "NUMBERS_OF_EXAMPLES", (8,))
        note = (
            r"8 examples before each question, fewer before \d of 8 because of the model's context; chosen among 8 on "
        )
        assert re.match(note, few_shot(train_rows).note)

    def test_with_two_training_rows_the_number_of_examples_is_not_chosen(self, few_shot, train_rows):
        assert few_shot(train_rows[:2]).note == "2 examples before each question"


@pytest.mark.once
class TestKeptOutputs:
    OUTPUT = SystemOutput(Predictions(["1", ""], [[0.1, 0.9], []], [[0.2, 0.8], []]), 1.5)

    def test_an_output_is_made_once(self, listener, tmp_path):
        kept = KeptOutputs(tmp_path / "kept", listener)
        for facts in ({"rows": 1}, {"rows": 1}, {"rows": 2}):
            assert kept.get("label: zero-shot", facts, lambda _: self.OUTPUT) == self.OUTPUT
        assert listener.messages == ["label: zero-shot"] * 2

    def test_a_damaged_file_is_made_again(self, tmp_path):
        kept = KeptOutputs(tmp_path, SILENT)
        kept.get("a", {}, lambda _: self.OUTPUT)
        (file,) = tmp_path.iterdir()
        for damaged in ('{"predictions": {"cells": ["1"', '{"cells": []}', "[]"):
            file.write_text(damaged)
            assert kept.get("a", {}, lambda _: self.OUTPUT) == self.OUTPUT
            assert json.loads(file.read_text()) == {"format": FORMAT, **self.OUTPUT.as_dict()}

    @pytest.mark.parametrize("older", [{}, {"format": 1}])
    def test_an_output_of_another_format_is_made_again_and_reported(self, listener, tmp_path, older):
        kept = KeptOutputs(tmp_path, listener)
        kept.get("label: zero-shot", {}, lambda _: self.OUTPUT)
        (file,) = tmp_path.iterdir()
        file.write_text(json.dumps({**older, "predictions": {"cells": ["1", "1"]}}))
        assert kept.get("label: zero-shot", {}, lambda _: self.OUTPUT) == self.OUTPUT
        again = "label: zero-shot: done again, since the kept output is from another version of papertune"
        assert listener.messages == ["label: zero-shot", again]
        assert kept.get("label: zero-shot", {}, None) == self.OUTPUT

    def test_titles_become_safe_file_names(self, tmp_path):
        kept = KeptOutputs(tmp_path, SILENT)
        for title in ("../label: x/y", "标签: few-shot", "a" * 500):
            kept.get(title, {}, lambda _: self.OUTPUT)
        assert len(list(tmp_path.glob("*.json"))) == 3

    def test_a_folder_that_cannot_be_made_is_reported(self, tmp_path):
        (tmp_path / "file").write_text("")
        kept = KeptOutputs(tmp_path / "file" / "kept", SILENT)
        with pytest.raises(OutputError, match=r"kept cannot be written: .*free some space or choose another folder"):
            kept.get("a", {}, lambda _: self.OUTPUT)


@pytest.mark.once
class TestErrors:
    def test_an_existing_report_is_refused(self, report, folder, train_rows, test_rows, both_columns):
        with pytest.raises(OutputError, match=r"already holds a report\. Add --overwrite to replace it"):
            compare(train_rows, test_rows, both_columns, folder)

    def test_problems_of_both_tables_are_reported_together(self, train_rows, test_rows, both_columns, tmp_path):
        wrong = [{**train_rows[0], "label": ""}, *train_rows[1:]], [{**test_rows[0], "label": "7"}, *test_rows[1:]]
        with pytest.raises(TableError, match=r"(?s)2 problems.*the cell is empty.*\"7\" is not one of the 2 labels"):
            compare(*wrong, both_columns, tmp_path / "report")
        assert not (tmp_path / "report").exists()

    def test_an_unknown_column_in_only_is_refused(self, train_rows, test_rows, both_columns, tmp_path):
        with pytest.raises(RecipeError, match="--only topic: the recipe has no such column"):
            compare(train_rows, test_rows, both_columns, tmp_path / "report", only=["topic"])

    def test_a_column_without_gold_training_cells_is_refused(self, train_rows, test_rows, both_columns, tmp_path):
        without = [{**row, "Keywords": ""} for row in train_rows]
        message = 'has nothing to learn for the column "Keywords". Leave it out with --only label'
        with pytest.raises(TableError, match=message):
            compare(without, test_rows, both_columns, tmp_path / "report")

    def test_a_column_without_gold_test_cells_is_left_out(self, train_rows, test_rows, both_columns):
        without = [{name: cell for name, cell in row.items() if name != "Keywords"} for row in test_rows]
        with pytest.warns(PapertuneWarning) as caught:
            comparison = prepare_comparison(train_rows, without, both_columns, (), ())
        assert any('has no answer for "Keywords", so this column is neither' in str(each.message) for each in caught)
        assert list(comparison.recipe.columns) == ["label"]

    def test_thresholds_without_dev_rows_are_refused(self, train_rows, test_rows, papers, recipe, tmp_path):
        topics = {
            "kind": "labels",
            "sources": ["model"],
            "question": "About {label}?",
            "labels": ["heart", "brain"],
            "thresholds": "f1",
        }
        recipe["columns"]["topics"] = topics
        rows = [
            [{**row, "topics": ("heart", "brain")[n % 2]} for n, row in enumerate(rows)]
            for rows in (train_rows, test_rows)
        ]
        message = r'columns.topics.thresholds is "f1": .* and there are none\. Add --dev DEV, .* -r RUN/recipe.toml'
        with pytest.raises(RecipeError, match=message):
            compare(*rows, recipe, tmp_path / "report", only=["topics"])
        assert not (tmp_path / "report").exists()
        # With a finished run nothing is trained, except for a curve.
        prepared = prepare_comparison(*rows, recipe, ("topics",), ())
        check_trainings([], prepared, None)
        with pytest.raises(RecipeError, match=message):
            check_trainings([subset(prepared.train, 6)], prepared, None)
        dev = [{**row, "topics": "heart"} for row in papers(4, 300)]
        check_trainings([prepared.train], prepare_comparison(*rows, recipe, ("topics",), (), dev), None)

    def test_invalid_training_settings_are_refused_before_any_work(self, train_rows, test_rows, both_columns, tmp_path):
        changes = ['training.report_to=["no such tracker"]']
        with pytest.raises(RecipeError, match="no such tracker"):
            compare(train_rows, test_rows, both_columns, tmp_path / "report", overrides=changes)
        assert not (tmp_path / "report").exists()

    def test_a_part_of_the_curve_without_gold_cells_is_refused(self, train_rows, test_rows, both_columns, tmp_path):
        known = subset(read_table(train_rows), 6).column("uuid")
        rows = [{**row, "Keywords": "" if row["uuid"] in known else row["Keywords"]} for row in train_rows]
        message = (
            r'--curve: 6 rows of list of rows, drawn at random, have nothing .*"Keywords"\. Begin the curve with more'
        )
        with pytest.raises(TableError, match=message):
            compare(rows, test_rows, both_columns, tmp_path / "report", curve=[6, "all"])
        assert not (tmp_path / "report").exists()

    def test_an_instruction_file_with_a_labels_column_is_refused(self, test_rows, recipe, tmp_path):
        recipe["columns"]["topics"] = {
            "kind": "labels",
            "sources": ["model"],
            "question": "About {label}?",
            "labels": ["heart", "brain"],
        }
        rows = [{**row, "topics": "heart"} for row in test_rows]
        entries = [
            {"instruction": f"About {label}?", "input": "t", "output": "yes"}
            for label in ("heart", "brain")
            for _ in "12"
        ]
        message = (
            r'list of rows is an instruction file, whose rows ask about one label of "topics" each.*'
            "Give a table with a column topics, or leave it out with --only label --only Keywords"
        )
        for tables in ((rows, entries), (entries, rows)):
            with pytest.raises(TableError, match=message):
                compare(*tables, recipe, tmp_path / "report")
        others = [{"instruction": "Is it medical? Answer 1 or 0.", "input": "heart", "output": label} for label in "10"]
        with pytest.warns(PapertuneWarning, match='has no answer for "topics"'):
            prepared = prepare_comparison(rows, others, recipe, ("label", "topics"), ())
        assert list(prepared.recipe.columns) == ["label"]

    def test_a_test_table_without_gold_cells_is_refused(self, train_rows, test_rows, both_columns, tmp_path):
        without = [{**row, "Keywords": ""} for row in test_rows]
        with pytest.raises(TableError, match="has no gold cell in Keywords"):
            compare(train_rows, without, both_columns, tmp_path / "report", only=["Keywords"])

    @pytest.mark.parametrize(
        ("change", "what"),
        [
            (lambda recipe: recipe["columns"]["label"].update(question="Medical?"), "columns.label"),
            (lambda recipe: recipe["columns"]["label"].update(labels=["0", "1"]), "columns.label"),
            (lambda recipe: recipe["table"].update(document="{title}"), "table"),
            (lambda recipe: recipe.update(layout="question-first", chat=False), "layout and another chat"),
            (lambda recipe: recipe.update(encoding={"max_prompt_tokens": 40}), "encoding"),
        ],
    )
    def test_a_run_with_other_prompts_is_refused(self, change, what, run, train_rows, test_rows, recipe, tmp_path):
        change(recipe)
        with pytest.raises(RunError, match=f"was trained with another {what} than the recipe has.* -r .*recipe.toml"):
            compare(train_rows, test_rows, recipe, tmp_path / "report", run=run, only=["label"])

    @pytest.mark.parametrize("named", ["recipe", "base", "same name"])
    def test_a_run_of_another_base_model_is_refused(
        self, named, run, train_rows, test_rows, recipe, make_model, tiny_tokenizer, tmp_path, monkeypatch
    ):
        other = tmp_path / "other"
        make_model(seed=7).save_pretrained(other)
        tiny_tokenizer.save_pretrained(other)
        base = other if named == "base" else None
        if named == "recipe":
            recipe["model"] = str(other)
        if named == "same name":  # the folder has other weights than it had when the run was trained
            monkeypatch.setattr(run, "manifest", replace(run.manifest, base_checksum="0" * 64))
        message = r"was trained on another model than that of the recipe: .*tiny, whose weights are not those of .*"
        with pytest.raises(RunError, match=message + r"Give its own recipe: -r .*recipe\.toml, and --base if"):
            compare(train_rows, test_rows, recipe, tmp_path / "report", run=run, base=base)

    def test_a_base_model_that_has_moved_is_the_same(self, run, train_rows, test_rows, recipe, tiny_folder, tmp_path):
        recipe["model"] = str(shutil.copytree(tiny_folder, tmp_path / "moved"))
        assert open_run(run, prepare_comparison(train_rows, test_rows, recipe, (), ()), None, None) is run

    def test_without_checksums_models_are_distinguished_by_name(self, run, train_rows, test_rows, recipe, monkeypatch):
        monkeypatch.setattr(run, "manifest", replace(run.manifest, base_checksum=None))
        assert open_run(run, prepare_comparison(train_rows, test_rows, recipe, (), ()), None, None) is run
        recipe["model"] = "some/model"
        with pytest.raises(RunError, match=r"another model than that of the recipe: .*not those of some/model"):
            open_run(run, prepare_comparison(train_rows, test_rows, recipe, (), ()), None, None)

    def test_a_run_with_other_settings_cannot_be_a_point_of_the_curve(
        self, run, train_rows, test_rows, recipe, tmp_path
    ):
        recipe["method"], recipe["training"]["epochs"] = {"rank": 8}, 2
        arguments = (train_rows, test_rows, recipe, tmp_path / "report")
        with pytest.raises(RunError, match=r"another method and another training than .*curve.* -r .*recipe\.toml"):
            compare(*arguments, run=run, curve=[6])
        assert open_run(run, prepare_comparison(*arguments[:3], (), ()), None, None) is run

    def test_a_curve_of_runs_with_and_without_dev_rows_is_warned_of(
        self, run, train_rows, test_rows, papers, both_columns, monkeypatch
    ):
        without, having = (
            prepare_comparison(train_rows, test_rows, both_columns, (), (), dev) for dev in (None, papers(4, 300))
        )
        check_curve_point(run, without)
        message = (
            r"/both was trained without dev rows, and the other runs of the learning curve with those of list of rows, "
            r"so its point differs from theirs by more than the number of rows: leave --dev out\."
        )
        with pytest.warns(PapertuneWarning, match=message):
            check_curve_point(run, having)
        monkeypatch.setattr(run, "manifest", replace(run.manifest, dev_score=0.5))
        check_curve_point(run, having)
        message = (
            r"with dev rows, and the other runs .* without any, so its point .*: give --dev a table of the same kind"
        )
        with pytest.warns(PapertuneWarning, match=message):
            check_curve_point(run, without)
        monkeypatch.setattr(run, "manifest", replace(run.manifest, tables=[]))  # as of an adopted adapter
        check_curve_point(run, without)

    def test_a_run_without_the_column_is_refused(self, run, train_rows, test_rows, recipe, tmp_path):
        recipe["columns"]["topic"] = {"kind": "label", "sources": ["model"], "question": "Topic?", "labels": ["1", "0"]}
        rows = [[{**row, "topic": row["label"]} for row in rows] for rows in (train_rows, test_rows)]
        with pytest.raises(RunError, match=r'has no column "topic"\. It has: label, Keywords\. Name these'):
            compare(*rows, recipe, tmp_path / "report", run=run)

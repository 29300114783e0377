import errno
import json
import os
import shutil
import signal

import polars as pl
import pytest
import torch
from safetensors.torch import load_file

import papertune
from papertune import ModelError, OutputError, PapertuneWarning, RecipeError, RunError, TableError, TrainingStopped
from papertune.run_directory import RunDirectory


@pytest.fixture
def train(recipe, tmp_path):
    """Return a function that trains with the recipe of the test."""

    def train(tables, name="run", **options):
        return papertune.train(tables, recipe, tmp_path / name, **options)

    return train


def weights(run):
    """Return the trained weights of a run by name."""
    folder = run.directory.adapter if run.directory.adapter.is_dir() else run.directory.model
    return {name: tensor for file in sorted(folder.glob("*.safetensors")) for name, tensor in load_file(file).items()}


def assert_same_weights(one, other):
    first, second = weights(one), weights(other)
    assert first.keys() == second.keys()
    assert [name for name in first if not torch.equal(first[name], second[name])] == []


def metrics(run, key):
    lines = run.directory.metrics.read_text("utf-8").splitlines()
    return {entry["step"]: entry[key] for entry in map(json.loads, lines) if key in entry}


def left_over(folder):
    return sorted(str(path.relative_to(folder)) for path in folder.rglob("*"))


@pytest.mark.once
class TestTables:
    def test_a_path_a_frame_and_a_list_of_dicts_are_learned_alike(self, train, papers, saved):
        rows = papers(8)
        runs = [
            train(table, str(n), only=["label"])
            for n, table in enumerate([rows, pl.DataFrame(rows), saved("p.csv", rows), [saved("p.jsonl", rows)]])
        ]
        for run in runs[1:]:
            assert_same_weights(runs[0], run)
        assert [run.manifest.tables[0].rows for run in runs] == [8] * 4
        assert len({run.manifest.tables[0].checksum for run in runs}) == 1

    def test_a_table_may_lack_a_column(self, train, papers, saved):
        labelled = saved("labelled.csv", [{k: v for k, v in row.items() if k != "Keywords"} for row in papers(6)])
        indexed = saved("indexed.csv", [{k: v for k, v in row.items() if k != "label"} for row in papers(4, 50)])
        with pytest.warns(PapertuneWarning) as caught:
            run = train([labelled, indexed])
        assert [str(warning.message) for warning in caught] == [
            f'{labelled} has no column "Keywords"; it is not learned from this table.',
            f'{indexed} has no column "label"; it is not learned from this table.',
        ]
        assert run.manifest.examples == 10
        assert [table.rows for table in run.manifest.tables] == [6, 4]
        assert run.manifest.label_counts == {"label": {"1": 3, "0": 3}}

    def test_problems_of_all_tables_are_reported_together(self, train, papers, saved, tmp_path):
        first, second = papers(3), papers(3, 50)
        first[0]["label"] = second[2]["label"] = "2"
        with pytest.raises(TableError) as caught:
            train([saved("a.csv", first), saved("b.csv", second)])
        message = str(caught.value)
        assert "2 problems" in message
        assert "a.csv, row 1" in message
        assert "b.csv, row 3" in message
        assert not (tmp_path / "run").exists()

    def test_a_column_without_gold_cells_is_refused(self, train, papers):
        rows = [{**row, "Keywords": ""} for row in papers(4)]
        with (
            pytest.warns(PapertuneWarning, match="4 cells are without keywords"),
            pytest.raises(TableError, match=r'anything to learn for the column "Keywords".*--only label'),
        ):
            train(rows)

    def test_an_empty_label_is_refused(self, train, papers):
        rows = papers(4)
        rows[1]["label"] = ""
        with pytest.raises(TableError, match='row 2, column "label": the cell is empty'):
            train(rows)

    def test_spreadsheet_floats_are_labels(self, train, papers):
        rows = [{**row, "label": f"{row['label']}.0"} for row in papers(4)]
        with pytest.warns(PapertuneWarning, match="4 cells are read as a label after tidying"):
            floats = train(rows, "floats", only=["label"])
        assert_same_weights(floats, train(papers(4), "texts", only=["label"]))

    def test_only_the_named_columns_are_learned(self, train, papers):
        run = train(papers(4), only=["label"])
        assert list(run.recipe.columns) == ["label"]
        assert list(papertune.load_run(run.directory.path).recipe.columns) == ["label"]
        with pytest.raises(RecipeError, match=r"--only lable: the recipe has no such column. It has: label, Keywords"):
            train(papers(4), "other", only=["lable"])


@pytest.mark.once
class TestErrorsLeaveNothingBehind:
    @pytest.mark.slow
    @pytest.mark.parametrize(
        ("overrides", "options", "error"),
        [
            (["model=no-such-model"], {}, ModelError),
            ([], {"device": "nonsense"}, ModelError),
            (['method.targets=["nothing"]'], {}, ModelError),
            (["method.start_from=nowhere"], {}, RunError),
            (['columns.label.labels=["1", "2"]'], {}, TableError),
            (["encoding.max_prompt_tokens=16"], {}, RecipeError),
            (["training.epochs=0"], {}, RecipeError),
            (["training.rate=1"], {}, RecipeError),
        ],
    )
    @pytest.mark.filterwarnings("ignore:.*no row has the label")
    def test_an_error_leaves_no_run_directory(self, train, papers, tmp_path, overrides, options, error):
        with pytest.raises(error):
            train(papers(4), overrides=overrides, **options)
        assert left_over(tmp_path) == []
        # The corrected command needs neither --resume nor a tidied folder.
        assert train(papers(4), only=["label"]).manifest.examples == 4

    def test_a_folder_that_is_in_use_is_refused(self, train, papers, tmp_path):
        (tmp_path / "run").mkdir()
        (tmp_path / "run" / "thesis.txt").write_text("mine")
        with pytest.raises(OutputError, match="exists and is not a run"):
            train(papers(4))
        assert left_over(tmp_path) == ["run", "run/thesis.txt"]
        (tmp_path / "file").write_text("mine")
        for name in ("file", "file/run"):
            with pytest.raises(OutputError, match="is not a folder"):
                train(papers(4), name)

    def test_a_finished_run_is_not_trained_again(self, train, papers):
        run = train(papers(4), only=["label"])
        with pytest.raises(OutputError, match="holds a finished run already"):
            train(papers(4), only=["label"])
        before = run.directory.weights_checksum()
        again = train(papers(4), only=["label"], resume=True)
        assert again.directory.weights_checksum() == before
        with pytest.raises(OutputError, match=r"begun here \(training\.seed: 0 before, now 7\)\. Resume it"):
            train(papers(4), only=["label"], resume=True, overrides=["training.seed=7"])


class TestDev:
    SPEC = (
        "training.epochs=3",
        "training.micro_batch_size=4",
        "training.save_steps=1",
        "training.learning_rate=0.05",
        "training.keep_checkpoints=1",
    )

    def test_the_checkpoint_with_the_best_score_becomes_the_run(self, train, papers):
        run = train(papers(8), dev=papers(12, 60), only=["label"], overrides=self.SPEC)
        scores = metrics(run, "score")
        assert list(scores) == list(range(1, 7))
        assert run.manifest.dev_score == max(scores.values())
        assert len(set(scores.values())) > 1
        best = next(step for step, score in scores.items() if score == max(scores.values()))
        checkpoint = load_file(run.directory.checkpoints / f"checkpoint-{best}" / "adapter_model.safetensors")
        for name, tensor in weights(run).items():
            assert torch.equal(tensor, checkpoint[name])

    def test_the_dev_score_is_that_of_the_finished_run(self, train, papers):
        from sklearn.metrics import average_precision_score, f1_score

        dev = papers(12, 60)
        run = train(papers(8), dev=dev, only=["label"], overrides=self.SPEC)
        predicted = run.predict(dev, precision="fp32", probabilities=True)
        gold = [row["label"] for row in dev]
        macro_f1 = f1_score(gold, predicted["label"].to_list(), average="macro")
        probabilities = [float(cell) for cell in predicted["label_probability_1"]]
        ranked = average_precision_score(gold, probabilities, pos_label="1")
        assert run.manifest.dev_score == pytest.approx((macro_f1 + ranked) / 2)

    def test_a_fraction_of_the_rows_becomes_dev_rows(self, train, papers):
        run = train(papers(20), dev_fraction=0.25, only=["label"])
        assert run.manifest.examples == 15
        assert run.manifest.tables[0].rows == 15
        assert sum(run.manifest.label_counts["label"].values()) == 15
        assert run.manifest.dev_score is not None

    def test_the_dev_score_is_the_mean_over_columns(self, train, papers):
        run = train(papers(8), dev=papers(4, 60))
        (line,) = [e for e in map(json.loads, run.directory.metrics.read_text().splitlines()) if "score" in e]
        label = (line["eval_label_macro_f1"] + line["eval_label_average_precision"]) / 2
        assert line["score"] == pytest.approx((label + line["eval_Keywords_f1_at_5"]) / 2)

    @pytest.mark.once
    def test_dev_rows_without_gold_cells_are_refused(self, train, papers, tmp_path):
        dev = [{**row, "Keywords": ""} for row in papers(4, 60)]
        with (
            pytest.warns(PapertuneWarning, match="without keywords"),
            pytest.raises(TableError, match="nothing can be scored"),
        ):
            train(papers(4), dev=dev, only=["Keywords"])
        assert left_over(tmp_path) == []

    def test_at_most_dev_rows_rows_are_scored(self, train, papers):
        run = train(papers(4), dev=papers(20, 60), only=["label"], overrides=["training.dev_rows=5"])
        (accuracy,) = metrics(run, "eval_label_accuracy").values()
        assert accuracy in {n / 5 for n in range(6)}


class TestMethods:
    @pytest.mark.slow
    @pytest.mark.once
    @pytest.mark.parametrize(
        "method",
        [
            {"kind": "full"},
            {"kind": "freeze", "layers": 1},
            {"kind": "lora", "rank": 2, "dora": True},
            {"kind": "lora", "rank": 2, "rslora": True, "targets": ["q_proj", "v_proj"]},
        ],
        ids=lambda method: "-".join(str(part) for part in method.values() if part is not True)[:20],
    )
    def test_the_run_of_each_method_predicts_the_same_when_opened_again(self, train, recipe, papers, tmp_path, method):
        recipe["method"] = method
        run = train(papers(8))
        new = [{k: row[k] for k in ("uuid", "title", "abstract")} for row in papers(5, 70)]
        filled = run.predict(new, probabilities=True, precision="fp32")
        assert filled["uuid"].to_list() == [row["uuid"] for row in new]
        shutil.rmtree(run.directory.checkpoints)
        assert papertune.load_run(run.directory.path).predict(new, probabilities=True, precision="fp32").equals(filled)
        # Training has changed the predictions.
        untrained = papertune.train(
            papers(8), {**recipe, "training": {**recipe["training"], "learning_rate": 1e-12}}, tmp_path / "untrained"
        )
        assert not untrained.predict(new, probabilities=True, precision="fp32").equals(filled)

    def test_a_whole_model_does_not_need_its_base(self, train, recipe, papers, tiny_folder, tmp_path):
        recipe["method"] = {"kind": "full"}
        recipe["model"] = str(shutil.copytree(tiny_folder, tmp_path / "base"))
        run = train(papers(4), only=["label"])
        shutil.rmtree(tmp_path / "base")
        assert len(papertune.load_run(run.directory.path).predict(papers(2))) == 2

    @pytest.mark.once
    def test_a_training_can_start_from_another_run(self, train, papers, tmp_path):
        first = train(papers(8), "first", only=["label"])
        no_change = ["training.learning_rate=1e-12", f"method.start_from={first.directory.path}"]
        second = train(papers(8), "second", only=["label"], overrides=no_change)
        for name, tensor in weights(first).items():
            torch.testing.assert_close(weights(second)[name], tensor, atol=1e-9, rtol=0)
        further = train(papers(8), "third", only=["label"], overrides=[no_change[1]])
        assert any(not torch.equal(tensor, weights(first)[name]) for name, tensor in weights(further).items())

    @pytest.mark.once
    def test_a_start_that_does_not_fit_is_refused(self, train, recipe, papers, make_model, tiny_tokenizer, tmp_path):
        whole = train(papers(4), "whole", only=["label"], overrides=['method={kind = "full"}'])
        with pytest.raises(RecipeError, match="holds a whole model, not an adapter"):
            train(papers(4), "run", only=["label"], overrides=[f"method.start_from={whole.directory.path}"])
        adapter = train(papers(4), "adapter", only=["label"])
        make_model(seed=1).save_pretrained(tmp_path / "other")
        tiny_tokenizer.save_pretrained(tmp_path / "other")
        recipe["model"] = str(tmp_path / "other")
        with pytest.raises(RecipeError, match="whose weights are not those of"):
            train(papers(4), "run", only=["label"], overrides=[f"method.start_from={adapter.directory.path}"])
        assert not (tmp_path / "run").exists()

    @pytest.mark.once
    def test_a_start_of_another_rank_is_refused(self, train, papers, tmp_path):
        first = train(papers(4), "first", only=["label"])
        options = [f"method.start_from={first.directory.path}", "method.rank=8"]
        with pytest.raises(RecipeError, match=r"method.rank is 8, but the adapter of .* has 4"):
            train(papers(4), "run", only=["label"], overrides=options)

    @pytest.mark.once
    def test_activation_checkpointing_does_not_change_the_weights(self, train, papers):
        plain = train(papers(6), "plain", only=["label"])
        frugal = train(papers(6), "frugal", only=["label"], overrides=["training.gradient_checkpointing=true"])
        for name, tensor in weights(plain).items():
            torch.testing.assert_close(weights(frugal)[name], tensor, atol=1e-6, rtol=1e-4)


@pytest.mark.once
class TestChance:
    @pytest.mark.slow
    def test_a_column_that_is_not_learned_is_reported_after_fifty_steps(self, train, papers):
        stand = "training.learning_rate=1e-12"
        train(papers(8), "few", only=["label"], overrides=[stand, "training.max_steps=49"])
        with pytest.warns(PapertuneWarning, match='column "label": the loss since step 31 is .* no better than chance'):
            run = train(papers(8), only=["label"], overrides=[stand, "training.max_steps=50"])
        lines = [json.loads(line) for line in run.directory.metrics.read_text().splitlines()]
        assert all(line["loss_label"] == pytest.approx(line["loss"]) for line in lines)

    def test_a_column_that_is_learned_is_not_reported(self, train, papers):
        train(papers(8), only=["label"], overrides=["training.learning_rate=0.01", "training.max_steps=50"])


@pytest.mark.once
class TestLabelWeights:
    def test_balanced_weights_equal_the_same_numbers(self, train, papers):
        rows = [{**row, "label": "1" if n < 6 else "0"} for n, row in enumerate(papers(8))]
        balanced = train(rows, "balanced", only=["label"], overrides=["columns.label.weights=balanced"])
        written = "columns.label.weights={1 = 0.6666666666666666, 0 = 2.0}"
        assert_same_weights(balanced, train(rows, "written", only=["label"], overrides=[written]))
        plain = train(rows, "plain", only=["label"])
        assert any(not torch.equal(tensor, weights(plain)[name]) for name, tensor in weights(balanced).items())


@pytest.fixture
def interrupting(make_listener):
    """Return a function that makes a listener, which does something after a training step."""
    return lambda number, act: make_listener(on_training=lambda step: act() if step.done == number else None)


SPEC = (
    "training.epochs=2",
    "training.micro_batch_size=1",
    "training.accumulation=2",
    "training.logging_steps=1",
    "method.dropout=0.2",
)


@pytest.fixture(scope="module")
def undisturbed(both_columns, papers, tmp_path_factory):
    folder = tmp_path_factory.mktemp("undisturbed") / "run"
    return papertune.train(papers(14), both_columns, folder, overrides=SPEC)


@pytest.mark.once
class TestResuming:
    # An epoch has 7 steps. The listener is called at the end of a step, so a signal stops the training after the next.
    @pytest.mark.slow
    @pytest.mark.parametrize(("step", "last"), [(1, 2), (5, 6), (7, 7), (10, 11)])
    def test_a_stopped_and_resumed_training_ends_like_an_uninterrupted_one(
        self, train, papers, undisturbed, interrupting, tmp_path, step, last
    ):
        stop = interrupting(step, lambda: os.kill(os.getpid(), signal.SIGTERM))
        with pytest.raises(TrainingStopped, match=f"stopped by SIGTERM after step {last}; a checkpoint") as caught:
            train(papers(14), overrides=SPEC, listener=stop)
        assert caught.value.signal == signal.SIGTERM
        assert signal.getsignal(signal.SIGTERM) == signal.SIG_DFL
        with pytest.raises(OutputError, match=r"holds an unfinished training\. Add --resume"):
            train(papers(14), overrides=SPEC)
        with pytest.raises(RunError, match="has not finished"):
            papertune.load_run(tmp_path / "run")
        run = train(papers(14), overrides=SPEC, resume=True)
        assert run.manifest.steps == undisturbed.manifest.steps == 14
        assert_same_weights(run, undisturbed)
        assert metrics(run, "loss") == metrics(undisturbed, "loss")

    def test_resuming_in_a_new_folder_starts_the_training(self, train, papers, undisturbed):
        assert_same_weights(train(papers(14), overrides=SPEC, resume=True), undisturbed)

    @pytest.mark.parametrize(
        ("what", "change"),
        [
            ("training.seed: 0 before, now 1", {"overrides": (*SPEC, "training.seed=1")}),
            ("training tables: other rows than before", {"tables": 15}),
            ("dev tables: 0 before, now 1", {"dev": 3}),
            ("model: other weights than before", {"base": "other"}),
        ],
    )
    def test_another_training_is_not_resumed(
        self, train, papers, make_model, tiny_tokenizer, interrupting, tmp_path, what, change
    ):
        def stop():
            raise KeyboardInterrupt

        with pytest.raises(KeyboardInterrupt):
            train(papers(14), overrides=SPEC, listener=interrupting(3, stop))
        before = left_over(tmp_path / "run")
        if "base" in change:
            make_model(seed=1).save_pretrained(tmp_path / "other")
            tiny_tokenizer.save_pretrained(tmp_path / "other")
            change = {"base": tmp_path / "other"}
        if "dev" in change:
            change = {"dev": papers(change["dev"], 60)}
        options = {"tables": 14, "overrides": SPEC, **change}
        with pytest.raises(OutputError, match=rf"begun here \({what}\)\. Resume it with"):
            train(papers(options.pop("tables")), resume=True, **options)
        assert left_over(tmp_path / "run") == before

    def test_a_training_killed_before_the_manifest_is_resumed(self, train, papers, undisturbed, monkeypatch, tmp_path):
        with monkeypatch.context() as patch:
            patch.setattr(RunDirectory, "finish", lambda *_: (_ for _ in ()).throw(KeyboardInterrupt))
            with pytest.raises(KeyboardInterrupt):
                train(papers(14), overrides=SPEC)
        # As if the kill had come while weights were written.
        (tmp_path / "run" / "adapter" / "adapter_model.safetensors").write_bytes(b"half")
        with pytest.raises(RunError, match="has not finished"):
            papertune.load_run(tmp_path / "run")
        run = train(papers(14), overrides=SPEC, resume=True)
        assert run.manifest.steps == 14
        assert_same_weights(run, undisturbed)

    def test_a_training_killed_before_its_plan_is_resumed(self, train, papers, tmp_path):
        (tmp_path / "run" / "training").mkdir(parents=True)
        (tmp_path / "run" / "training" / ".papertune-0123.tmp").write_text("{")
        assert train(papers(4), only=["label"], resume=True).manifest.examples == 4

    def test_a_training_killed_before_the_first_checkpoint_is_resumed(self, train, papers, undisturbed, interrupting):
        def stop():
            raise KeyboardInterrupt

        with pytest.raises(KeyboardInterrupt):
            train(papers(14), overrides=SPEC, listener=interrupting(2, stop))
        assert_same_weights(train(papers(14), overrides=SPEC, resume=True), undisturbed)

    def test_a_damaged_plan_is_refused(self, train, papers, tmp_path):
        (tmp_path / "run" / "training").mkdir(parents=True)
        for content in ("{", "[]", '{"recipe": ""}'):
            (tmp_path / "run" / "training" / "plan.json").write_text(content)
            with pytest.raises(OutputError, match=r"plan\.json is damaged"):
                train(papers(4), only=["label"], resume=True)


@pytest.mark.once
class TestFullDisk:
    @pytest.mark.parametrize(
        "error",
        [
            OSError(errno.ENOSPC, os.strerror(errno.ENOSPC)),
            RuntimeError("[enforce fail at inline_container.cc:672] unexpected pos 512 vs 406"),
        ],
    )
    def test_a_full_disk_is_reported_and_the_training_resumed(self, train, papers, undisturbed, monkeypatch, error):
        def save(*_, **__):
            raise error

        usage = shutil.disk_usage("/")
        with monkeypatch.context() as patched:
            patched.setattr(torch, "save", save)
            patched.setattr(shutil, "disk_usage", lambda _: usage._replace(free=0))
            with pytest.raises(OutputError, match=r"run: the disk is full\. .* make room, then add --resume"):
                train(papers(14), overrides=SPEC)
        assert_same_weights(train(papers(14), overrides=SPEC, resume=True), undisturbed)

    def test_another_error_is_raised_unchanged(self, train, papers, monkeypatch):
        def save(*_, **__):
            raise RuntimeError("something else")

        monkeypatch.setattr(torch, "save", save)
        with pytest.raises(RuntimeError, match="something else"):
            train(papers(14), overrides=SPEC)

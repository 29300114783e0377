"""Label columns answered by several sources, from training to report, on the tiny model."""

import json
import math
import shutil

import polars as pl
import pytest

import papertune
from papertune import MissingExtraError, RecipeError, TableError
from papertune.kinds.label.join_words import join_in_words
from papertune.pipelines.calibrate import calibrate
from papertune.pipelines.comparison.compare import compare
from papertune.pipelines.evaluate import evaluate


def make_recipe(tiny_folder, *, method=None, **label):
    label = {"kind": "label", "question": "Is it medical? Answer 1 or 0.", "labels": ["1", "0"], **label}
    return {
        "model": str(tiny_folder),
        "table": {"id": "uuid", "document": "title: {title}\nabstract: {abstract}"},
        "columns": {"label": label},
        "method": method or {"kind": "lora", "rank": 4},
        "training": {"precision": "fp32", "micro_batch_size": 4, "warmup_steps": 1, "learning_rate": 0.01},
    }


def with_words(rows):
    """Make the label depend on a word, which the untrained tiny model does not see."""
    return [{**row, "title": f"{row['title']} {'clinic' if row['label'] == '1' else 'lattice'}"} for row in rows]


@pytest.fixture(scope="module")
def rows(papers):
    return with_words(papers(60))


@pytest.fixture(scope="module")
def dev(papers):
    return with_words(papers(70, 100))


@pytest.fixture(scope="module")
def new(papers):
    return with_words(papers(40, 300))


@pytest.fixture(scope="module")
def words_run(tiny_folder, rows, tmp_path_factory):
    """A run that words alone answer; no model is trained."""
    return papertune.train(rows, make_recipe(tiny_folder, sources=["words"]), tmp_path_factory.mktemp("runs") / "words")


@pytest.fixture(scope="module")
def joined_run(tiny_folder, rows, dev, tmp_path_factory):
    """A run with words and a model; on its dev rows the model has learned hardly anything."""
    folder = tmp_path_factory.mktemp("runs") / "joined"
    return papertune.train(rows, make_recipe(tiny_folder, sources=["words", "model"]), folder, dev=dev)


def give_the_model_a_weight(run, folder):
    """Copy a run, and join words and model half and half, whatever the dev rows say."""
    shutil.copytree(run.directory.path, folder)
    manifest = json.loads((folder / "run.json").read_text())
    manifest["joins"]["label"]["weights"] = {"words": 0.5, "model": 0.5}
    (folder / "run.json").write_text(json.dumps(manifest))
    return papertune.load_run(folder)


@pytest.mark.once
class TestWords:
    def test_no_model_is_trained_or_loaded(self, words_run, new, monkeypatch):
        directory = words_run.directory
        assert not directory.adapter.exists()
        assert not directory.tokenizer.exists()
        assert not words_run.asks_model()
        monkeypatch.setattr("papertune.run.model.find_base", None)  # the base model need not be there
        filled = papertune.load_run(directory.path).predict(new)
        assert filled["label"].to_list() == [row["label"] for row in new]

    def test_there_is_no_model_to_merge(self, words_run, tmp_path):
        with pytest.raises(papertune.RunError, match='has no trained model: words or other sources answer "label"'):
            words_run.merge(tmp_path / "merged")

    def test_the_run_says_what_answers(self, words_run):
        join = words_run.joins["label"]
        assert join.used == ["words"]
        assert join.losses["joined"] < 0.4
        assert "label: answered by words alone; log-loss" in (words_run.directory.path / "README.md").read_text()
        assert not any(path.suffix in (".pkl", ".pickle", ".joblib") for path in words_run.directory.path.rglob("*"))

    def test_probabilities_are_calibrated_on_held_out_training_rows(self, words_run):
        record = words_run.manifest.calibration["label"]
        assert record.rows == 60
        assert record.calibrator == {"kind": "temperature", "temperature": 1.0}  # the weights have the scale

    def test_rows_that_the_weights_have_not_seen_fit_a_temperature(self, words_run, papers, tmp_path):
        folder = shutil.copytree(words_run.directory.path, tmp_path / "run")
        rows = with_words(papers(40, 500))
        for row in rows[::4]:
            row["label"] = "1" if row["label"] == "0" else "0"  # so that it was too sure
        again = papertune.calibrate(papertune.load_run(folder), rows)
        assert again.manifest.calibration["label"].calibrator["temperature"] > 1.2

    def test_a_stopped_prediction_resumes_to_the_same_bytes(self, words_run, papers, tmp_path, make_listener):
        table = with_words(papers(100, 300))
        words_run.predict_file(table, tmp_path / "whole.csv", probabilities=True)

        def stop(_step):
            raise KeyboardInterrupt

        with pytest.raises(KeyboardInterrupt):
            words_run.predict_file(
                table, tmp_path / "part.csv", probabilities=True, listener=make_listener(on_rows=stop)
            )
        again = make_listener()
        predicted = words_run.predict_file(table, tmp_path / "part.csv", probabilities=True, listener=again)
        assert (tmp_path / "part.csv").read_bytes() == (tmp_path / "whole.csv").read_bytes()
        assert again.messages == ["resuming: 32 of 100 rows are finished"]
        assert predicted.rows_begun == 100

    def test_other_weights_begin_another_journal(self, words_run, new, tmp_path, make_listener):
        def stop(_step):
            raise KeyboardInterrupt

        with pytest.raises(KeyboardInterrupt):
            words_run.predict_file(new, tmp_path / "out.csv", listener=make_listener(on_rows=stop))
        other = tmp_path / "other"
        shutil.copytree(words_run.directory.path, other)
        text = (other / "run.json").read_text()
        weight = words_run.joins["label"].weights["words"]
        (other / "run.json").write_text(text.replace(str(weight), str(weight + 0.5)))
        with pytest.raises(papertune.OutputError):
            papertune.load_run(other).predict_file(new, tmp_path / "out.csv")


class TestModelAndWords:
    def test_a_merged_model_is_only_the_model(self, joined_run, tmp_path):
        with pytest.warns(
            papertune.PapertuneWarning, match="the merged model answers as the fine-tuned model alone does"
        ):
            joined_run.merge(tmp_path / "merged")

    def test_a_model_that_adds_nothing_is_trained_but_not_loaded(self, joined_run, new):
        join = joined_run.joins["label"]
        assert joined_run.directory.adapter.is_dir()
        assert join.weights["model"] == 0
        assert (join.evidence, join.rows) == ("dev rows", 70)
        opened = papertune.load_run(joined_run.directory.path)
        assert opened.predict(new)["label"].to_list() == [row["label"] for row in new]
        assert opened._predictor is None

    def test_the_join_is_the_weighted_product(self, joined_run, new, tmp_path):
        run = give_the_model_a_weight(joined_run, tmp_path / "half")
        asked = run.predict(new, probabilities=True)
        join = run.joins["label"]
        model = values_of(run.model_predictor(), run, new)
        words = run.label_sources.log_probabilities(documents(run, new), {"label": ["words"]})["label"]["words"]
        product = [
            [m**0.5 * 2.718281828459045 ** (0.5 * w + offset) for m, w, offset in zip(*each, join.offsets, strict=True)]
            for each in zip(model, words.tolist(), strict=True)
        ]
        expected = [row[0] / sum(row) for row in product]
        decision = run.decisions["label"]
        raw = values_of(run.predictor(), run, new)
        assert [row[0] for row in raw] == pytest.approx(expected, abs=1e-6)
        calibrated = decision.calibrated(pl.DataFrame(raw, orient="row").to_numpy())[:, 0]
        assert asked["label_probability_1"].cast(pl.Float64).to_list() == pytest.approx(calibrated.tolist(), abs=1e-6)

    def test_calibration_on_other_rows_weighs_the_model_again(self, joined_run, papers, tmp_path, listener):
        folder = tmp_path / "again"
        shutil.copytree(joined_run.directory.path, folder)
        other = calibrate(folder, with_words(papers(50, 500)), listener=listener)
        assert other.joins["label"].rows == 50
        assert any(text.startswith("label: answered by words alone") for text in listener.messages)
        assert other.label_sources.plain_joins == joined_run.label_sources.plain_joins

    def test_dev_rows_that_are_split_off_teach_the_words_too(self, tiny_folder, rows, tmp_path):
        recipe = make_recipe(tiny_folder, sources=["words", "model"])
        recipe["training"]["dev_fraction"] = 0.4
        run = papertune.train(rows, recipe, tmp_path / "run")
        assert run.joins["label"].rows == 24
        assert run.label_sources.plain_joins["label"].rows == 60
        assert sum(note.rows for note in run.manifest.tables) == 36

    @pytest.mark.once
    def test_without_dev_rows_the_first_epoch_decides(self, tiny_folder, rows, tmp_path):
        run = papertune.train(rows, make_recipe(tiny_folder, sources=["words", "model"]), tmp_path / "run")
        join = run.joins["label"]
        assert join.evidence == "first epoch"
        assert join.losses["model"] > 1.25 * join.losses["without model"]
        assert join.weights["model"] == 0
        metrics = tmp_path / "run" / "metrics.jsonl"
        from papertune.calibration.joining import gather_evidence, join_sources

        others = join.losses["without model"]
        for share, weight in ((1.0, 0.5), (0.5, 0.8), (1.2, 1 / 2.44), (1.3, 0.0)):
            entries = [json.loads(line) | {"loss_label": share * others} for line in metrics.read_text().splitlines()]
            metrics.write_text("".join(f"{json.dumps(entry)}\n" for entry in entries))
            found = join_sources(run, gather_evidence(run, [], None))["label"]
            assert found.weights["model"] == pytest.approx(weight)
            assert ("joined" in found.losses) is (weight == 0)
            assert "label: answered by" in join_in_words("label", found)
            plain = run.label_sources.plain_joins["label"].weights["words"]
            assert found.weights["words"] == pytest.approx((1 - weight) * plain)

    def test_a_kill_before_the_sources_are_weighed_leaves_a_run_that_predicts(
        self, tiny_folder, rows, new, tmp_path, monkeypatch
    ):
        def kill(*_arguments, **_options):
            raise KeyboardInterrupt

        for sources, asks_model in ((["words"], False), (["words", "model"], True)):
            folder = tmp_path / str(asks_model)
            with monkeypatch.context() as patch:
                patch.setattr("papertune.pipelines.train.calibrate_run", kill)
                with pytest.raises(KeyboardInterrupt):
                    papertune.train(rows, make_recipe(tiny_folder, sources=sources), folder)
            assert papertune.load_run(folder).asks_model() is asks_model
            assert len(papertune.load_run(folder).predict(new)) == len(new)
            run = papertune.train(rows, make_recipe(tiny_folder, sources=sources), folder, resume=True)
            assert "words" in run.joins["label"].weights
            assert run.manifest.calibrated_in is not None

    @pytest.mark.once
    def test_a_killed_training_resumes_with_the_same_sources(self, tiny_folder, rows, tmp_path, make_listener):
        recipe = make_recipe(tiny_folder, sources=["words", "model"])

        def stop(_step):
            raise KeyboardInterrupt

        with pytest.raises(KeyboardInterrupt):
            papertune.train(rows, recipe, tmp_path / "run", listener=make_listener(on_training=stop))
        before = {path: path.read_bytes() for path in (tmp_path / "run" / "sources").rglob("*") if path.is_file()}
        again = make_listener()
        papertune.train(rows, recipe, tmp_path / "run", resume=True, listener=again)
        assert {path: path.read_bytes() for path in before} == before
        assert not any("fitting" in text for text in again.messages)


def documents(run, rows):
    from papertune.prompts.examples import RowReader
    from papertune.tables import read_table

    reader = RowReader(read_table(rows), run.recipe)
    return [reader.document(row) for row in range(len(rows))]


def values_of(predictor, run, rows):
    from papertune.inference.predict import predict_rows
    from papertune.prompts.examples import RowReader
    from papertune.tables import read_table

    reader = RowReader(read_table(rows), run.recipe)
    return predict_rows(predictor, reader, predictor.plan(reader, range(len(rows)))).values["label"].tolist()


@pytest.fixture
def workers_here(monkeypatch):
    """Let Ray's workers answer in this process, the last part first; what they are sent goes through its pickles."""
    ray = pytest.importorskip("ray")
    pa = pytest.importorskip("pyarrow")
    pytest.importorskip("ray.data")
    opened = []

    class Parts:
        def __init__(self, parts):
            self.parts = parts

        def map_batches(self, worker, *, fn_constructor_args, **_):
            opened.append(worker(*ray.cloudpickle.loads(ray.cloudpickle.dumps(fn_constructor_args))))
            return self

        def iter_batches(self, **_):
            return (pa.table(opened[-1](part)) for part in reversed(self.parts))

    monkeypatch.setattr("papertune.inference.processes.workers.connect_ray", lambda _: True)
    for name, replacement in {
        "cluster_resources": dict,
        "shutdown": lambda: None,
        "put": lambda value: value,
        "get": lambda value: value,
    }.items():
        monkeypatch.setattr(ray, name, replacement)
    monkeypatch.setattr(ray.data, "from_arrow", Parts)
    return opened


@pytest.mark.once
def test_workers_write_the_same_bytes_without_a_model(joined_run, workers_here, papers, tmp_path):
    """With Ray's own processes, and words and model: tests/flows/test_predict_workers.py."""
    table = tmp_path / "table.csv"
    pl.DataFrame(with_words(papers(70, 300))).write_csv(table)
    joined_run.predict_file(table, tmp_path / "1.csv", probabilities=True)
    joined_run.predict_file(table, tmp_path / "2.csv", probabilities=True, workers=2)
    assert len(workers_here) == 1
    assert (tmp_path / "1.csv").read_bytes() == (tmp_path / "2.csv").read_bytes()


@pytest.mark.once
class TestEncoder:
    def test_a_folder_with_an_encoder_is_a_source(self, tiny_folder, encoder_folder, rows, new, tmp_path):
        recipe = make_recipe(tiny_folder, sources=["words", "encoder"]) | {"encoder": str(encoder_folder)}
        run = papertune.train(rows, recipe, tmp_path / "run")
        assert set(run.joins["label"].weights) == {"words", "encoder"}
        one = papertune.train(
            rows,
            {**recipe, "columns": {"label": {**recipe["columns"]["label"], "sources": ["encoder"]}}},
            tmp_path / "one",
        )
        assert one.joins["label"].used == ["encoder"]
        assert len(one.predict(new)) == len(new)

    def test_another_encoder_is_an_error(self, tiny_folder, encoder_folder, rows, new, tmp_path):
        recipe = make_recipe(tiny_folder, sources=["encoder"]) | {"encoder": str(encoder_folder)}
        papertune.train(rows, recipe, tmp_path / "run")
        kept = tmp_path / "run" / "sources" / "encoder" / "encoder.json"
        kept.write_text(json.dumps({"name": "mine", "checksum": "0" * 64}))
        with pytest.raises(papertune.RunError, match="was trained with the sentence encoder mine with weights 0000"):
            papertune.load_run(tmp_path / "run").predict(new)


class TestSeveralLabels:
    @pytest.mark.once
    def test_each_label_has_a_join_of_its_own(self, tiny_folder, papers, tmp_path):
        labels = ["heart", "graph"]

        def topics(rows):
            return [
                {**row, "topics": "; ".join(each for each in labels if each in row["abstract"].split()[:9])}
                for row in rows
            ]

        recipe = make_recipe(tiny_folder)
        recipe["columns"] = {
            "topics": {
                "kind": "labels",
                "question": "About {label}?",
                "labels": labels,
                "sources": ["words"],
                "thresholds": "f1",
            }
        }
        run = papertune.train(topics(papers(80)), recipe, tmp_path / "run")
        assert set(run.joins) == {"topics: heart", "topics: graph"}
        assert isinstance(run.recipe.columns["topics"].thresholds, dict)  # chosen on held-out training rows
        new = topics(papers(40, 300))
        filled = run.predict(new, probabilities=True)
        right = sum(cell == row["topics"] for cell, row in zip(filled["topics"], new, strict=True))
        assert right > 25

    @pytest.mark.once
    def test_a_label_that_no_row_has_is_a_no(self, tiny_folder, rows, new, tmp_path):
        labels = ["heart", "never"]
        recipe = make_recipe(tiny_folder)
        recipe["columns"] = {
            "topics": {"kind": "labels", "question": "About {label}?", "labels": labels, "sources": ["words"]}
        }
        known = [{**row, "topics": "heart" if row["label"] == "1" else ""} for row in rows]
        with pytest.warns(papertune.PapertuneWarning, match="no row has the label 'never'"):
            run = papertune.train(known, recipe, tmp_path / "run")
        assert run.predict(new)["topics"].to_list() == ["heart" if row["label"] == "1" else "" for row in new]

    def test_columns_of_other_kinds_still_ask_the_model(self, tiny_folder, rows, new, tmp_path):
        recipe = make_recipe(tiny_folder, sources=["words"])
        recipe["columns"]["Keywords"] = {"kind": "keywords", "question": "Keywords?", "max_new_tokens": 8}
        run = papertune.train(rows, recipe, tmp_path / "run", overrides=["training.max_steps=3"])
        assert run.asks_model()
        filled = run.predict(new)
        assert filled["label"].to_list() == [row["label"] for row in new]
        assert "Keywords" in filled.columns
        opened = papertune.load_run(run.directory.path)
        only = opened.predict(new, columns=["uuid", "label"])
        assert only["label"].to_list() == filled["label"].to_list()
        assert opened._predictor is None  # this column needs no model


class TestProbe:
    def test_a_probe_needs_no_training(self, tiny_folder, rows, new, tmp_path):
        recipe = make_recipe(tiny_folder, method={"kind": "probe"}, sources=["probe"])
        run = papertune.train(rows, recipe, tmp_path / "run")
        assert not run.directory.has_model
        assert run.joins["label"].used == ["probe"]
        filled = run.predict(new)
        right = sum(cell == row["label"] for cell, row in zip(filled["label"], new, strict=True))
        assert right > 24

    def test_by_default_words_and_probe_are_joined(self, tiny_folder, rows, tmp_path, monkeypatch):
        monkeypatch.setattr("papertune.sources.wanted.find_encoder", lambda _name: None)
        run = papertune.train(rows, make_recipe(tiny_folder, method={"kind": "probe"}), tmp_path / "run")
        assert set(run.joins["label"].weights) == {"words", "probe"}

    @pytest.mark.once
    def test_generated_answers_need_another_method(self, tiny_folder, rows, tmp_path):
        recipe = make_recipe(tiny_folder, method={"kind": "probe"})
        recipe["columns"]["Keywords"] = {"kind": "keywords", "question": "Keywords?"}
        with pytest.raises(
            RecipeError, match=r'columns.Keywords: method.kind = "probe" trains no model, and only label'
        ):
            papertune.train(rows, recipe, tmp_path / "run")


class TestDecisions:
    def test_all_settings_of_a_label_column_work_on_joined_probabilities(self, tiny_folder, rows, dev, new, tmp_path):
        settings = {"weights": "balanced", "threshold": "f1", "abstain_for_accuracy": 0.99, "coverage": 0.9}
        recipe = make_recipe(tiny_folder, sources=["words", "model"], **settings)
        uneven = [row for row in rows if row["label"] == "0"] + [row for row in rows if row["label"] == "1"][:12]
        run = papertune.train(uneven, recipe, tmp_path / "run", dev=dev)
        record = run.manifest.calibration["label"]
        assert None not in (record.calibrator, record.threshold, record.abstain_below, record.set_threshold)
        filled = run.predict(new, probabilities=True)
        first = filled["label_probability_1"].cast(pl.Float64)
        for cell, labels, probability in zip(filled["label"], filled["label_set"], first, strict=True):
            chosen = "1" if probability >= record.threshold else "0"
            confidence = probability if chosen == "1" else 1 - probability
            assert cell == ("" if confidence < record.abstain_below - 1e-6 else chosen)
            assert labels in ("1", "0", "1; 0", "0; 1")

    @pytest.mark.once
    def test_class_weights_are_taken_out_of_the_loss_of_the_first_epoch(self, tiny_folder, rows, tmp_path):
        from papertune.calibration.joining import _without_class_weights

        uneven = [row for row in rows if row["label"] == "0"] + [row for row in rows if row["label"] == "1"][:10]
        recipe = make_recipe(tiny_folder, sources=["words", "model"], weights="balanced")
        run = papertune.train(uneven, recipe, tmp_path / "run")
        # Balanced weights make chance log 2; without them it is the entropy of 10 and 30 rows.
        entropy = -(0.25 * math.log(0.25) + 0.75 * math.log(0.75))
        assert _without_class_weights(run, "label", 40) == pytest.approx(entropy / math.log(2))


@pytest.mark.once
class TestMistakes:
    @pytest.mark.parametrize(
        ("sources", "message"),
        [
            ([], 'names no source; write for example \\["words", "model"\\]'),
            (["words", "words"], "names a source twice"),
            (["bert"], "sources.0 is 'bert'; allowed: 'words', 'model', 'probe' or 'encoder'"),
        ],
    )
    def test_sources_that_cannot_be(self, tiny_folder, rows, tmp_path, sources, message):
        with pytest.raises(RecipeError, match=message):
            papertune.train(rows, make_recipe(tiny_folder, sources=sources), tmp_path / "run")

    def test_an_encoder_that_is_not_installed(self, tiny_folder, rows, tmp_path, monkeypatch):
        monkeypatch.setattr("papertune.sources.wanted.find_encoder", lambda _name: None)
        with pytest.raises(
            MissingExtraError, match=r'columns.label.sources names "encoder", and no sentence encoder is'
        ):
            papertune.train(rows, make_recipe(tiny_folder, sources=["encoder"]), tmp_path / "run")

    def test_a_model_that_is_not_trained(self, tiny_folder, rows, tmp_path):
        recipe = make_recipe(tiny_folder, method={"kind": "probe"}, sources=["model"])
        with pytest.raises(
            RecipeError, match=r'columns.label.sources names "model", but method.kind = "probe" trains none'
        ):
            papertune.train(rows, recipe, tmp_path / "run")

    def test_too_few_rows(self, tiny_folder, rows, tmp_path):
        with pytest.raises(TableError, match='column "label": words need at least 8 rows with two different labels'):
            papertune.train(rows[:5], make_recipe(tiny_folder, sources=["words"]), tmp_path / "run")

    def test_too_few_rows_for_words_leave_the_model(self, tiny_folder, rows, tmp_path):
        run = papertune.train(rows[:5], make_recipe(tiny_folder, sources=["words", "model"]), tmp_path / "run")
        assert run.joins == {}
        assert run.asks_model()

    def test_damaged_sources(self, words_run, new, tmp_path):
        shutil.copytree(words_run.directory.path, tmp_path / "run")
        (tmp_path / "run" / "sources" / "words" / "classifiers.npz").write_bytes(b"x")
        with pytest.raises(papertune.RunError, match=r"classifiers.npz cannot be read: .* Copy the run again"):
            papertune.load_run(tmp_path / "run").predict(new)
        shutil.rmtree(tmp_path / "run" / "sources")
        with pytest.raises(papertune.RunError, match="is incomplete: sources is missing"):
            papertune.load_run(tmp_path / "run")


@pytest.mark.once
class TestReports:
    def test_evaluate_names_the_sources(self, words_run, new, tmp_path):
        report = evaluate(words_run, new, tmp_path / "report")
        (column,) = report.columns
        assert column.systems[0].name == "joined sources"
        assert column.facts["answered by"] == "words alone"

    def test_compare_shows_each_source_alone(self, tiny_folder, rows, new, tmp_path, joined_run):
        run = give_the_model_a_weight(joined_run, tmp_path / "half")
        report = compare(rows, new, make_recipe(tiny_folder, sources=["words", "model"]), tmp_path / "report", run=run)
        (column,) = report.columns
        names = [system.name for system in column.systems]
        assert names[0] == "joined sources"
        assert {"words alone", f"fine-tuned {tiny_folder} alone"} <= set(names)
        assert column.facts["answered by"] == "words (weight 0.50) and the fine-tuned model (weight 0.50)"

import copy
import json
import re
import shutil
from dataclasses import replace

import numpy as np
import pytest
import torch

import papertune
from papertune import ModelError, PapertuneWarning, RunError, TableError, evaluate
from papertune.evaluation.report import summary
from papertune.inference.predict import predict_rows
from papertune.kinds import LabelColumn
from papertune.kinds.label.decision import Decision
from papertune.kinds.label.fit import fit_decision
from papertune.kinds.label.record import Calibration
from papertune.pipelines.training.job import split_dev_rows
from papertune.prompts.examples import RowReader
from papertune.tables import read_table

ASKED = {"threshold": "f1", "abstain_for_accuracy": 0.6, "coverage": 0.8}


@pytest.fixture(scope="module")
def asking(both_columns):
    """Return a recipe that asks for everything that is fitted on dev rows."""
    recipe = copy.deepcopy(both_columns)
    recipe["columns"]["label"] |= ASKED
    recipe["training"] |= {"micro_batch_size": 8}
    return recipe


@pytest.fixture(scope="module")
def fitted(asking, papers, dev, training_listener, tmp_path_factory):
    folder = tmp_path_factory.mktemp("runs") / "fitted"
    return papertune.train(papers(16), asking, folder, dev=dev, only=["label"], listener=training_listener)


def raw_probabilities(run, rows):
    """Return the uncalibrated probabilities of the label."""
    reader = RowReader(read_table(rows), run.recipe)
    predictor = run.predictor()
    return predict_rows(predictor, reader, predictor.plan(reader, range(len(rows)))).values["label"]


def fields(frame, name):
    return [float(cell) for cell in frame[name]]


class TestTraining:
    def test_calibration_is_fitted_on_the_calibration_set(self, fitted, dev):
        ((selection_set,), (calibration_set,)) = split_dev_rows([read_table(dev)], fitted.recipe)
        assert (len(selection_set), len(calibration_set)) == (40, 40)
        labels = calibration_set.column("label")
        rows = [row for row in dev if row["uuid"] in calibration_set.column("uuid")]
        gold_ids = np.array([("1", "0").index(label) for label in labels])
        slow = fit_decision(fitted.recipe.columns["label"], raw_probabilities(fitted, rows), gold_ids)
        found = fitted.manifest.calibration["label"]
        assert (found.rows, found.calibrator["kind"]) == (40, "temperature")
        assert found.calibrator["temperature"] == pytest.approx(slow.calibrator["temperature"], rel=1e-4)
        assert found.threshold == pytest.approx(slow.threshold, abs=1e-5)
        assert found.abstain_below == pytest.approx(slow.abstain_below, abs=1e-5)
        assert found.set_threshold == pytest.approx(slow.set_threshold, abs=1e-5)

    def test_the_checkpoint_is_chosen_on_the_selection_set(self, fitted, dev):
        ((selection_set,), _) = split_dev_rows([read_table(dev)], fitted.recipe)
        plain = papertune.load_run(fitted.directory.path)
        plain.manifest = replace(plain.manifest, calibration={})
        label = plain.recipe.columns["label"].model_copy(update=dict.fromkeys(ASKED))
        plain.recipe = plain.recipe.model_copy(update={"columns": {"label": label}})
        predicted = plain.predict(selection_set, precision="fp32")["label"].to_list()
        lines = map(json.loads, fitted.directory.metrics.read_text("utf-8").splitlines())
        (accuracy,) = [line["eval_label_accuracy"] for line in lines if "eval_label_accuracy" in line]
        assert accuracy == pytest.approx(np.mean(np.array(predicted) == np.array(selection_set.column("label"))))

    def test_calibration_is_fitted_in_the_precision_that_predicts(self, fitted):
        assert fitted.manifest.calibrated_in == fitted.settled_precision() == fitted.predictor().precision_name

    def test_calibration_is_reported_in_a_line(self, fitted, training_listener):
        messages = training_listener.messages
        calibrating = messages.index("calibrating on 40 dev rows")
        temperature = fitted.manifest.calibration["label"].calibrator["temperature"]
        assert messages[calibrating + 1].startswith(f'label: temperature {temperature:.2f}; "1" from ')
        assert messages[calibrating + 1].endswith("; on 40 rows")

    def test_too_few_rows_are_reported(self, asking, papers, listener, tmp_path):
        with pytest.warns(PapertuneWarning, match="threshold and abstain_for_accuracy and coverage will not be fitted"):
            run = papertune.train(
                papers(8), asking, tmp_path / "run", dev=papers(20, 60), only=["label"], listener=listener
            )
        assert "probabilities are not calibrated: at least 60 dev rows with an answer are needed" in listener.messages
        assert run.manifest.calibration == {}

    def test_a_run_whose_calibration_overflows_is_kept(self, asking, papers, dev, listener, tmp_path, monkeypatch):
        def fail(*_):
            raise ModelError("too large for float16")

        monkeypatch.setattr(LabelColumn, "calibrate", fail)
        settings = ["training.max_steps=1"]
        run = papertune.train(
            papers(8), asking, tmp_path / "run", dev=dev, only=["label"], overrides=settings, listener=listener
        )
        assert listener.messages[-1] == "probabilities are not calibrated: too large for float16"
        assert run.manifest.calibration == {}
        assert papertune.load_run(tmp_path / "run").decisions["label"] == Decision()

    @pytest.mark.parametrize("memory", ["CPU", "GPU", "GPU, one row", "Python"])
    def test_a_run_whose_calibration_runs_out_of_memory_is_kept(
        self, fitted, asking, papers, dev, listener, tmp_path, monkeypatch, memory
    ):
        def fail(*_):
            if memory == "CPU":
                torch.empty(2**60, dtype=torch.int8)
            if memory == "GPU, one row":
                raise ModelError("CUDA out of memory") from torch.OutOfMemoryError("more")
            raise torch.OutOfMemoryError("CUDA out of memory\nmore") if memory == "GPU" else MemoryError

        folder = tmp_path / "run"
        with monkeypatch.context() as patch:
            patch.setattr(LabelColumn, "calibrate", fail)
            run = papertune.train(papers(16), asking, folder, dev=dev, only=["label"], listener=listener)
        assert re.fullmatch(
            r"probabilities are not calibrated: there is not enough memory \((.*DefaultCPUAllocator: .+|CUDA out of "
            r"memory|MemoryError)\)\. The trained weights are kept\. To do this part again, free some memory and give "
            r"the same command with --resume",
            listener.messages[-1],
        )
        assert run.manifest.calibration == {}
        assert run.directory.weights_checksum() == fitted.directory.weights_checksum()
        if memory == "CPU":
            again = papertune.train(papers(16), asking, folder, dev=dev, only=["label"], resume=True)
            assert again.manifest.calibration == fitted.manifest.calibration
            assert again.directory.weights_checksum() == fitted.directory.weights_checksum()

    def test_another_error_in_calibration_is_raised(self, asking, papers, dev, tmp_path, monkeypatch):
        def fail(*_):
            raise RuntimeError("mat1 and mat2 shapes cannot be multiplied")

        monkeypatch.setattr(LabelColumn, "calibrate", fail)
        with pytest.raises(RuntimeError, match="shapes cannot be multiplied"):
            papertune.train(
                papers(8), asking, tmp_path / "run", dev=dev, only=["label"], overrides=["training.max_steps=1"]
            )

    def test_a_training_that_was_stopped_in_calibration_is_resumed(
        self, fitted, asking, papers, dev, listener, tmp_path, monkeypatch
    ):
        def stop(*_):
            raise KeyboardInterrupt

        with monkeypatch.context() as patch:
            patch.setattr(LabelColumn, "calibrate", stop)
            with pytest.raises(KeyboardInterrupt):
                papertune.train(papers(16), asking, tmp_path / "run", dev=dev, only=["label"])
        assert papertune.load_run(tmp_path / "run").manifest.lacks_calibration
        run = papertune.train(
            papers(16), asking, tmp_path / "run", dev=dev, only=["label"], resume=True, listener=listener
        )
        assert listener.messages[0] == f"{tmp_path / 'run'} is trained already"
        assert run.manifest.calibration == fitted.manifest.calibration
        assert not run.manifest.lacks_calibration
        assert run.directory.weights_checksum() == fitted.directory.weights_checksum()


@pytest.fixture(scope="module")
def new_papers(papers):
    return papers(12, 500)


@pytest.fixture(scope="module")
def filled(fitted, new_papers):
    with pytest.warns(PapertuneWarning, match="empty .less confident than abstain_for_accuracy asks for"):
        return fitted.predict(new_papers, probabilities=True)


class TestPrediction:
    @pytest.mark.filterwarnings("ignore:.*abstain_for_accuracy")
    def test_cells_follow_the_calibrated_probabilities_and_thresholds(self, fitted, new_papers, filled):
        raw = raw_probabilities(fitted, new_papers)
        decision = fitted.decisions["label"]
        calibrated = decision.calibrated(raw)
        assert fields(filled, "label_probability_1") == pytest.approx(calibrated[:, 0], abs=1e-4)
        assert not np.allclose(calibrated, raw, atol=1e-3)
        for row, cell in enumerate(filled["label"]):
            chosen = 0 if calibrated[row, 0] >= decision.threshold else 1
            assert cell == ("10"[chosen] if calibrated[row, chosen] >= decision.abstain_below else "")
        sets = [{*cell.split("; ")} for cell in filled["label_set"]]
        assert sets == [{"10"[n] for n in np.flatnonzero(row)} for row in decision.sets(raw)]

    @pytest.mark.filterwarnings("ignore:.*abstain_for_accuracy")
    def test_the_journal_keeps_uncalibrated_probabilities(self, fitted, new_papers, make_listener, tmp_path):
        def stop(_):
            raise KeyboardInterrupt

        with pytest.raises(KeyboardInterrupt):
            fitted.predict_file(
                new_papers, tmp_path / "out.csv", probabilities=True, listener=make_listener(on_rows=stop)
            )
        lines = [json.loads(line) for line in (tmp_path / "out.csv.journal").read_text("utf-8").splitlines()]
        kept = [values for line in lines if "values" in line for values in line["values"]["label"]]
        assert np.array(sorted(kept)) == pytest.approx(np.array(sorted(raw_probabilities(fitted, new_papers).tolist())))
        fitted.predict_file(new_papers, tmp_path / "out.csv", probabilities=True)
        fitted.predict_file(new_papers, tmp_path / "again.csv", probabilities=True)
        assert (tmp_path / "out.csv").read_bytes() == (tmp_path / "again.csv").read_bytes()

    @pytest.mark.filterwarnings("ignore:.*abstain_for_accuracy")
    def test_rows_are_sorted_by_the_first_label(self, fitted, new_papers, filled, tmp_path):
        fitted.predict_file(new_papers, tmp_path / "out.csv", sort_by="label", columns=["uuid"])
        ranked = read_table(tmp_path / "out.csv").column("uuid")
        probabilities = dict(zip(filled["uuid"], fields(filled, "label_probability_1"), strict=True))
        assert [probabilities[name] for name in ranked] == sorted(probabilities.values(), reverse=True)
        with pytest.raises(
            TableError, match=r'--sort-by: "title" is not a label column of the run; there are: label\.'
        ):
            fitted.predict_file(new_papers, tmp_path / "other.csv", sort_by="title")

    def test_a_run_that_lacks_its_calibration_warns(self, fitted, new_papers):
        run = papertune.load_run(fitted.directory.path)
        run.manifest = replace(run.manifest, calibration={"label": Calibration(12)})
        with pytest.warns(PapertuneWarning) as caught:
            frame = run.predict(new_papers)
        gave = 'column "label": the dev rows of the training gave nothing for'
        assert [str(warning.message) for warning in caught] == [
            f"{gave} threshold; the more probable label is written.",
            f"{gave} abstain_for_accuracy; the run does not abstain.",
            f"{gave} coverage; every set has all labels.",
        ]
        assert {*frame["label_set"]} <= {"1; 0", "0; 1"}
        assert {*frame["label"]} <= {"1", "0"}


class TestEvaluation:
    @pytest.mark.filterwarnings("ignore:.*abstain_for_accuracy")
    def test_the_report_measures_the_probabilities(self, fitted, papers, tmp_path):
        rows = papers(30, 600)
        report = evaluate(fitted, rows, tmp_path / "report")
        (column,) = report.columns
        raw = raw_probabilities(fitted, rows)
        gold_ids = np.array([("1", "0").index(row["label"]) for row in rows])
        assert column.calibration_before.log_loss == pytest.approx(-np.log(raw[np.arange(30), gold_ids]).mean())
        assert column.calibration.rows == 30
        assert column.calibration.log_loss != column.calibration_before.log_loss
        assert column.abstention.wanted == 0.6
        assert column.abstention.threshold == fitted.manifest.calibration["label"].abstain_below
        assert column.label_sets.covered == pytest.approx(
            fitted.decisions["label"].sets(raw)[np.arange(30), gold_ids].mean()
        )
        assert (column.positive, column.work_saved.recall) == ("1", 0.95)
        assert column.precision_recall.recall[-1] == 1
        assert column.risk_coverage.coverage[-1] == 1
        assert column.facts["fitted"].endswith("on 40 rows")

    @pytest.mark.filterwarnings("ignore:.*abstain_for_accuracy")
    def test_abstaining_changes_no_score(self, fitted, papers, new_papers, filled, tmp_path, monkeypatch):
        monkeypatch.setattr("papertune.evaluation.report.writing.page", lambda report: "")
        report = evaluate(fitted, new_papers, tmp_path / "report", baselines=papers(16))
        (column,) = report.columns
        decision = fitted.decisions["label"]
        calibrated = decision.calibrated(raw_probabilities(fitted, new_papers))
        right = np.array([row["label"] for row in new_papers]) == np.array(["1", "0"])[decision.chosen(calibrated)]
        abstained = decision.abstained(calibrated)
        assert 0 < abstained.sum() < 12
        assert column.systems[0].scores.accuracy == right.mean()
        assert column.systems[0].scores.abstained == 0
        assert column.abstention.answered == pytest.approx(1 - abstained.mean())
        assert column.abstention.accuracy == pytest.approx(right[~abstained].mean())
        marked = {row.id: row.abstained for row in column.uncertain_rows}
        ids = [row["uuid"] for row in new_papers]
        assert marked == {id: no for id, no in zip(ids, abstained.tolist(), strict=True) if id in marked}
        assert any(marked.values())
        assert f"The run abstains in {abstained.mean():.1%} of the rows" in summary(report)

        again = evaluate(fitted, new_papers, tmp_path / "again", baselines=papers(16), predictions=filled)
        assert again.columns[0].abstention == column.abstention
        for key in ("accuracy", "confusion", "abstained"):
            assert getattr(again.columns[0].systems[0].scores, key) == getattr(column.systems[0].scores, key)
        assert again.columns[0].systems[0].paired == column.systems[0].paired
        assert [(row.id, row.abstained) for row in again.columns[0].confident_errors] == [
            (row.id, row.abstained) for row in column.confident_errors
        ]

    def test_the_report_of_an_uncalibrated_run_measures_probabilities(self, run, papers, tmp_path):
        label, _ = evaluate(run, papers(12, 200), tmp_path / "report").columns
        assert label.calibration is not None
        assert (label.calibration_before, label.abstention, label.label_sets) == (None, None, None)
        assert label.facts["fitted"] == "uncalibrated probabilities"


class TestOldAndDamagedRuns:
    @pytest.fixture
    def copied(self, fitted, tmp_path):
        return shutil.copytree(fitted.directory.path, tmp_path / "copy")

    def rewritten(self, folder, change):
        path = folder / "run.json"
        values = json.loads(path.read_text("utf-8"))
        change(values)
        path.write_text(json.dumps(values), "utf-8")
        return papertune.load_run(folder)

    def test_a_run_of_a_version_without_calibration_opens(self, copied):
        def older(values):
            del values["calibration"], values["calibrated_in"]
            values["format"] = 1

        run = self.rewritten(copied, older)
        assert not run.manifest.lacks_calibration
        assert run.manifest.calibration == {}
        assert run.decisions == {"label": Decision()}

    def test_a_damaged_calibration_is_refused(self, copied):
        with pytest.raises(RunError, match=r"run\.json is damaged: not a calibrator: its kind is 'magic'.*restore the"):
            self.rewritten(copied, lambda values: values["calibration"]["label"].update(calibrator={"kind": "magic"}))
        with pytest.raises(RunError, match=r"run\.json is damaged: .*surprise\": unexpected keyword argument"):
            self.rewritten(copied, lambda values: values["calibration"]["label"].update(surprise=1))

import gc
import json
import weakref
from dataclasses import replace

import pytest
import torch

import papertune
from papertune import ModelError, OutputError
from papertune.calibration import calibrate as calibration  # the module
from papertune.calibration.int8 import compare_int8
from papertune.kinds.label.record import Calibration
from papertune.manifest import Int8Check
from papertune.pipelines import train as training  # the module
from papertune.pipelines.instructions import write_instructions
from papertune.run import Run
from papertune.tables import read_table


@pytest.fixture
def new_papers(papers):
    return papers(9, 100)


def probabilities(frame):
    return [float(cell) for cell in frame["label_probability_1"]]


def test_labels_and_keywords_in_int8(run, new_papers):
    full = run.predict(new_papers, probabilities=True, precision="fp32")
    low = papertune.load_run(run.directory.path).predict(new_papers, probabilities=True, precision="int8")
    assert low["uuid"].to_list() == full["uuid"].to_list()
    assert probabilities(low) != probabilities(full)
    assert probabilities(low) == pytest.approx(probabilities(full), abs=0.1)
    assert set(low["label"]) <= {"0", "1"}
    assert all(low["Keywords"])


@pytest.fixture
def loaded(monkeypatch):
    """Return all models that are loaded, checking that none is loaded beside another."""

    def watched(load):
        def load_alone(*args, **options):
            gc.collect()
            assert [model() for model in models if model() is not None] == []
            model, tokenizer = load(*args, **options)
            models.append(weakref.ref(model))
            return model, tokenizer

        return load_alone

    models = []
    monkeypatch.setattr(training, "load_model", watched(training.load_model))
    monkeypatch.setattr(Run, "load_to_predict", watched(Run.load_to_predict))
    monkeypatch.setenv("PAPERTUNE_CPU", "none")  # so that "auto" is float32
    return models


def test_a_run_keeps_one_model(run, loaded):
    opened = papertune.load_run(run.directory.path)
    for precisions in (("fp32", "auto", "fp16"), ("int8", "int8"), ("auto",)):
        (predictor,) = {opened.predictor(precision) for precision in precisions}
        assert predictor.precision_name == opened.settled_precision(precisions[0])
        del predictor
    assert len(loaded) == 3


def test_an_int8_row_does_not_depend_on_the_others(run, new_papers):
    together = run.predict(new_papers, probabilities=True, precision="int8")
    alone = [run.predict([paper], probabilities=True, precision="int8") for paper in new_papers]
    assert probabilities(together) == pytest.approx([probabilities(one)[0] for one in alone], abs=1e-5)


@pytest.mark.parametrize(
    "method", [{"kind": "ptuning_v2", "prefix_length": 3}, {"kind": "lora", "rank": 2, "dora": True}]
)
def test_a_prefix_and_dora_work_with_an_int8_model(recipe, papers, new_papers, tmp_path, monkeypatch, method):
    monkeypatch.setattr("papertune.models.load_own_llama", None)  # it would read the weights in vain
    recipe["method"] = method
    run = papertune.train(papers(6), recipe, tmp_path / "run", only=["label"])
    full, low = (run.predict(new_papers, probabilities=True, precision=each) for each in ("fp32", "int8"))
    assert probabilities(low) != probabilities(full)
    assert probabilities(low) == pytest.approx(probabilities(full), abs=0.2)


def test_the_frequencies_of_positions_stay_float32_beside_int8(run, monkeypatch):
    monkeypatch.setenv("PAPERTUNE_CPU", "bf16,int8")
    model, _ = papertune.load_run(run.directory.path).load("int8")
    assert model.lm_head.weight.dtype == torch.bfloat16
    assert model.model.rotary_emb.inv_freq.dtype == torch.float32


def test_a_prediction_is_not_resumed_in_another_precision(run, papers, make_listener, tmp_path, monkeypatch):
    def stop(_):
        raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        run.predict_file(papers(40, 100), tmp_path / "out.csv", precision="int8", listener=make_listener(on_rows=stop))
    with pytest.raises(OutputError, match=r"another prediction \(the precision: int8.* before, now float32\)"):
        run.predict_file(papers(40, 100), tmp_path / "out.csv", precision="fp32")
    run.predict_file(papers(40, 100), tmp_path / "out.csv", precision="int8")


def test_int8_of_a_quantized_base_is_refused(run, papers):
    opened = papertune.load_run(run.directory.path)
    method = opened.recipe.method.model_copy(update={"base_bits": 8})
    opened.recipe = opened.recipe.model_copy(update={"method": method})
    with pytest.raises(ModelError, match="the run's base model is already stored in 8 bits"):
        opened.predict(papers(2), precision="int8")


def test_int8_is_scored_beside_float32(run, papers, monkeypatch):
    check = compare_int8(run, [read_table(papers(5, 50)), read_table(papers(4, 70))])
    assert (check.rows, check.labels) == (9, 9)
    expected = {name: [] for name in ("label", "Keywords")}
    for precision in ("fp32", "int8"):
        frame = run.predict(papers(5, 50) + papers(4, 70), precision=precision)
        pairs = zip(frame["label"], frame["label_given"], strict=True)
        expected["label"].append(sum(predicted == gold for predicted, gold in pairs) / 9)
    assert check.scores["label"] == pytest.approx(tuple(expected["label"]))
    assert set(check.scores) == {"label", "Keywords"}


def test_cells_are_compared_with_thresholds_applied(run, papers):
    opened, rows = papertune.load_run(run.directory.path), papers(6, 50)
    full, low = (probabilities(opened.predict(rows, probabilities=True, precision=each)) for each in ("fp32", "int8"))
    row = max(range(6), key=lambda n: abs(full[n] - low[n]))
    between = (full[row] + low[row]) / 2  # neither 0.5 nor the likelier label decides so
    opened.manifest = replace(opened.manifest, calibration={"label": Calibration(40, threshold=between)})
    label = opened.recipe.columns["label"].model_copy(update={"threshold": "f1"})
    opened.recipe = opened.recipe.model_copy(update={"columns": {"label": label}})
    expected = sum((one >= between) != (other >= between) for one, other in zip(full, low, strict=True))
    check = compare_int8(opened, [read_table(rows)])
    assert expected >= 1
    assert (check.labels, check.changed) == (6, expected)


def test_rows_that_are_not_asked_are_not_compared(run, papers, tmp_path):
    write_instructions(papers(4, 50), run.recipe, tmp_path / "papers.json")
    check = compare_int8(run, [read_table(tmp_path / "papers.json")])
    assert (check.rows, check.labels) == (8, 4)


@pytest.mark.parametrize(
    ("changed", "scores", "confirms"),
    [
        (0, {"label": (0.9, 0.9)}, True),
        (0, {}, False),
        (2, {"label": (0.9, 0.895)}, True),
        (3, {"label": (0.9, 0.9)}, False),
        (0, {"label": (0.9, 0.894)}, False),
        (0, {"label": (0.9, 0.95), "Keywords": (0.2, 0.19)}, False),
    ],
)
def test_when_int8_is_confirmed(changed, scores, confirms):
    assert Int8Check(200, 200, changed, scores).confirms is confirms


class TestTheChoice:
    @pytest.fixture
    def train(self, recipe, papers, tmp_path, monkeypatch):
        """Return a function that trains on a CPU with or without fast int8 products."""

        def train(fast=True, **options):
            monkeypatch.setenv("PAPERTUNE_CPU", "int8" if fast else "none")
            return papertune.train(papers(8), recipe, tmp_path / "run", only=["label"], **options)

        return train

    def test_the_comparison_comes_first_and_uses_the_selection_set(self, train, papers, listener):
        run = train(dev=papers(60, 50), listener=listener)
        comparing = "comparing int8 with float32 on 30 dev rows; the run can be used already"
        assert listener.messages.index(comparing) < listener.messages.index("calibrating on 30 dev rows")
        assert run.manifest.calibrated_in == run.settled_precision()

    def test_int8_is_used_if_the_dev_rows_confirm_it(self, train, papers, listener):
        run = train(dev=papers(6, 50), listener=listener)
        assert "comparing int8 with float32 on 6 dev rows; the run can be used already" in listener.messages
        kept = json.loads((run.directory.path / "run.json").read_text("utf-8"))["int8"]
        assert (kept["rows"], kept["labels"]) == (6, 6)
        assert run.manifest.int8 == papertune.load_run(run.directory.path).manifest.int8
        run.manifest = replace(run.manifest, int8=Int8Check(6, 6, 0, {"label": (0.9, 0.9)}))
        assert run.predictor().precision_name.startswith("int8")
        run.manifest = replace(run.manifest, int8=Int8Check(6, 6, 1, {"label": (0.9, 0.9)}))
        assert not run.predictor().precision_name.startswith("int8")

    def test_without_enough_memory_int8_is_not_used(self, train, papers, listener, monkeypatch):
        monkeypatch.setattr(calibration, "compare_int8", lambda *_: torch.empty(2**60, dtype=torch.int8))
        run = train(dev=papers(6, 50), listener=listener)
        (line,) = [
            line for line in listener.messages if line.startswith("int8 will not be used: there is not enough memory (")
        ]
        assert line.endswith("free some memory and give the same command with --resume")
        assert run.manifest.int8 is None
        assert len(run.predict(papers(2))) == 2

    def test_a_kill_in_the_comparison_loses_nothing_else(self, train, papers, monkeypatch, listener, tmp_path):
        def die(run, *_):
            complete.append(papertune.load_run(run.directory.path))
            raise KeyboardInterrupt

        complete = []
        monkeypatch.setattr(calibration, "compare_int8", die)
        with pytest.raises(KeyboardInterrupt):
            train(dev=papers(60, 50))
        assert complete[0].manifest.lacks_calibration
        assert len(complete[0].predict(papers(2))) == 2
        monkeypatch.setattr(calibration, "compare_int8", compare_int8)
        run = train(dev=papers(60, 50), resume=True, listener=listener)
        assert listener.messages[0] == f"{tmp_path / 'run'} is trained already"
        assert run.manifest.int8.rows == run.manifest.calibration["label"].rows == 30
        listener.messages.clear()
        train(dev=papers(60, 50), resume=True, listener=listener)
        assert listener.messages == [f"{tmp_path / 'run'} is finished already"]

    def test_models_are_loaded_one_at_a_time(self, train, papers, loaded):
        run = train(dev=papers(60, 50))
        assert run.manifest.int8.rows == 30
        # The trained one, one in float32 and one in int8; calibration uses the one that is chosen.
        assert len(loaded) == 3 if run.manifest.int8.confirms else 4

    def test_without_dev_rows_int8_is_not_used(self, train):
        run = train()
        assert run.manifest.int8 is None
        assert not run.predictor().precision_name.startswith("int8")

    def test_a_cpu_without_fast_int8_does_not_use_it(self, train, papers):
        run = train(fast=False, dev=papers(6, 50))
        assert run.manifest.int8 is None
        run.manifest = replace(run.manifest, int8=Int8Check(6, 6, 0, {"label": (0.9, 0.9)}))
        assert not run.predictor().precision_name.startswith("int8")

import json
import os
import signal

import pytest
import torch
from safetensors.torch import load_file

import papertune
from papertune import MissingExtraError, ModelError, PapertuneWarning, RecipeError, TrainingStopped
from papertune.models import load_model

pytestmark = pytest.mark.slow

TRAINING = {"micro_batch_size": 2, "accumulation": 2, "epochs": 2, "logging_steps": 1}
IDS = torch.arange(3, 23).reshape(2, 10)


@pytest.fixture(scope="module", params=[4, 8])
def bits(request):
    return request.param


@pytest.fixture(scope="module")
def full_bits(both_columns, bits, wide_folder):
    """The recipe without quantization, for a model with matrices as wide as the bits need."""
    return {**both_columns, "model": str(wide_folder)} if bits == 4 else both_columns


@pytest.fixture(scope="module")
def full_run(full_bits, papers, tmp_path_factory):
    return papertune.train(papers(16), full_bits, tmp_path_factory.mktemp("full") / "run")


@pytest.fixture(scope="module")
def few_bits(full_bits, bits):
    """A recipe with a quantized base, for reading only."""
    training = {**full_bits["training"], **TRAINING}
    return {**full_bits, "method": {"rank": 4, "base_bits": bits}, "training": training}


@pytest.fixture(scope="module")
def quantized_run(few_bits, papers, tmp_path_factory):
    """A run on a quantized base, for reading only."""
    return papertune.train(papers(14), few_bits, tmp_path_factory.mktemp("quantized") / "run")


def weights(run):
    return load_file(run.directory.adapter / "adapter_model.safetensors")


def losses(run):
    lines = map(json.loads, run.directory.metrics.read_text("utf-8").splitlines())
    return [line["loss"] for line in lines if "loss" in line]


def logits(model):
    with torch.no_grad():
        return model(input_ids=IDS).logits


@pytest.mark.once
def test_the_training_loss_falls(quantized_run):
    assert sum(losses(quantized_run)[-3:]) < sum(losses(quantized_run)[:3])
    assert all(tensor.abs().max() > 0 for tensor in weights(quantized_run).values())


@pytest.mark.once
def test_the_run_directory_has_the_adapter_and_the_bits_of_the_base(quantized_run, bits, full_run):
    files = sorted(file.name for file in quantized_run.directory.adapter.iterdir())
    assert files == ["adapter_config.json", "adapter_model.safetensors"]
    assert {name: t.shape for name, t in weights(quantized_run).items()} == {
        name: t.shape for name, t in weights(full_run).items()
    }
    assert papertune.load_run(quantized_run.directory.path).recipe.method.base_bits == bits
    # The checksum is that of the weights before quantization.
    assert quantized_run.manifest.base_checksum == full_run.manifest.base_checksum
    versions = json.loads((quantized_run.directory.path / "versions.json").read_text("utf-8"))
    assert "bitsandbytes" in versions


@pytest.mark.once
def test_a_quantized_run_predicts_the_same_when_opened_again(quantized_run, papers, bits):
    model, _ = quantized_run.load("fp32")
    assert sum(p.element_size() == 1 for p in model.parameters()) == 14
    assert not any(p.requires_grad for p in model.parameters())
    new = [{key: row[key] for key in ("uuid", "title", "abstract")} for row in papers(5, 70)]
    filled = quantized_run.predict(new, probabilities=True, precision="fp32")
    again = papertune.load_run(quantized_run.directory.path).predict(new, probabilities=True, precision="fp32")
    assert again.equals(filled)


def test_the_dev_score_is_that_of_the_finished_run(few_bits, papers, tmp_path):
    dev = papers(8, 100)
    run = papertune.train(papers(14), few_bits, tmp_path / "run", dev=dev, only=["label"])
    lines = [json.loads(line) for line in run.directory.metrics.read_text("utf-8").splitlines()]
    scored = [line for line in lines if "score" in line]
    best = max(scored, key=lambda line: line["score"])
    filled = run.predict(dev, probabilities=True, precision="fp32")
    probabilities = [float(filled[f"label_probability_{row['label']}"][number]) for number, row in enumerate(dev)]
    loss = -torch.tensor(probabilities, dtype=torch.float64).log().mean().item()
    assert loss == pytest.approx(best["eval_label_log_loss"], abs=1e-4)


@pytest.mark.once
def test_activation_checkpointing_does_not_change_the_adapter(few_bits, papers, tmp_path):
    runs = [
        papertune.train(
            papers(6), few_bits, tmp_path / on, overrides=[f"training.gradient_checkpointing={on}"], only=["label"]
        )
        for on in ("true", "false")
    ]
    frugal, plain = map(weights, runs)
    assert frugal.keys() == plain.keys()
    for name, tensor in frugal.items():
        torch.testing.assert_close(tensor, plain[name], atol=1e-5, rtol=1e-4)


@pytest.mark.once
def test_a_stopped_and_resumed_training_ends_like_an_uninterrupted_one(
    quantized_run, few_bits, papers, make_listener, tmp_path
):
    def stop(step):
        if step.done == 8:
            os.kill(os.getpid(), signal.SIGTERM)

    arguments = papers(14), few_bits, tmp_path / "run"
    with pytest.raises(TrainingStopped, match=r"stopped by SIGTERM after step \d+; a checkpoint"):
        papertune.train(*arguments, listener=make_listener(on_training=stop))
    again, first = weights(papertune.train(*arguments, resume=True)), weights(quantized_run)
    assert again.keys() == first.keys()
    assert all(torch.equal(again[name], first[name]) for name in first)


@pytest.mark.once
def test_quantized_parameters_are_counted_one_by_one(few_bits, papers, listener, tmp_path, bits):
    papertune.train(
        papers(4), few_bits, tmp_path / "run", overrides=["training.max_steps=1"], only=["label"], listener=listener
    )
    full, _ = load_model(few_bits["model"], precision="fp32", device="cpu")
    total, trainable = sum(p.numel() for p in full.parameters()), 8192 if bits == 4 else 3712
    assert f"training {trainable:,} of {total + trainable:,} parameters on 4 examples, cpu, fp32" in listener.messages


class TestMerging:
    @pytest.fixture
    def merged(self, quantized_run, tmp_path, bits):
        with pytest.warns(PapertuneWarning) as caught:
            quantized_run.merge(tmp_path / "merged", precision="fp32")
        (warning,) = caught
        assert str(warning.message) == (
            f"{quantized_run.directory.path} was trained on {quantized_run.manifest.base_name} in {bits} bits. The "
            "merged weights are the values that these bits stand for, in float32, with the adapter added. They answer "
            "like the run; the full-precision weights with the adapter added would not."
        )
        return tmp_path / "merged"

    @pytest.mark.once
    def test_the_merged_model_answers_like_the_run(self, quantized_run, merged, bits):
        model, _ = load_model(merged, precision="fp32", device="cpu")
        ours, _ = quantized_run.load("fp32")
        # In 8 bits bitsandbytes rounds the inputs of a layer too, which does not happen with ordinary weights.
        torch.testing.assert_close(logits(model), logits(ours), rtol=0, atol=1e-4 if bits == 4 else 0.5)

    @pytest.mark.once
    def test_the_merged_model_is_an_ordinary_folder(self, merged):
        assert "quantization_config" not in json.loads((merged / "config.json").read_text("utf-8"))
        saved = load_file(merged / "model.safetensors")
        assert {tensor.dtype for tensor in saved.values()} == {torch.float32}
        assert not any("lora" in name or "absmax" in name or "SCB" in name for name in saved)


@pytest.mark.filterwarnings("ignore:.*the model named none")
class TestAdopting:
    def test_an_adopted_run_predicts_like_the_trained_run(self, quantized_run, few_bits, papers, tmp_path, bits):
        adopted = papertune.adopt(quantized_run.directory.adapter, few_bits, tmp_path / "adopted")
        assert adopted.recipe.method.base_bits == bits
        new = papers(5, 300)
        expected = quantized_run.predict(new, probabilities=True, precision="fp32")
        assert adopted.predict(new, probabilities=True, precision="fp32").equals(expected)
        assert adopted.manifest.trained_weights == quantized_run.manifest.trained_weights

    def test_predictions_differ_on_the_full_precision_base(self, quantized_run, full_bits, papers, tmp_path):
        adopted = papertune.adopt(quantized_run.directory.adapter, full_bits, tmp_path / "adopted")
        assert adopted.recipe.method.base_bits is None
        new = papers(5, 300)
        other = quantized_run.predict(new, probabilities=True, precision="fp32")
        assert not adopted.predict(new, probabilities=True, precision="fp32").equals(other)


@pytest.mark.once
def test_an_adapter_of_a_full_precision_base_can_be_trained_further(full_run, few_bits, papers, tmp_path, bits):
    start = {key: value for key, value in few_bits["method"].items() if key != "rank"}
    recipe = {**few_bits, "method": {**start, "start_from": str(full_run.directory.path)}}
    more = papertune.train(papers(6), recipe, tmp_path / "run", only=["label"])
    assert more.recipe.base_bits == bits
    assert any(not torch.equal(tensor, weights(full_run)[name]) for name, tensor in weights(more).items())
    assert all((tensor - weights(full_run)[name]).abs().max() < 0.1 for name, tensor in weights(more).items())


@pytest.mark.once
def test_dora_works_in_4_bits_and_is_refused_in_8_on_a_cpu(few_bits, papers, tmp_path, bits):
    if bits == 8:
        with pytest.raises(ModelError) as caught:
            papertune.train(papers(6), few_bits, tmp_path / "run", overrides=["method.dora=true"], only=["label"])
        assert str(caught.value) == (
            "method.dora = true with method.base_bits = 8 does not work on a CPU. Use a GPU, base_bits = 4, or no dora."
        )
        return
    run = papertune.train(papers(6), few_bits, tmp_path / "run", overrides=["method.dora=true"], only=["label"])
    assert any("lora_magnitude_vector" in name for name in weights(run))
    run.predict(papers(3, 50), precision="bf16")


@pytest.mark.once
def test_a_missing_package_is_reported_before_any_work(full_run, few_bits, papers, tmp_path, monkeypatch, bits):
    monkeypatch.setattr("papertune.models.quantization.base_bits.find_spec", lambda name: None)
    with pytest.raises(MissingExtraError, match=rf"^method\.base_bits = {bits} needs bitsandbytes, .*\[quantized\]'$"):
        papertune.train(papers(4), few_bits, tmp_path / "run")
    assert not (tmp_path / "run").exists()
    with pytest.raises(MissingExtraError, match="needs bitsandbytes"):
        papertune.adopt(full_run.directory.adapter, few_bits, tmp_path / "run")
    assert not (tmp_path / "run").exists()


@pytest.mark.once
def test_other_numbers_of_bits_are_refused(few_bits, papers, tmp_path):
    with pytest.raises(RecipeError) as caught:
        papertune.train(papers(4), few_bits, tmp_path / "run", overrides=["method.base_bits=3"])
    assert str(caught.value) == "the recipe: method.base_bits is 3; allowed: 4 or 8."
    with pytest.raises(RecipeError, match=r"method\.base_bits is not a known key"):
        papertune.train(papers(4), few_bits, tmp_path / "run", overrides=["method.kind=full"])

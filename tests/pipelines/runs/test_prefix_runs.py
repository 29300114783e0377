import json
import math
import os
import shutil
import signal

import pytest
import torch
from safetensors.torch import load_file, save_file
from transformers import DynamicCache

import papertune
from papertune import ModelError, RecipeError, RunError, TrainingStopped
from papertune.methods import PrefixModel

METHOD = {"kind": "ptuning_v2", "prefix_length": 6, "dropout": 0.2}
TRAINING = {"learning_rate": 0.005, "micro_batch_size": 1, "accumulation": 2, "epochs": 2, "logging_steps": 1}


@pytest.fixture(scope="module", params=[False, True], ids=["plain", "projected"])
def method(request):
    return {**METHOD, "projection": request.param}


@pytest.fixture(scope="module")
def prefix_recipe(both_columns, method):
    return {**both_columns, "method": method, "training": {**both_columns["training"], **TRAINING}}


@pytest.fixture(scope="module")
def prefix_run(prefix_recipe, papers, tmp_path_factory):
    """A run with a trained prefix, for reading only."""
    return papertune.train(papers(14), prefix_recipe, tmp_path_factory.mktemp("prefix") / "run")


def weights(folder):
    return {name: tensor for file in sorted(folder.glob("*.safetensors")) for name, tensor in load_file(file).items()}


def assert_same(one, other):
    assert one.keys() == other.keys()
    assert len(one) > 0
    assert [name for name in one if not torch.equal(one[name], other[name])] == []


@pytest.mark.once
def test_a_prefix_run_predicts_the_same_when_opened_again(prefix_run, papers):
    new = [{key: row[key] for key in ("uuid", "title", "abstract")} for row in papers(5, 70)]
    filled = prefix_run.predict(new, probabilities=True, precision="fp32")
    again = papertune.load_run(prefix_run.directory.path).predict(new, probabilities=True, precision="fp32")
    assert again.equals(filled)
    model, _ = prefix_run.load("fp32")
    assert isinstance(model, PrefixModel)
    assert not any(parameter.requires_grad for parameter in model.parameters())


@pytest.mark.once
def test_a_prefix_begins_as_the_keys_and_values_of_the_questions(prefix_recipe, papers, tmp_path):
    # The rate of the first step is 0.
    settings = ["training.max_steps=1", "training.warmup_steps=5", "method.prefix_length=90", "training.precision=fp32"]
    run = papertune.train(papers(4), prefix_recipe, tmp_path / "run", overrides=settings)
    model, tokenizer = run.load("fp32")
    ids = []
    for column in run.recipe.columns.values():
        chat = [{"role": "user", "content": f"\n\n{column.question}"}]
        ids += tokenizer.apply_chat_template(chat, add_generation_prompt=True, return_dict=False)
    cache = DynamicCache()
    with torch.no_grad():
        for token in [*ids, *ids, *ids][:90]:
            model.get_base_model()(torch.tensor([[token]]), past_key_values=cache, use_cache=True)
    prefix = model.prefix()
    for layer, keys, values in zip(cache.layers, prefix.keys, prefix.values, strict=True):
        torch.testing.assert_close(keys, layer.keys[0], rtol=0, atol=1e-4)
        torch.testing.assert_close(values, layer.values[0], rtol=0, atol=1e-4)


@pytest.mark.once
def test_a_random_prefix_begins_otherwise(prefix_recipe, papers, tmp_path):
    settings = ["training.max_steps=1", "training.warmup_steps=5", "method.init=random"]
    for number in (1, 2):
        overrides = [*settings, f"training.seed={number}"]
        papertune.train(papers(4), prefix_recipe, tmp_path / f"{number}", only=["label"], overrides=overrides)
    one, other = (weights(tmp_path / number / "adapter")["prompt_embeddings"] for number in ("1", "2"))
    assert not torch.equal(one, other)


@pytest.mark.once
def test_an_unknown_init_is_an_error(prefix_recipe, papers, tmp_path):
    with pytest.raises(RecipeError, match=r"method\.init is 'words'; allowed: 'text' or 'random'\.$"):
        papertune.train(papers(4), prefix_recipe, tmp_path / "run", overrides=["method.init=words"])


@pytest.mark.once
def test_the_training_loss_falls(prefix_run):
    losses = [json.loads(line).get("loss") for line in prefix_run.directory.metrics.read_text("utf-8").splitlines()]
    losses = [loss for loss in losses if loss is not None]
    assert sum(losses[7:]) < sum(losses[:7])


@pytest.mark.once
def test_the_run_directory_holds_the_prefix_and_its_description(prefix_run, method):
    folder = prefix_run.directory.adapter
    assert sorted(file.name for file in folder.iterdir()) == ["adapter_config.json", "adapter_model.safetensors"]
    (tensor,) = weights(folder).values()
    assert tensor.shape == (6, 2 * 2 * 2 * 8)
    readme = (prefix_run.directory.path / "README.md").read_text("utf-8")
    assert f"(ptuning_v2, {prefix_run.manifest.trained_weights:,} trainable parameters, 14 steps)" in readme
    assert prefix_run.manifest.trained_weights == (6 * 64 if not method["projection"] else 6 * 16 + 17 * 32 + 33 * 64)
    assert prefix_run.recipe.method.model_dump() == {**method, "init": "text"}
    assert papertune.load_run(prefix_run.directory.path).recipe == prefix_run.recipe


def test_the_dev_score_is_that_of_the_finished_run(prefix_recipe, papers, tmp_path):
    dev = papers(12, 60)
    options = {"only": ["label"], "overrides": ["training.save_steps=1"]}
    run = papertune.train(papers(14), prefix_recipe, tmp_path / "run", dev=dev, **options)
    lines = [json.loads(line) for line in run.directory.metrics.read_text("utf-8").splitlines()]
    scored = [line for line in lines if "score" in line]
    assert len({line["eval_label_log_loss"] for line in scored}) == len(scored) > 4
    best = max(scored, key=lambda line: (line["score"], -line["eval_label_log_loss"]))
    assert best["score"] == run.manifest.dev_score
    filled = run.predict(dev, probabilities=True, precision="fp32")
    probabilities = [float(filled[f"label_probability_{row['label']}"][number]) for number, row in enumerate(dev)]
    log_loss = -sum(map(math.log, probabilities)) / len(dev)
    assert log_loss == pytest.approx(best["eval_label_log_loss"], abs=1e-4)


@pytest.mark.once
@pytest.mark.slow
@pytest.mark.parametrize(("step", "last"), [(1, 2), (7, 7), (10, 11)])
def test_a_stopped_and_resumed_training_ends_like_an_uninterrupted_one(
    prefix_run, prefix_recipe, papers, make_listener, tmp_path, step, last
):
    def stop(reported):
        if reported.done == step:
            os.kill(os.getpid(), signal.SIGTERM)

    arguments = papers(14), prefix_recipe, tmp_path / "run"
    with pytest.raises(TrainingStopped, match=f"stopped by SIGTERM after step {last}; a checkpoint"):
        papertune.train(*arguments, listener=make_listener(on_training=stop))
    run = papertune.train(*arguments, resume=True)
    assert_same(weights(run.directory.adapter), weights(prefix_run.directory.adapter))
    for other in run.directory.checkpoints.glob("checkpoint-*"):
        first = prefix_run.directory.checkpoints / other.name
        if not first.exists():
            continue  # the one that the signal asked for
        assert_same(weights(other), weights(first))
        states = [torch.load(folder / "optimizer.pt", weights_only=True)["state"] for folder in (other, first)]
        assert states[0].keys() == states[1].keys()
        for key, state in states[0].items():
            assert_same(state, states[1][key])


@pytest.mark.once
def test_the_encoder_is_saved_before_a_checkpoint_is_marked_complete(prefix_recipe, papers, tmp_path, monkeypatch):
    from papertune.training import callbacks

    seen = []
    monkeypatch.setattr(callbacks, "mark_complete", lambda folder: seen.append(sorted(weights(folder))))
    papertune.train(papers(4), prefix_recipe, tmp_path / "run", only=["label"], overrides=["training.epochs=1"])
    assert seen
    assert all("default.embedding.weight" in names for names in seen)


@pytest.mark.once
def test_activation_checkpointing_does_not_change_the_prefix(prefix_recipe, papers, tmp_path):
    runs = [
        papertune.train(
            papers(6), prefix_recipe, tmp_path / on, overrides=[f"training.gradient_checkpointing={on}"], only=["label"]
        )
        for on in ("true", "false")
    ]
    frugal, plain = (weights(run.directory.adapter)["prompt_embeddings"] for run in runs)
    torch.testing.assert_close(frugal, plain, atol=1e-5, rtol=1e-4)


@pytest.mark.once
def test_a_prefix_run_cannot_be_merged(prefix_run, tmp_path):
    with pytest.raises(RunError) as caught:
        prefix_run.merge(tmp_path / "merged")
    assert str(caught.value) == (
        f"{prefix_run.directory.path} was trained with P-Tuning v2: it has a prefix instead of changed weights, so "
        "there is nothing to merge into the model. Predict with the run itself."
    )
    assert not (tmp_path / "merged").exists()


@pytest.mark.once
def test_lora_cannot_start_from_a_prefix_run(prefix_run, both_columns, papers, tmp_path):
    start = f"method.start_from={prefix_run.directory.path}"
    with pytest.raises(RecipeError, match="holds a P-Tuning v2 prefix, and only a LoRA adapter can be a start"):
        papertune.train(papers(4), both_columns, tmp_path / "run", overrides=[start])
    with pytest.raises(RecipeError, match=r"method\.start_from is not a known key"):
        papertune.train(papers(4), both_columns, tmp_path / "run", overrides=["method.kind=ptuning_v2", start])
    assert not (tmp_path / "run").exists()


class TestAdopting:
    @pytest.fixture
    def adapter(self, prefix_run, tmp_path):
        return shutil.copytree(prefix_run.directory.adapter, tmp_path / "adapter")

    def test_an_adopted_run_predicts_like_the_trained_run(self, prefix_run, prefix_recipe, papers, adapter, tmp_path):
        asking = {**prefix_recipe, "method": {"kind": "ptuning_v2"}}
        adopted = papertune.adopt(adapter, asking, tmp_path / "adopted")
        new = papers(5, 300)
        expected = prefix_run.predict(new, probabilities=True, precision="fp32")
        assert adopted.predict(new, probabilities=True, precision="fp32").equals(expected)
        assert adopted.recipe.method.prefix_length == 6
        assert adopted.recipe.method.projection == prefix_run.recipe.method.projection
        assert adopted.manifest.trained_weights == 6 * 64

    @pytest.mark.once
    def test_the_recipe_must_have_the_method_of_the_adapter(self, prefix_recipe, run, adapter, tmp_path):
        lora = {**prefix_recipe, "method": {}}
        with pytest.raises(RecipeError, match=r'"lora", but .* is a P-Tuning v2 prefix\. Set it to "ptuning_v2"\.'):
            papertune.adopt(adapter, lora, tmp_path / "adopted")
        with pytest.raises(RecipeError, match=r'"ptuning_v2", but .* is a LoRA adapter\. Set it to "lora"\.'):
            papertune.adopt(run.directory.adapter, prefix_recipe, tmp_path / "adopted")
        assert not (tmp_path / "adopted").exists()

    def test_a_prefix_for_another_model_is_refused(self, prefix_recipe, adapter, make_model, tiny_tokenizer, tmp_path):
        make_model(layers=1).save_pretrained(tmp_path / "other")
        tiny_tokenizer.save_pretrained(tmp_path / "other")
        with pytest.raises(ModelError, match=r"the prefix is for 2 layers .*, but the model has 1 layers"):
            papertune.adopt(adapter, {**prefix_recipe, "model": str(tmp_path / "other")}, tmp_path / "adopted")
        assert not (tmp_path / "adopted").exists()

    def test_a_damaged_prefix_is_refused(self, prefix_recipe, adapter, tmp_path):
        config = json.loads((adapter / "adapter_config.json").read_text("utf-8"))
        del config["num_virtual_tokens"]
        (adapter / "adapter_config.json").write_text(json.dumps(config))
        message = "has no 'num_virtual_tokens', so it is not the configuration of a P-Tuning v2 prefix"
        with pytest.raises(RunError, match=message):
            papertune.adopt(adapter, prefix_recipe, tmp_path / "adopted")
        (adapter / "adapter_config.json").write_text(json.dumps({**config, "num_virtual_tokens": 6}))
        save_file({"prompt_embeddings": torch.zeros(6, 32)}, adapter / "adapter_model.safetensors")
        with pytest.raises(RunError, match=r"prompt_embeddings have the shape \(6, 32\)"):
            papertune.adopt(adapter, prefix_recipe, tmp_path / "adopted")
        assert not (tmp_path / "adopted").exists()

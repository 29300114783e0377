"""`method.keep_layers`: a run on the first layers of a model, against one on a folder that has only these."""

import json
from dataclasses import replace

import pytest
import torch
from transformers import Qwen2Config, Qwen2ForCausalLM

import papertune
from papertune import ModelError, RecipeError
from papertune.models import find_base, load_config, load_model, load_own_llama


@pytest.fixture(scope="module")
def folders(tiny_tokenizer, make_model, tmp_path_factory):
    """Return the folders of a model with three layers, and of one with the first two of them."""
    place = tmp_path_factory.mktemp("models")
    model = make_model(layers=3)
    for name in ("three", "two"):
        if name == "two":
            model.model.layers = model.model.layers[:2]
            model.config.num_hidden_layers = 2
        model.save_pretrained(place / name)
        tiny_tokenizer.save_pretrained(place / name)
    return place / "three", place / "two"


def make_recipe(folder, **method):
    return {
        "model": str(folder),
        "table": {"id": "uuid", "document": "title: {title}\nabstract: {abstract}"},
        "columns": {"label": {"kind": "label", "question": "1 or 0?", "labels": ["1", "0"], "sources": ["model"]}},
        "method": {"kind": "lora", "rank": 2, **method},
        "training": {"precision": "fp32", "max_steps": 3, "warmup_steps": 1, "learning_rate": 0.01},
    }


@pytest.fixture(scope="module")
def run(folders, papers, tmp_path_factory):
    folder = tmp_path_factory.mktemp("runs") / "kept"
    return papertune.train(papers(24), make_recipe(folders[0], keep_layers=2), folder)


def test_the_first_layers_learn_and_predict_like_a_model_without_the_others(run, folders, papers, tmp_path):
    plain = papertune.train(papers(24), make_recipe(folders[1]), tmp_path / "plain")
    new = papers(12, 300)
    found, expected = (each.predict(new, probabilities=True) for each in (run, plain))
    assert found["label"].to_list() == expected["label"].to_list()
    for name in ("label_probability_1", "label_probability_0"):
        assert found[name].cast(float).to_list() == pytest.approx(expected[name].cast(float).to_list(), abs=1e-4)
    assert found["label_probability_1"].n_unique() > 6
    assert load_config(run.base).num_hidden_layers == 2
    assert load_own_llama(run.base, "fp32") is not None


@pytest.mark.once
def test_a_merged_model_has_the_kept_layers_only(run, papers, tmp_path):
    run.merge(tmp_path / "merged", precision="fp32")
    assert json.loads((tmp_path / "merged" / "config.json").read_text())["num_hidden_layers"] == 2
    merged, _ = load_model(tmp_path / "merged", precision="fp32", device="cpu")
    own, _ = run.load("fp32")
    ids = torch.arange(20, 40)[None]
    torch.testing.assert_close(merged(ids).logits, own(ids).logits)


def test_int8_has_the_kept_layers_only(run, papers):
    new = papers(6, 300)
    found = run.predict(new, probabilities=True, precision="int8")["label_probability_1"]
    full = run.predict(new, probabilities=True, precision="fp32")["label_probability_1"]
    assert [float(p) for p in found] == pytest.approx([float(p) for p in full], abs=0.1)


@pytest.mark.once
def test_another_training_starts_from_the_kept_layers(run, folders, papers, tmp_path):
    further = make_recipe(folders[0], start_from=str(run.directory.path))
    del further["method"]["rank"]
    again = papertune.train(papers(24), further, tmp_path / "again")
    assert again.recipe.method.keep_layers == 2
    further["method"]["keep_layers"] = 1
    with pytest.raises(RecipeError) as caught:
        papertune.train(papers(24), further, tmp_path / "other")
    assert str(caught.value) == (f"method.keep_layers is 1, but {run.directory.path} was trained with 2. Leave it out.")


@pytest.mark.once
def test_more_layers_than_there_are_is_an_error_before_the_training(folders, papers, tmp_path):
    with pytest.raises(ModelError) as caught:
        papertune.train(papers(24), make_recipe(folders[0], keep_layers=4), tmp_path / "run")
    assert str(caught.value) == "method.keep_layers is 4, but the model has 3 layers. Choose at most 3."
    assert not (tmp_path / "run").exists()


@pytest.mark.once
def test_qwen2_keeps_its_first_layers(tiny_tokenizer, tmp_path):
    torch.manual_seed(0)
    shape = {"hidden_size": 32, "intermediate_size": 48, "num_attention_heads": 4, "num_key_value_heads": 2}
    config = Qwen2Config(vocab_size=len(tiny_tokenizer), num_hidden_layers=3, initializer_range=0.3, **shape)
    model = Qwen2ForCausalLM(config).eval()
    model.save_pretrained(tmp_path)
    tiny_tokenizer.save_pretrained(tmp_path)
    kept, _ = load_model(replace(find_base(str(tmp_path)), first_layers=2), precision="fp32", device="cpu")
    ids = torch.arange(20, 40)[None]
    with torch.no_grad():
        whole = model(ids, use_cache=False).logits
        del model.model.layers[2]
        torch.testing.assert_close(kept(ids, use_cache=False).logits, model(ids, use_cache=False).logits)
        assert not torch.equal(kept(ids, use_cache=False).logits, whole)
    assert kept.config.layer_types == ["full_attention"] * 2

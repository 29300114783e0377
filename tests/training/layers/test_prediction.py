import weakref

import pytest
import torch
from transformers import LlamaConfig, LlamaForCausalLM, Qwen2Config, Qwen2ForCausalLM

from papertune.evaluation.dev_score import DevScore
from papertune.methods import FullMethod, LoraMethod, build_trainable
from papertune.recipe import load_recipe
from papertune.tables import read_table
from papertune.training.layers import prediction
from papertune.training.layers.decoder import own_decoder
from papertune.training.layers.prediction import predicting_copy

SIZES = {
    "vocab_size": 60,
    "hidden_size": 32,
    "intermediate_size": 40,
    "num_hidden_layers": 3,
    "num_attention_heads": 4,
    "num_key_value_heads": 2,
}
MODELS = {
    "biases": lambda: LlamaForCausalLM(LlamaConfig(**SIZES, attention_bias=True, mlp_bias=True)),
    "tied": lambda: LlamaForCausalLM(LlamaConfig(**SIZES, tie_word_embeddings=True)),
    "qwen2": lambda: Qwen2ForCausalLM(Qwen2Config(**SIZES)),
}
METHODS = {"all": LoraMethod(rank=3, alpha=5), "last": LoraMethod(rank=2, layers=1, targets=("q_proj", "up_proj"))}
IDS = torch.tensor([[3, 9, 4, 50, 7]])


def adapted(model, method):
    torch.manual_seed(0)
    model = build_trainable(model, method, seed=0)
    with torch.no_grad():
        for name, parameter in model.named_parameters():
            if "bias" in name or "norm" in name or "lora_B" in name:
                parameter += 0.2 * torch.randn(parameter.shape)
    return model


@pytest.mark.parametrize("method", METHODS)
@pytest.mark.parametrize("name", MODELS)
def test_the_copy_of_a_model_in_training_predicts_what_the_model_does(name, method):
    model = adapted(MODELS[name](), METHODS[method]).eval()
    before = {name: tensor.clone() for name, tensor in model.state_dict().items()}
    with torch.no_grad():
        expected = model(input_ids=IDS).logits
    for context in (own_decoder(model, torch.float32), torch.enable_grad()):
        with context:
            copied = predicting_copy(model, torch.float32)
        torch.testing.assert_close(copied(IDS).logits, expected, rtol=1e-4, atol=1e-4)
    assert all(torch.equal(tensor, before[name]) for name, tensor in model.state_dict().items())
    assert all(parameter.requires_grad == ("lora" in name) for name, parameter in model.named_parameters())


def test_sums_of_weights_and_adapters_are_not_held_while_they_are_packed(monkeypatch):
    sums, merged, product_of = [], prediction._merged, prediction.product_of

    def recorded(layer, name):
        found = merged(layer, name)
        sums.append(weakref.ref(found))
        return found

    def product(*arguments):
        assert [each() for each in sums] == [None] * len(sums)
        return product_of(*arguments)

    monkeypatch.setattr(prediction, "_merged", recorded)
    monkeypatch.setattr(prediction, "product_of", product)
    assert predicting_copy(adapted(MODELS["tied"](), METHODS["all"]), torch.float32) is not None
    assert len(sums) > 3 * 7


def test_models_that_have_no_own_passes_and_large_ones_are_not_copied(own_tiny_model, monkeypatch):
    assert predicting_copy(own_tiny_model, torch.bfloat16) is None  # its weights are float32
    model = adapted(own_tiny_model, METHODS["all"])
    size = sum(parameter.numel() * 4 for parameter in model.parameters())
    monkeypatch.setattr(prediction, "MAX_COPY_BYTES", size)
    assert predicting_copy(model, torch.float32) is not None
    monkeypatch.setattr(prediction, "MAX_COPY_BYTES", size - 1)
    assert predicting_copy(model, torch.float32) is None
    assert predicting_copy(build_trainable(MODELS["tied"](), FullMethod(kind="full"), seed=0), torch.float32) is None


def test_dev_scores_are_those_of_the_model_itself(own_tiny_model, tiny_tokenizer, monkeypatch):
    columns = {
        "label": {"kind": "label", "question": "Medical?", "labels": ["1", "0"]},
        "words": {"kind": "keywords", "question": "Keywords?", "max_new_tokens": 4},
    }
    recipe = load_recipe({"table": {"document": "{text}"}, "columns": columns})
    rows = [{"text": f"paper {n} " * n, "label": str(n % 2), "words": "a; b"} for n in range(1, 9)]
    score = DevScore([read_table(rows)], recipe, tiny_tokenizer, torch.float32)
    model = adapted(own_tiny_model, METHODS["all"]).eval()
    found = score(model)
    monkeypatch.setattr("papertune.training.layers.prediction.predicting_copy", lambda *_: None)
    assert found == pytest.approx(score(model), abs=1e-4)
    assert found["label_log_loss"] > 0

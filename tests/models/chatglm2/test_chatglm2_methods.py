"""papertune's methods on ChatGLM2: they find its layers, and training reduces the loss."""

import pytest
import torch

from papertune.errors import ModelError
from papertune.methods import (
    build_trainable,
    checkpoint_activations,
    count_parameters,
    load_adapter,
    merge_adapter,
)
from papertune.methods.prefix.cache import KeyValueShape, key_value_shape
from papertune.recipe import FreezeMethod, FullMethod, LoraMethod, PtuningV2Method

IDS = torch.arange(3, 27).reshape(2, 12)
TOLERANCE = {"rtol": 0, "atol": 1e-4}


def trained(model):
    return {name for name, weight in model.named_parameters() if weight.requires_grad}


def step(model):
    """Return the loss before and after one training step."""
    model.train()
    optimizer = torch.optim.SGD([weight for weight in model.parameters() if weight.requires_grad], lr=0.05)
    losses = []
    for _ in range(2):
        optimizer.zero_grad()
        loss = model(input_ids=IDS, labels=IDS, use_cache=False).loss
        losses.append(loss.item())
        loss.backward()
        optimizer.step()
    return losses


@pytest.mark.parametrize(
    ("targets", "layers"),
    [
        (("query_key_value",), ["self_attention.query_key_value"]),
        (
            "all-linear",
            ["self_attention.query_key_value", "self_attention.dense", "mlp.dense_h_to_4h", "mlp.dense_4h_to_h"],
        ),
    ],
)
def test_lora(make_chatglm2, targets, layers, tmp_path):
    model = make_chatglm2()
    before = model(input_ids=IDS).logits
    tuned = build_trainable(model, LoraMethod(rank=2, targets=targets), seed=0)
    torch.testing.assert_close(tuned(input_ids=IDS).logits, before, **TOLERANCE)
    assert trained(tuned) == {
        f"base_model.model.transformer.encoder.layers.{layer}.{name}.lora_{half}.default.weight"
        for layer in (0, 1)
        for name in layers
        for half in "AB"
    }
    first, second = step(tuned)
    assert second < first
    tuned.eval()
    LoraMethod().save(tuned, tmp_path / "adapter", "a model", torch.float32)
    loaded = load_adapter(make_chatglm2(), tmp_path / "adapter")
    expected = tuned(input_ids=IDS).logits
    torch.testing.assert_close(loaded.eval()(input_ids=IDS).logits, expected, rtol=0, atol=0)
    torch.testing.assert_close(merge_adapter(tuned)(input_ids=IDS).logits, expected, **TOLERANCE)


def test_lora_of_the_published_size(make_chatglm2):
    """The tutorial's adapter has 1,949,696 parameters: rank 8, 28 layers of 4096 to 4608."""
    from papertune.models.chatglm2 import ChatGLMConfig, ChatGLMForConditionalGeneration

    with torch.device("meta"):
        model = ChatGLMForConditionalGeneration(ChatGLMConfig())
        tuned = build_trainable(model, LoraMethod(rank=8, alpha=32, dropout=0.1, targets=("query_key_value",)), seed=0)
    assert count_parameters(tuned)[0] == 8 * 28 * (4096 + 4608) == 1_949_696


def test_lora_of_the_last_layers(make_chatglm2):
    tuned = build_trainable(make_chatglm2(num_layers=3), LoraMethod(rank=2, targets="all-linear", layers=1), seed=0)
    assert {name.split(".layers.")[1][0] for name in trained(tuned)} == {"2"}


def test_unknown_targets_are_reported(make_chatglm2):
    with pytest.raises(ModelError, match="It has: dense, dense_4h_to_h, dense_h_to_4h, query_key_value"):
        build_trainable(make_chatglm2(), LoraMethod(targets=("q_proj",)), seed=0)


def test_full(make_chatglm2, tmp_path):
    model = build_trainable(make_chatglm2(), FullMethod(kind="full"), seed=0)
    assert trained(model) == {name for name, _ in model.named_parameters()}
    first, second = step(model)
    assert second < first
    FullMethod(kind="full").save(model, tmp_path / "model", "a model", torch.float32)
    again = type(model).from_pretrained(tmp_path / "model")
    assert torch.equal(again.eval()(input_ids=IDS).logits, model.eval()(input_ids=IDS).logits)


def test_freeze(make_chatglm2):
    model = build_trainable(make_chatglm2(num_layers=3), FreezeMethod(kind="freeze", layers=2), seed=0)
    assert {name.split(".layers.")[1][0] for name in trained(model)} == {"1", "2"}
    first, second = step(model)
    assert second < first
    method = FreezeMethod(kind="freeze", layers=1, modules=("mlp",))
    model = build_trainable(make_chatglm2(), method, seed=0)
    start = "transformer.encoder.layers.1.mlp"
    assert trained(model) == {f"{start}.dense_h_to_4h.weight", f"{start}.dense_4h_to_h.weight"}


@pytest.mark.parametrize(
    ("config", "shape"),
    [
        ({}, KeyValueShape(2, 2, 8)),
        ({"multi_query_group_num": 1, "num_layers": 3}, KeyValueShape(3, 1, 8)),
        ({"multi_query_attention": False, "kv_channels": 12, "hidden_size": 20}, KeyValueShape(2, 4, 12)),
    ],
)
def test_prefix(make_chatglm2, config, shape):
    model = make_chatglm2(**config)
    assert key_value_shape(model) == shape
    assert (model.config.num_key_value_heads, model.config.head_dim) == (shape.heads, shape.head_dim)
    for projection in (False, True):
        method = PtuningV2Method(kind="ptuning_v2", prefix_length=3, projection=projection)
        tuned = build_trainable(make_chatglm2(**config), method, seed=0)
        prefix = tuned.prefix()
        assert prefix.keys.shape == prefix.values.shape == (shape.layers, shape.heads, 3, shape.head_dim)
        assert prefix.first_position == 0, "positions of the text start at 0"
        first, second = step(tuned)
        assert second < first


@pytest.mark.parametrize("config", [{}, {"multi_query_attention": False, "kv_channels": 12, "hidden_size": 20}])
@pytest.mark.parametrize("projection", [False, True], ids=["plain", "projected"])
def test_an_untrained_text_prefix_answers_like_the_text_before_the_prompt(make_chatglm2, config, projection):
    method = PtuningV2Method(kind="ptuning_v2", prefix_length=5, projection=projection)
    text = [7, 50, 9, 7, 50]
    expected = make_chatglm2(**config)(input_ids=torch.cat([torch.tensor([text, text]), IDS], dim=1)).logits[:, 5:]
    tuned = build_trainable(make_chatglm2(**config), method, seed=0, text=text[:3])
    torch.testing.assert_close(tuned.eval()(input_ids=IDS).logits, expected, **TOLERANCE)
    assert tuned.prefix().first_position == 0
    first, second = step(tuned)
    assert second < first


@pytest.mark.parametrize(
    "method",
    [
        LoraMethod(rank=2, targets="all-linear"),
        PtuningV2Method(kind="ptuning_v2", prefix_length=3),
        PtuningV2Method(kind="ptuning_v2", prefix_length=3, projection=True),
        FullMethod(kind="full"),
        FreezeMethod(kind="freeze", layers=1),
    ],
    ids=lambda method: method.kind,
)
def test_gradient_checkpointing(make_chatglm2, method):
    results = []
    for checkpointing in (False, True):
        model = build_trainable(make_chatglm2(), method, seed=0)
        if isinstance(method, LoraMethod):
            # They are zero at first, and half of the gradients would be zero.
            torch.manual_seed(1)
            for name, weight in model.named_parameters():
                if "lora_B" in name:
                    torch.nn.init.normal_(weight)
        if checkpointing:
            checkpoint_activations(model)
        model.train()
        loss = model(input_ids=IDS, labels=IDS, use_cache=False).loss
        loss.backward()
        results.append((loss, {n: w.grad for n, w in model.named_parameters() if w.requires_grad}))
    (loss, gradients), (other, others) = results
    torch.testing.assert_close(loss, other, rtol=0, atol=1e-6)
    assert gradients.keys() == others.keys()
    for name, gradient in gradients.items():
        assert gradient.abs().max() > 0
        torch.testing.assert_close(others[name], gradient, rtol=1e-4, atol=1e-6)

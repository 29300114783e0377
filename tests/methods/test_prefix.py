import json
import re

import pytest
import torch
from peft import PeftModel
from safetensors.torch import load_file, save_file
from transformers import (
    DynamicCache,
    Gemma3ForCausalLM,
    Gemma3TextConfig,
    LlamaConfig,
    LlamaForCausalLM,
    MistralConfig,
    MistralForCausalLM,
    Qwen2Config,
    Qwen2ForCausalLM,
    Qwen3Config,
    Qwen3ForCausalLM,
)
from transformers.modeling_layers import GradientCheckpointingLayer
from transformers.models.llama.modeling_llama import LlamaAttention

from papertune.errors import ModelError, RunError
from papertune.methods import (
    LoraMethod,
    PtuningV2Method,
    build_trainable,
    check_adapter,
    checkpoint_activations,
    count_parameters,
    load_adapter,
    prefix_of,
)

TOLERANCE = {"rtol": 0, "atol": 1e-4}  # float32, logits of size 10
IDS = torch.arange(3, 27).reshape(2, 12)
SHAPE = {
    "vocab_size": 101,
    "hidden_size": 32,
    "intermediate_size": 48,
    "num_hidden_layers": 2,
    "num_attention_heads": 4,
    "num_key_value_heads": 2,
    "head_dim": 8,
    "initializer_range": 0.3,
    "bos_token_id": 1,
    "eos_token_id": 2,
    "pad_token_id": 0,
}


class TextFirst(LlamaForCausalLM):
    """Counts the text from 0 as ChatGLM2 does, without the prefix."""

    prefix_takes_positions = False


def make(name):
    """Build a tiny model with random but fixed weights; its windows are 8 tokens long."""
    torch.manual_seed(1)
    layers = ["sliding_attention", "full_attention"]
    model = {
        "llama": lambda: LlamaForCausalLM(LlamaConfig(**SHAPE)),
        "text first": lambda: TextFirst(LlamaConfig(**SHAPE)),
        "qwen2": lambda: Qwen2ForCausalLM(Qwen2Config(**SHAPE)),
        "qwen3": lambda: Qwen3ForCausalLM(Qwen3Config(**SHAPE)),
        "mistral": lambda: MistralForCausalLM(MistralConfig(**SHAPE, sliding_window=8)),
        "gemma": lambda: Gemma3ForCausalLM(Gemma3TextConfig(**SHAPE, sliding_window=8, layer_types=layers)),
    }[name]()
    return model.eval()


ORDINARY = ["llama", "qwen2", "qwen3", "mistral", "gemma"]
PLAIN = PtuningV2Method(kind="ptuning_v2", prefix_length=5)
PROJECTED = PtuningV2Method(kind="ptuning_v2", prefix_length=5, projection=True)
DROPPED = PtuningV2Method(kind="ptuning_v2", prefix_length=5, dropout=0.3)
LONG = PtuningV2Method(kind="ptuning_v2", prefix_length=11)  # longer than the windows


def logits(model, ids=IDS, **options):
    with torch.no_grad():
        return model.eval()(input_ids=ids, **options).logits


def trainable_of(model):
    return {name: p for name, p in model.named_parameters() if p.requires_grad}


def save(model, folder):
    PLAIN.save(model, folder, "tiny", torch.float32)
    return folder


@pytest.mark.parametrize("dtype", [torch.float32, torch.bfloat16])
@pytest.mark.parametrize("method", [PLAIN, PROJECTED])
def test_only_the_prefix_is_trained_in_float32(method, dtype):
    model = build_trainable(make("llama").to(dtype), method, seed=0)
    trainable = trainable_of(model)
    assert all("prompt_encoder" in name and p.dtype == torch.float32 for name, p in trainable.items())
    assert {p.dtype for name, p in model.named_parameters() if name not in trainable} == {dtype}
    kept = 2 * 2 * 16  # keys and values of two layers, two heads of 8 each
    layers = 5 * 16 + (16 * 32 + 32) + (32 * kept + kept)
    total = layers if method.projection else 5 * kept
    assert count_parameters(model) == (total, total + make("llama").num_parameters())
    model.train()(input_ids=IDS).logits.float().square().mean().backward()
    assert all(p.grad is not None and p.grad.isfinite().all() and p.grad.any() for p in trainable.values())
    assert all(p.grad is None for name, p in model.named_parameters() if name not in trainable)


@pytest.mark.filterwarnings("ignore:.*is_gradient_checkpointing:FutureWarning")  # peft's own call
@pytest.mark.parametrize("method", [PLAIN, PROJECTED, LONG], ids=["plain", "projected", "long"])
@pytest.mark.parametrize("name", ORDINARY)
def test_the_saved_prefix_gives_the_same_logits_in_peft(name, method, tmp_path):
    model = build_trainable(make(name), method, seed=0)
    expected = logits(model)
    assert (expected - logits(make(name))).abs().max() > 0.1
    folder = save(model, tmp_path / "adapter")
    assert sorted(file.name for file in folder.iterdir()) == ["adapter_config.json", "adapter_model.safetensors"]
    assert check_adapter(folder)["base_model_name_or_path"] == "tiny"
    torch.testing.assert_close(logits(PeftModel.from_pretrained(make(name), folder)), expected, **TOLERANCE)
    loaded = load_adapter(make(name), folder)
    assert not trainable_of(loaded)
    torch.testing.assert_close(logits(loaded), expected, rtol=0, atol=1e-6)


@pytest.mark.parametrize("name", [*ORDINARY, "text first"])
def test_logits_equal_those_computed_token_by_token(name):
    """One row, one token after the other, with an ordinary cache that holds the prefix."""
    base = make(name)
    model = build_trainable(make(name), PLAIN, seed=0)
    numbers = model.prompt_encoder["default"].embedding.weight.detach()
    pairs = numbers.view(5, 2, 2, 2, 8).permute(1, 2, 3, 0, 4)  # (layers, key or value, heads, virtual, head_dim)
    first = 0 if name == "text first" else 5
    expected = []
    for row in IDS:
        cache = DynamicCache([(key[None], value[None]) for key, value in pairs])
        steps = [
            logits(base, token.view(1, 1), past_key_values=cache, position_ids=torch.tensor([[first + place]]))
            for place, token in enumerate(row)
        ]
        expected.append(torch.cat(steps, dim=1))
    torch.testing.assert_close(logits(model), torch.cat(expected), **TOLERANCE)


@pytest.mark.parametrize("name", ["llama", "text first", "gemma"])
def test_logits_are_the_same_with_a_cache(name):
    model = build_trainable(make(name), PLAIN, seed=0).eval()
    expected = logits(model, use_cache=False)
    torch.testing.assert_close(logits(model), expected, rtol=0, atol=0)
    with torch.no_grad():
        output = model(input_ids=IDS[:, :7], use_cache=True)
        assert output.past_key_values.get_seq_length() == 5 + 7
        places = torch.arange(7, 12)[None] + prefix_of(model).first_position
        rest = model.base_model(input_ids=IDS[:, 7:], past_key_values=output.past_key_values, position_ids=places)
    torch.testing.assert_close(torch.cat([output.logits, rest.logits], dim=1), expected, **TOLERANCE)


@pytest.mark.parametrize("name", ["llama", "text first"])
def test_padding_does_not_change_logits(name):
    model = build_trainable(make(name), PLAIN, seed=0)
    expected = logits(model, IDS[:1])
    padded = torch.cat([torch.full((1, 3), 9), IDS[:1]], dim=1)
    mask = torch.tensor([[0] * 3 + [1] * 12])
    places = torch.tensor([[0] * 3 + list(range(12))])
    got = logits(model, padded, attention_mask=mask, position_ids=places)[:, 3:]
    torch.testing.assert_close(got, expected, **TOLERANCE)


def one_step(name, method, *, checkpointing, dtype=torch.float32, accumulated=1):
    """Return a loss, the gradients of the prefix, and how often the first layer was computed."""
    model = build_trainable(make(name).to(dtype), method, seed=0)
    if checkpointing:
        checkpoint_activations(model)
    passes = []
    model.get_base_model().model.layers[0].self_attn.register_forward_hook(lambda *_: passes.append(1))
    torch.manual_seed(2)
    with torch.autocast("cpu", dtype, enabled=dtype != torch.float32):
        loss = model.train()(input_ids=IDS, use_cache=False).logits.float().logsumexp(-1).mean()
    loss.backward()
    return loss.detach(), {name: p.grad for name, p in trainable_of(model).items()}, len(passes)


@pytest.mark.parametrize("method", [PLAIN, PROJECTED, DROPPED], ids=["plain", "projected", "dropped"])
@pytest.mark.parametrize("name", [*ORDINARY, "text first"])
def test_checkpointing_changes_neither_loss_nor_gradient(name, method):
    loss, gradients, passes = one_step(name, method, checkpointing=False)
    loss_again, gradients_again, passes_again = one_step(name, method, checkpointing=True)
    assert (passes, passes_again) == (1, 2)
    torch.testing.assert_close(loss_again, loss, rtol=0, atol=0)
    assert gradients.keys() == gradients_again.keys()
    for parameter, gradient in gradients.items():
        assert gradient.any()
        torch.testing.assert_close(gradients_again[parameter], gradient, rtol=0, atol=1e-7)


def test_checkpointing_changes_neither_loss_nor_gradient_in_bfloat16():
    loss, gradients, _ = one_step("llama", DROPPED, checkpointing=False, dtype=torch.bfloat16)
    loss_again, gradients_again, _ = one_step("llama", DROPPED, checkpointing=True, dtype=torch.bfloat16)
    assert torch.equal(loss, loss_again)
    for parameter, gradient in gradients.items():
        assert gradient.any()
        torch.testing.assert_close(gradients_again[parameter], gradient, rtol=0, atol=0)


def test_checkpointing_that_would_lose_the_prefix_is_refused(monkeypatch):
    model = build_trainable(make("llama"), PLAIN, seed=0)
    monkeypatch.delattr(GradientCheckpointingLayer, "_can_checkpoint_with_cache")
    with pytest.raises(ModelError, match=r"LlamaForCausalLM: .* Set training.gradient_checkpointing = false\.$"):
        checkpoint_activations(model)


def test_dropout_differs_by_row_and_is_off_in_evaluation():
    model = build_trainable(make("llama"), DROPPED, seed=0)
    twice = IDS[:1].expand(2, -1)
    with torch.no_grad():
        first, second = model.train()(input_ids=twice).logits
    assert (first - second).abs().max() > 0.1
    plain = logits(build_trainable(make("llama"), PLAIN, seed=0), twice)
    torch.testing.assert_close(logits(model, twice), plain, rtol=0, atol=0)


def test_the_seed_determines_a_new_prefix():
    one, same, other = (prefix_of(build_trainable(make("llama"), PLAIN, seed=seed)).keys for seed in (1, 1, 2))
    assert torch.equal(one, same)
    assert not torch.equal(one, other)


def test_prefix_of_returns_a_copy_or_none():
    assert prefix_of(make("llama")) is None
    assert prefix_of(build_trainable(make("llama"), LoraMethod(), seed=0)) is None
    model = build_trainable(make("llama"), PLAIN, seed=0)
    prefix = prefix_of(model)
    assert prefix.keys.shape == prefix.values.shape == (2, 2, 5, 8)
    assert (prefix.length, prefix.first_position) == (5, 5)
    assert not prefix.keys.requires_grad
    with torch.no_grad():
        model.prompt_encoder["default"].embedding.weight.zero_()
    assert prefix.keys.any(), "it is a copy"
    assert prefix_of(build_trainable(make("text first"), PLAIN, seed=0)).first_position == 0


@pytest.mark.parametrize("method", [PLAIN, PROJECTED])
def test_a_saved_encoder_is_restored(method, tmp_path):
    model, other = (build_trainable(make("llama"), method, seed=seed) for seed in (0, 1))
    model.save_encoder(tmp_path)
    other.load_encoder(tmp_path)
    for name, parameter in trainable_of(model).items():
        assert torch.equal(trainable_of(other)[name], parameter)


@pytest.fixture
def adapter(tmp_path):
    """The folder of a prefix for the tiny Llama."""
    return save(build_trainable(make("llama"), PLAIN, seed=0), tmp_path / "adapter")


@pytest.mark.parametrize(
    ("other", "has"),
    [
        ({"num_hidden_layers": 3}, "3 layers with 2 key-value heads of 8"),
        ({"num_key_value_heads": 4}, "2 layers with 4 key-value heads of 8"),
        ({"head_dim": 4}, "2 layers with 2 key-value heads of 4"),
    ],
)
def test_a_prefix_for_other_layers_is_refused(adapter, other, has):
    model = LlamaForCausalLM(LlamaConfig(**SHAPE | other)).eval()
    with pytest.raises(ModelError) as caught:
        load_adapter(model, adapter)
    assert str(caught.value) == (
        f"{adapter}: the adapter does not fit the base model: the prefix is for 2 layers with 2 key-value heads of 8, "
        f"but the model has {has}. Name the model that it was trained on."
    )


def configure(folder, **values):
    file = folder / "adapter_config.json"
    kept = json.loads(file.read_text("utf-8")) | values
    file.write_text(json.dumps({key: value for key, value in kept.items() if value is not None}))


def test_numbers_missing_in_the_configuration_come_from_the_model(adapter):
    expected = logits(load_adapter(make("llama"), adapter))
    configure(adapter, num_layers=None, num_attention_heads=None, token_dim=None, num_transformer_submodules=None)
    torch.testing.assert_close(logits(load_adapter(make("llama"), adapter)), expected, rtol=0, atol=0)


def test_weights_that_contradict_the_configuration_are_refused(adapter):
    configure(adapter, num_virtual_tokens=6)
    message = (
        f"{adapter}: the adapter's prompt_embeddings have the shape (5, 64), but its adapter_config.json describes"
    )
    with pytest.raises(RunError, match=re.escape(f"{message} (6, 64)")):
        load_adapter(make("llama"), adapter)
    configure(adapter, num_virtual_tokens=None)
    with pytest.raises(RunError, match="has no 'num_virtual_tokens', so it is not the configuration of a P-Tuning v2"):
        load_adapter(make("llama"), adapter)
    configure(adapter, num_virtual_tokens=5)
    save_file({"x": torch.zeros(1)}, adapter / "adapter_model.safetensors")
    with pytest.raises(RunError, match="has no prompt_embeddings, so it is not a prefix"):
        load_adapter(make("llama"), adapter)
    (adapter / "adapter_model.safetensors").write_bytes(b"cut off")
    with pytest.raises(RunError, match="the adapter's weights cannot be read"):
        load_adapter(make("llama"), adapter)


def test_a_saved_adapter_is_the_prefix_alone_in_float32(adapter):
    ((name, tensor),) = load_file(adapter / "adapter_model.safetensors").items()
    assert (name, tensor.dtype, tuple(tensor.shape)) == ("prompt_embeddings", torch.float32, (5, 64))
    config = check_adapter(adapter)
    kept = ("peft_type", "task_type", "num_virtual_tokens", "num_layers", "num_attention_heads", "token_dim")
    assert [config[key] for key in kept] == ["PREFIX_TUNING", "CAUSAL_LM", 5, 2, 2, 16]


def test_layers_with_different_cache_shapes_are_refused():
    model = make("llama")
    model.model.layers[1].self_attn = LlamaAttention(LlamaConfig(**SHAPE | {"num_key_value_heads": 4}), 1)
    model.model.layers[1].self_attn.config._attn_implementation = "sdpa"
    with pytest.raises(ModelError) as caught:
        build_trainable(model, PLAIN, seed=0)
    assert str(caught.value) == (
        "LlamaForCausalLM: its layers cache keys and values of different shapes (heads x size: 2 x 8, 4 x 8), so a "
        'prefix cannot fit all of them. Use another method, such as method.kind = "lora".'
    )


def test_layers_without_a_cache_are_refused():
    model = make("llama")
    model.model.layers[1].forward = lambda hidden, **_: hidden
    with pytest.raises(ModelError, match=r"heads x size: none, 2 x 8\)"):
        build_trainable(model, PLAIN, seed=0)

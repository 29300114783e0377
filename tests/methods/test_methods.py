import json
import math
import re
import shutil

import pytest
import torch
from safetensors.torch import load_file, save_file
from torch import nn

from papertune.errors import ModelError, RunError
from papertune.methods import (
    FreezeMethod,
    FullMethod,
    LoraMethod,
    PtuningV2Method,
    build_trainable,
    check_adapter,
    count_parameters,
    load_adapter,
    merge_adapter,
)
from papertune.models import load_model

IDS = torch.arange(3, 23).reshape(2, 10)
VARIANTS = {
    "lora": LoraMethod(rank=3, alpha=5),
    "rslora": LoraMethod(rank=4, alpha=5, rslora=True),
    "dora": LoraMethod(rank=3, alpha=5, dora=True),
    "targets": LoraMethod(rank=2, alpha=4, targets=("q_proj", "down_proj")),
    "layers": LoraMethod(rank=2, alpha=4, layers=1),
}


def logits(model):
    with torch.no_grad():
        return model.eval()(input_ids=IDS).logits


def trained(model, method, **options):
    """Build a model and move its trainable parameters, as training would."""
    adapted = build_trainable(model, method, seed=0, **options)
    with torch.no_grad():
        for parameter in adapted.parameters():
            if parameter.requires_grad:
                parameter.add_(torch.randn_like(parameter) * 0.1)
    return adapted


@pytest.fixture
def adapter(make_model, tmp_path):
    """The folder of a LoRA adapter for the tiny model, and the logits of the model with it."""
    model = trained(make_model(), VARIANTS["lora"])
    VARIANTS["lora"].save(model, tmp_path / "adapter", "tiny", torch.float32)
    return tmp_path / "adapter", logits(model)


@pytest.mark.parametrize("dtype", [torch.float32, torch.bfloat16])
def test_lora_trains_only_its_own_parameters_in_float32(own_tiny_model, dtype):
    base = own_tiny_model.to(dtype)
    before = logits(base)
    linear = {name for name, module in base.named_modules() if isinstance(module, nn.Linear)}
    model = build_trainable(base, LoraMethod(), seed=0)
    trainable = {name: p for name, p in model.named_parameters() if p.requires_grad}
    assert all(".lora_" in name and p.dtype == torch.float32 for name, p in trainable.items())
    assert {p.dtype for name, p in model.named_parameters() if name not in trainable} == {dtype}
    # All linear layers but the output layer, an A and a B each.
    adapted = {name.split("base_model.model.")[1].split(".lora_")[0] for name in trainable}
    assert adapted == linear - {"lm_head"}
    assert len(trainable) == 2 * len(adapted)
    torch.testing.assert_close(logits(model), before, rtol=0, atol=0)  # B begins with zeros
    total = sum(p.numel() for p in trainable.values())
    assert count_parameters(model) == (total, sum(p.numel() for p in model.parameters()))
    # Gradients reach every adapter.
    model.train()(input_ids=IDS).logits.float().square().mean().backward()
    assert all(p.grad is not None and p.grad.isfinite().all() for p in trainable.values())


def test_lora_adapts_only_the_named_targets(own_tiny_model):
    model = build_trainable(own_tiny_model, VARIANTS["targets"], seed=0)
    names = {name.split(".lora_")[0].rsplit(".", 1)[-1] for name, p in model.named_parameters() if p.requires_grad}
    assert names == {"q_proj", "down_proj"}


@pytest.mark.parametrize("method", [LoraMethod(rank=2), PtuningV2Method(kind="ptuning_v2", prefix_length=3)])
def test_a_saved_adapter_has_no_model_card(method, own_tiny_model, tmp_path):
    build_trainable(own_tiny_model, method, seed=0).save_pretrained(tmp_path)
    assert {path.name for path in tmp_path.iterdir()} == {"adapter_config.json", "adapter_model.safetensors"}


@pytest.mark.parametrize(("layers", "count"), [(2, 1), (12, 1), (12, 3), (12, 12)])
def test_lora_can_adapt_the_last_layers_only(make_model, layers, count):
    model = build_trainable(make_model(layers=layers), LoraMethod(rank=2, layers=count), seed=0)
    adapted = {name.split(".layers.")[1].split(".")[0] for name, p in model.named_parameters() if p.requires_grad}
    assert adapted == {str(layer) for layer in range(layers - count, layers)}


def test_lora_refuses_more_layers_than_the_model_has(own_tiny_model):
    with pytest.raises(ModelError, match=r"^method.layers is 3, but the model has 2 layers\. Choose at most 2\.$"):
        build_trainable(own_tiny_model, LoraMethod(layers=3), seed=0)


def test_lora_refuses_an_unknown_target(own_tiny_model):
    with pytest.raises(ModelError) as caught:
        build_trainable(own_tiny_model, LoraMethod(targets=("q_proj", "query_key_value")), seed=0)
    assert str(caught.value) == (
        "method.targets names query_key_value, but the model has no such linear layer. It has: "
        'down_proj, gate_proj, k_proj, o_proj, q_proj, up_proj, v_proj. Or use "all-linear".'
    )


def test_the_seed_determines_new_lora_parameters(make_model):
    weights = [
        [p for p in build_trainable(make_model(), LoraMethod(), seed=seed).parameters() if p.requires_grad]
        for seed in (1, 1, 2)
    ]
    assert all(torch.equal(a, b) for a, b in zip(weights[0], weights[1], strict=True))
    assert not all(torch.equal(a, b) for a, b in zip(weights[0], weights[2], strict=True))


@pytest.mark.parametrize("name", VARIANTS)
def test_a_saved_lora_adapter_gives_the_same_logits_loaded_and_merged(name, make_model, tmp_path):
    model = trained(make_model(), VARIANTS[name])
    expected = logits(model)
    assert (expected - logits(make_model())).abs().max() > 0.1
    folder = tmp_path / "adapter"
    VARIANTS[name].save(model, folder, "tiny", torch.float32)
    assert sorted(file.name for file in folder.iterdir()) == ["adapter_config.json", "adapter_model.safetensors"]
    assert check_adapter(folder)["base_model_name_or_path"] == "tiny"

    loaded = load_adapter(make_model(), folder)
    assert not any(parameter.requires_grad for parameter in loaded.parameters())
    torch.testing.assert_close(logits(loaded), expected, rtol=0, atol=0)

    merged = merge_adapter(loaded)
    assert not any("lora" in key for key in merged.state_dict())
    assert type(merged) is type(make_model())
    torch.testing.assert_close(logits(merged), expected, rtol=0, atol=1e-5)


@pytest.mark.parametrize(("name", "scale"), [("lora", 5 / 3), ("rslora", 5 / math.sqrt(4))])
def test_merged_lora_weights_are_w0_plus_scale_times_b_a(name, scale, make_model, tmp_path):
    base = make_model().state_dict()
    model = trained(make_model(), VARIANTS[name])
    VARIANTS[name].save(model, tmp_path / "adapter", "tiny", torch.float32)
    saved = load_file(tmp_path / "adapter" / "adapter_model.safetensors")
    merged = merge_adapter(model).state_dict()
    assert merged.keys() == base.keys()
    for key, weight in base.items():
        prefix = f"base_model.model.{key.removesuffix('.weight')}.lora_"
        if f"{prefix}A.weight" in saved:
            weight = weight + scale * saved[f"{prefix}B.weight"] @ saved[f"{prefix}A.weight"]
        torch.testing.assert_close(merged[key], weight, rtol=0, atol=1e-6)


def test_dora_trains_magnitudes(own_tiny_model):
    model = build_trainable(own_tiny_model, VARIANTS["dora"], seed=0)
    assert any("magnitude" in name for name, p in model.named_parameters() if p.requires_grad)


def test_a_saved_adapter_can_be_trained_further(adapter, own_tiny_model, tmp_path):
    folder, expected = adapter
    model = build_trainable(own_tiny_model, LoraMethod(), seed=0, start=folder)
    torch.testing.assert_close(logits(model), expected, rtol=0, atol=0)
    trainable = {name: p for name, p in model.named_parameters() if p.requires_grad}
    assert len(trainable) == len(load_file(folder / "adapter_model.safetensors"))
    assert {p.dtype for p in trainable.values()} == {torch.float32}


def edit_adapter(folder, edit):
    tensors = load_file(folder / "adapter_model.safetensors")
    edit(tensors)
    save_file(tensors, folder / "adapter_model.safetensors")


def rename_layers(tensors):
    for key in [key for key in tensors if ".layers.1." in key]:
        tensors[key.replace(".layers.1.", ".layers.7.")] = tensors.pop(key)


@pytest.mark.parametrize(
    "edit",
    [
        lambda tensors: [tensors.pop(key) for key in list(tensors) if ".layers.1." in key],  # of a smaller model
        lambda tensors: tensors.update({k.replace(".layers.1.", ".layers.2."): v.clone() for k, v in tensors.items()}),
        rename_layers,
        lambda tensors: tensors.update({key: tensor[:, :2].clone() for key, tensor in tensors.items()}),
    ],
)
def test_a_lora_adapter_that_does_not_fit_is_refused(adapter, own_tiny_model, edit):
    folder, _ = adapter
    edit_adapter(folder, edit)
    with pytest.raises(ModelError, match=re.escape(f"{folder}: the adapter does not fit the base model")):
        load_adapter(own_tiny_model, folder)


def test_a_lora_adapter_for_other_layer_names_is_refused(adapter, own_tiny_model):
    folder, _ = adapter
    config = json.loads((folder / "adapter_config.json").read_text())
    (folder / "adapter_config.json").write_text(json.dumps(config | {"target_modules": ["query_key_value"]}))
    with pytest.raises(ModelError, match=r"the adapter does not fit the base model: .*query_key_value"):
        load_adapter(own_tiny_model, folder)


@pytest.mark.parametrize(
    ("damage", "message"),
    [
        (
            lambda folder: (folder / "adapter_config.json").unlink(),
            " holds no adapter_config.json, so it is not an adapter",
        ),
        (lambda folder: (folder / "adapter_config.json").write_text("{"), "/adapter_config.json is not JSON: "),
        (lambda folder: (folder / "adapter_config.json").write_text("[]"), "/adapter_config.json is not a JSON object"),
        (
            lambda folder: (folder / "adapter_config.json").write_text('{"peft_type": "LORA", "r": "8"}'),
            '/adapter_config.json: "r": input should be a valid integer. Fetch it again.',
        ),
        (
            lambda folder: (folder / "adapter_config.json").write_text('{"target_modules": [1]}'),
            '/adapter_config.json: "target_modules": input should be text or a list of such. Fetch it again.',
        ),
        (
            lambda folder: (folder / "adapter_config.json").write_text('{"peft_type": "LORA", "r": 8}'),
            "/adapter_config.json has no 'lora_alpha', so it is not the configuration of a LoRA adapter.",
        ),
        (
            lambda folder: (folder / "adapter_model.safetensors").unlink(),
            " has an adapter_config.json but no adapter_model.safetensors or adapter_model.bin.",
        ),
        (
            lambda folder: (folder / "adapter_config.json").write_text('{"peft_type": "P_TUNING"}'),
            ": a P_TUNING adapter; only LORA and PREFIX_TUNING are supported.",
        ),
        (shutil.rmtree, " holds no adapter_config.json, so it is not an adapter in peft's format."),
    ],
)
def test_a_folder_that_is_not_an_adapter_is_refused(adapter, own_tiny_model, damage, message):
    folder, _ = adapter
    damage(folder)
    with pytest.raises(RunError) as caught:
        load_adapter(own_tiny_model, folder)
    assert str(caught.value).startswith(f"{folder}{message}")


def test_a_damaged_adapter_is_refused(adapter, own_tiny_model):
    folder, _ = adapter
    (folder / "adapter_model.safetensors").write_bytes(b"cut off")
    with pytest.raises(RunError, match=re.escape(f"{folder}: the adapter's weights cannot be read: ")):
        load_adapter(own_tiny_model, folder)


@pytest.mark.parametrize(("layers", "count"), [(2, 1), (2, 2), (12, 1), (12, 3)])
def test_freeze_trains_the_last_layers_in_float32(make_model, layers, count):
    model = build_trainable(make_model(layers=layers).bfloat16(), FreezeMethod(kind="freeze", layers=count), seed=0)
    expected = {
        name
        for name, _ in model.named_parameters()
        if name.startswith("model.layers.") and int(name.split(".")[2]) >= layers - count
    }
    trainable = {name: p for name, p in model.named_parameters() if p.requires_grad}
    assert trainable.keys() == expected
    assert len({name.split(".")[2] for name in trainable}) == count
    assert {p.dtype for p in trainable.values()} == {torch.float32}
    assert {p.dtype for p in model.parameters() if not p.requires_grad} == {torch.bfloat16}


def test_freeze_can_train_parts_of_a_layer(own_tiny_model):
    method = FreezeMethod(kind="freeze", layers=1, modules=("mlp", "self_attn.o_proj"))
    model = build_trainable(own_tiny_model, method, seed=0)
    assert {name for name, p in model.named_parameters() if p.requires_grad} == {
        "model.layers.1.mlp.gate_proj.weight",
        "model.layers.1.mlp.up_proj.weight",
        "model.layers.1.mlp.down_proj.weight",
        "model.layers.1.self_attn.o_proj.weight",
    }


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ({"layers": 3}, "method.layers is 3, but the model has 2 layers. Choose at most 2."),
        (
            {"modules": ("mlp", "attention")},
            "method.modules names attention, but model.layers.0 has no such part. "
            "It has: self_attn, mlp, input_layernorm, post_attention_layernorm.",
        ),
    ],
)
def test_freeze_refuses_layers_and_parts_that_the_model_lacks(own_tiny_model, options, message):
    with pytest.raises(ModelError) as caught:
        build_trainable(own_tiny_model, FreezeMethod(kind="freeze", **options), seed=0)
    assert str(caught.value) == message


def test_full_trains_all_parameters_in_float32(own_tiny_model):
    model = build_trainable(own_tiny_model.bfloat16(), FullMethod(kind="full"), seed=0)
    assert all(p.requires_grad and p.dtype == torch.float32 for p in model.parameters())
    assert count_parameters(model) == (model.num_parameters(), model.num_parameters())


@pytest.mark.parametrize("method", [FullMethod(kind="full"), FreezeMethod(kind="freeze", layers=1)])
def test_full_and_freeze_save_a_whole_model(method, make_model, tiny_tokenizer, tmp_path):
    model = trained(make_model(), method)
    expected = logits(model)
    method.save(model, tmp_path / "model", "tiny", torch.float32)
    tiny_tokenizer.save_pretrained(tmp_path / "model")
    torch.testing.assert_close(logits(load_model(tmp_path / "model", precision="fp32")[0]), expected, rtol=0, atol=0)


def test_freeze_saves_all_weights_in_one_dtype(own_tiny_model, tmp_path):
    method = FreezeMethod(kind="freeze", layers=1)
    model = build_trainable(own_tiny_model.bfloat16(), method, seed=0)
    method.save(model, tmp_path / "model", "tiny", torch.bfloat16)
    assert {tensor.dtype for tensor in load_file(tmp_path / "model" / "model.safetensors").values()} == {torch.bfloat16}

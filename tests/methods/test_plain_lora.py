"""Adapters that are merged without peft are compared with peft's own merge."""

import copy
import json
import re
from types import SimpleNamespace

import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st
from peft.tuners.tuners_utils import check_target_module_exists
from safetensors.torch import load_file, save_file

from papertune.errors import ModelError, RunError
from papertune.methods import (
    AdapterMethod,
    LoraMethod,
    build_trainable,
    load_adapter,
    load_for_prediction,
    merge_adapter,
)
from papertune.methods.plain_lora import is_target

PLAIN = {
    "lora": LoraMethod(rank=3, alpha=5),
    "rslora": LoraMethod(rank=4, alpha=5, rslora=True, dropout=0.1),
    "targets": LoraMethod(rank=2, alpha=4, targets=("q_proj", "down_proj")),
    "layers": LoraMethod(rank=2, alpha=4, layers=1),
}


@pytest.fixture
def save(make_model, tmp_path):
    """A function that saves the adapter of a method, its parameters moved away from zero."""

    def save(method):
        adapted = build_trainable(make_model(), method, seed=0)
        with torch.no_grad():
            for parameter in adapted.parameters():
                if parameter.requires_grad:
                    parameter.add_(torch.randn_like(parameter) * 0.1)
        method.save(adapted, tmp_path / "adapter", "tiny", torch.float32)
        return tmp_path / "adapter"

    return save


@pytest.fixture
def peft_merges(monkeypatch):
    """A list that grows each time an adapter is left to peft."""
    merges = []
    with_peft = AdapterMethod.load_for_prediction.__func__
    counted = classmethod(lambda *arguments: merges.append(1) or with_peft(*arguments))
    monkeypatch.setattr(AdapterMethod, "load_for_prediction", counted)
    return merges


def edit_config(folder, **keys):
    file = folder / "adapter_config.json"
    file.write_text(json.dumps(json.loads(file.read_text()) | keys))


def assert_equals_peft(model, folder):
    """Compare all weights, to the last bit, with those after peft's merge."""
    expected = merge_adapter(load_adapter(copy.deepcopy(model), folder)).state_dict()
    before = copy.deepcopy(model.state_dict())
    loaded = load_for_prediction(model, folder)
    assert loaded is model
    assert not any(parameter.requires_grad for parameter in loaded.parameters())
    weights = loaded.state_dict()
    assert weights.keys() == expected.keys()
    assert all(torch.equal(weights[key], expected[key]) for key in weights)
    assert not all(torch.equal(weights[key], before[key]) for key in weights)


@pytest.mark.parametrize("dtype", [torch.float32, torch.bfloat16])
@pytest.mark.parametrize("name", PLAIN)
def test_a_plain_adapter_is_merged_as_by_peft(name, dtype, save, make_model, peft_merges):
    folder = save(PLAIN[name])
    assert_equals_peft(make_model().to(dtype), folder)
    assert peft_merges == []


def test_an_adapter_saved_in_bfloat16_is_merged_as_by_peft(save, make_model, peft_merges):
    folder = save(PLAIN["lora"])
    file = folder / "adapter_model.safetensors"
    save_file({key: tensor.bfloat16() for key, tensor in load_file(file).items()}, file)
    assert_equals_peft(make_model(), folder)
    assert peft_merges == []


@pytest.mark.parametrize(
    "keys",
    [
        {"alpha_pattern": {"q_proj": 7}},
        {"target_modules": ".*(q|k|v|o|gate|up|down)_proj"},
        {"layers_to_transform": [0, 1]},  # of any list of layers
        {"layers_to_transform": 1, "layers_pattern": "layers"},
        {"init_lora_weights": "eva"},
        {"exclude_modules": ["lm_head"]},
        {"use_something_new": True},
    ],
)
def test_an_unusual_configuration_is_left_to_peft(keys, save, make_model, peft_merges):
    folder = save(PLAIN["layers" if keys.get("layers_to_transform") == 1 else "lora"])
    edit_config(folder, **keys)
    assert_equals_peft(make_model(), folder)
    assert peft_merges == [1]


def test_dora_is_left_to_peft(save, make_model, peft_merges):
    assert_equals_peft(make_model(), save(LoraMethod(rank=3, alpha=5, dora=True)))
    assert peft_merges == [1]


def test_a_subclass_of_linear_is_left_to_peft(save, make_model, peft_merges):
    """A subclass may use its weight in another way."""

    class Doubled(torch.nn.Linear):
        def forward(self, x):
            return 2 * super().forward(x)

    model = make_model()
    model.model.layers[1].mlp.up_proj.__class__ = Doubled
    assert_equals_peft(model, save(PLAIN["lora"]))
    assert peft_merges == [1]


def change_rank(tensors):
    tensors.update({key: tensor[:, :2].clone() for key, tensor in tensors.items()})


def remove_a_layer(tensors):
    for key in [key for key in tensors if ".layers.1." in key]:
        del tensors[key]


def add_a_layer(tensors):
    tensors.update({k.replace(".layers.1.", ".layers.2."): v.clone() for k, v in tensors.items()})


@pytest.mark.parametrize("edit", [change_rank, remove_a_layer, add_a_layer])
def test_an_adapter_that_does_not_fit_is_refused(edit, save, make_model):
    folder = save(PLAIN["lora"])
    tensors = load_file(folder / "adapter_model.safetensors")
    edit(tensors)
    save_file(tensors, folder / "adapter_model.safetensors")
    with pytest.raises(ModelError, match=re.escape(f"{folder}: the adapter does not fit the base model")):
        load_for_prediction(make_model(), folder)


def test_damaged_or_missing_weights_are_reported(save, make_model):
    folder = save(PLAIN["lora"])
    (folder / "adapter_model.safetensors").write_bytes(b"cut off")
    with pytest.raises(RunError, match=re.escape(f"{folder}: the adapter's weights cannot be read: ")):
        load_for_prediction(make_model(), folder)
    (folder / "adapter_model.safetensors").unlink()
    with pytest.raises(RunError, match=r"has an adapter_config\.json but no adapter_model\.safetensors"):
        load_for_prediction(make_model(), folder)


SEGMENTS = st.sampled_from(["model", "layers", "0", "1", "12", "mlp", "q_proj", "xq_proj"])
NAMES = st.lists(SEGMENTS, min_size=1, max_size=5).map(".".join)


@given(
    name=NAMES,
    targets=st.lists(NAMES | SEGMENTS, min_size=1, max_size=3),
    layers=st.none() | st.lists(st.sampled_from([0, 1, 12]), max_size=2),
    pattern=st.sampled_from(["layers", "model", "h"]),
)
def test_the_same_modules_as_in_peft_are_adapted(name, targets, layers, pattern):
    config = {"target_modules": targets, "layers_to_transform": layers, "layers_pattern": pattern}
    expected = check_target_module_exists(SimpleNamespace(**config), name)
    assert is_target(name, config) == bool(expected)

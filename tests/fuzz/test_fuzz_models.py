"""Model folders and adapters: files with other values end in a message that names the file, or load."""

import json
import shutil
from pathlib import Path
from typing import Any

import peft  # noqa: F401 - before the tests, since packages that it imports warn
import pytest
import torch
from fuzz_outcome import outcome
from hypothesis import example, given, settings
from hypothesis import strategies as st
from safetensors.torch import save_file
from test_fuzz_instructions import replaced, wrong_values

from papertune.methods import add_adapter, load_adapter
from papertune.models import context_tokens, load_config, load_model, load_own_llama
from papertune.models.finding import Base

# A load takes longer than what other fuzz tests do.
FEW = settings(max_examples=max(60, settings.default.max_examples))
FEWER = settings(max_examples=max(20, settings.default.max_examples))
ways = st.lists(st.integers(0, 40), min_size=1, max_size=3)
ROPES = st.sampled_from([
    {"rope_type": 3}, {"rope_type": "yarn"}, {"rope_type": "llama3", "rope_theta": 1e4}, {"rope_theta": "x"},
    {"rope_type": "linear", "rope_theta": 1e4, "factor": "two"}, {"rope_type": "linear"}, {"full_attention": 1},
    {"rope_type": "llama3", "rope_theta": 1e4, "factor": 8, "low_freq_factor": 4, "high_freq_factor": 4},
])  # fmt: skip


@pytest.fixture(scope="module")
def folder(tiny_folder: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Return a copy of the tiny model's folder, with its weights behind an index."""
    folder = shutil.copytree(tiny_folder, tmp_path_factory.mktemp("models") / "copy")
    (folder / "model.safetensors").rename(folder / "all.safetensors")
    return folder


def _write(folder: Path, config: Any, index: Any) -> Base:
    (folder / "config.json").write_text(json.dumps(config))
    (folder / "model.safetensors.index.json").write_text(json.dumps(index))
    return Base("tiny", str(folder), "0")


def _answer(base: Base) -> None:
    """Run tokens through the model by the fast way."""
    context_tokens(load_config(base))
    if (model := load_own_llama(base, "fp32")) is not None:
        model(torch.tensor([[1, 2, 3]]), use_cache=True)


@pytest.fixture(scope="module")
def files(tiny_folder: Path) -> tuple[Any, Any]:
    """Return the content of config.json and of the index."""
    config = json.loads((tiny_folder / "config.json").read_text())
    from safetensors import safe_open

    with safe_open(tiny_folder / "model.safetensors", "pt") as weights:
        return config, {"metadata": {}, "weight_map": dict.fromkeys(weights.keys(), "all.safetensors")}


@FEW
@given(way=ways, new=wrong_values | ROPES, in_index=st.sampled_from([False, False, True]))
@example(way=[0], new={"weight_map": []}, in_index=True)
def test_other_values_in_a_model_folder_are_a_message_or_a_model(
    way: list[int], new: object, in_index: bool, folder: Path, files: tuple[Any, Any]
):
    config, index = files
    base = _write(folder, *((config, replaced(index, way, new)) if in_index else (replaced(config, way, new), index)))
    found = outcome(lambda: _answer(base))
    assert not found.message or str(folder) in found.message


@FEWER
@given(way=ways, new=wrong_values | ROPES, in_index=st.booleans())
def test_transformers_loads_other_values_or_ends_in_a_message(
    way: list[int], new: object, in_index: bool, folder: Path, files: tuple[Any, Any]
):
    config, index = files
    base = _write(folder, *((config, replaced(index, way, new)) if in_index else (replaced(config, way, new), index)))
    found = outcome(lambda: load_model(base, device="cpu", precision="fp32"))
    assert not found.message or str(folder) in found.message


ADAPTER = {
    "peft_type": "LORA",
    "r": 2,
    "lora_alpha": 4,
    "lora_dropout": 0.0,
    "target_modules": ["q_proj"],
    "layers_to_transform": [0],
    "layers_pattern": "layers",
    "use_rslora": False,
    "use_dora": False,
    "bias": "none",
    "init_lora_weights": True,
    "rank_pattern": {},
    "modules_to_save": None,
    "task_type": "CAUSAL_LM",
}


@FEWER
@given(way=ways, new=wrong_values)
@example(way=[6], new="(")
@example(way=[0], new=[])
def test_other_values_in_an_adapter_are_a_message_or_an_adapter(
    way: list[int], new: object, make_model: Any, tmp_path_factory: pytest.TempPathFactory
):
    adapter = tmp_path_factory.mktemp("adapter")
    (adapter / "adapter_config.json").write_text(json.dumps(replaced(ADAPTER, way, new)))
    shapes = {"A": (2, 32), "B": (32, 2)}
    names = {part: f"base_model.model.model.layers.0.self_attn.q_proj.lora_{part}.weight" for part in shapes}
    save_file({names[part]: torch.ones(shape) for part, shape in shapes.items()}, adapter / "adapter_model.safetensors")
    for load in (add_adapter, load_adapter):
        found = outcome(lambda load=load: load(make_model(), adapter))
        assert not found.message or str(adapter) in found.message

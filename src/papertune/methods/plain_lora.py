"""A saved LoRA adapter added to its base weights without peft.

Importing peft takes a second or more, and merging an adapter with it takes another one. Both are saved where an adapter
is nothing but

    W = W0 + s B A      s = alpha / rank, or alpha / sqrt(rank) (rsLoRA, Kalajdzievski 2023, arXiv:2312.03732)

for ordinary linear layers (Hu et al. 2021, arXiv:2106.09685, section 4.1). The result is that of peft's own merge, to
the last bit. Everything unusual is left to peft, damaged files included, since peft has the error messages.
"""

import math
import re
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import torch
from safetensors import SafetensorError
from safetensors.torch import load_file
from torch import Tensor, nn

# Keys of adapter_config.json that are read here, and those that do not change what a saved adapter adds.
_READ = {"r", "lora_alpha", "use_rslora", "target_modules", "layers_to_transform", "layers_pattern"}
_IRRELEVANT = {
    "auto_mapping",
    "base_model_name_or_path",
    "inference_mode",
    "lora_dropout",
    "megatron_core",
    "peft_version",
    "qalora_group_size",
    "revision",
    "task_type",
}
_MUST_BE: Mapping[str, tuple[Any, ...]] = {
    "peft_type": ("LORA",),
    "bias": ("none",),
    "init_lora_weights": (True, False, "gaussian"),  # others depend on the base weights
}


def add_plain_lora(model: Any, folder: Path, config: Mapping[str, Any]) -> bool:
    """Add a saved adapter to the weights of a base model, in place, if it is plain and fits.

    Args:
        model: The base model, not quantized.
        folder: The adapter's folder.
        config: Content of its adapter_config.json.

    Returns:
        Whether it was added. If not, the model is unchanged.
    """
    if not is_plain(config):
        return False
    layers = {name: module for name, module in model.named_modules() if is_target(name, config)}
    try:
        saved = load_file(folder / "adapter_model.safetensors")
    except (OSError, SafetensorError):
        return False
    keys = {name: [f"base_model.model.{name}.lora_{part}.weight" for part in "AB"] for name in layers}
    if not layers or saved.keys() != {key for pair in keys.values() for key in pair}:
        return False
    rank = config["r"]
    pairs = {name: (saved[a], saved[b]) for name, (a, b) in keys.items()}
    if not all(_fits(layers[name], a, b, rank) for name, (a, b) in pairs.items()):
        return False
    scale = config["lora_alpha"] / (math.sqrt(rank) if config.get("use_rslora") else rank)
    with torch.no_grad():
        for name, (a, b) in pairs.items():
            weight = layers[name].weight
            # In float32, whatever the dtypes of the adapter and of the base weights.
            a, b = (part.to(weight.device, torch.float32) for part in (a, b))
            weight += (b @ a) * scale
    return True


def is_plain(config: Mapping[str, Any]) -> bool:
    """Whether an adapter's configuration asks for nothing but the sum above."""
    if any(config.get(name, allowed[0]) not in allowed for name, allowed in _MUST_BE.items()):
        return False
    # An unknown key that is set may mean anything.
    if any(value for name, value in config.items() if name not in _READ | _IRRELEVANT | _MUST_BE.keys()):
        return False
    targets, layers = config.get("target_modules"), config.get("layers_to_transform")
    return (
        isinstance(config.get("r"), int)
        and config["r"] > 0
        and isinstance(config.get("lora_alpha"), int | float)
        and isinstance(targets, list)
        and (not layers or (isinstance(layers, list) and _is_name(config.get("layers_pattern"))))
    )


def _is_name(pattern: Any) -> bool:
    # peft takes it for a regular expression.
    return isinstance(pattern, str) and re.fullmatch(r"\w+", pattern) is not None


def is_target(name: str, config: Mapping[str, Any]) -> bool:
    """Whether peft adapts the module of this name.

    Args:
        name: With its path, such as "model.layers.3.mlp.up_proj".
        config: Its `target_modules` is a list; its `layers_pattern` is text where `layers_to_transform` chooses layers.
    """
    targets: list[str] = config["target_modules"]
    if name in targets:
        return True
    if not any(name.endswith(f".{target}") for target in targets):
        return False
    layers = config.get("layers_to_transform")
    if not layers:
        return True
    found = re.match(rf"(?:^|.*?\.){config['layers_pattern']}\.(\d+)\.", name)
    return found is not None and int(found[1]) in layers


def _fits(module: nn.Module, a: Tensor, b: Tensor, rank: int) -> bool:
    # A subclass may use its weight in another way.
    if type(module) is not nn.Linear:
        return False
    return a.shape == (rank, module.in_features) and b.shape == (module.out_features, rank)

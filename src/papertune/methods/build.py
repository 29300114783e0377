"""Making a model trainable, by method, and saving what it has learnt."""

import math
import warnings
from pathlib import Path
from typing import Any

import torch
from torch import nn

from papertune.errors import ModelError
from papertune.methods.adapters import check_dora_fits, load_adapter
from papertune.methods.prefix import PrefixModel
from papertune.recipe import FreezeMethod, FullMethod, LoraMethod, Method, PtuningV2Method


def build_trainable(model: Any, method: Method, *, seed: int, start: Path | None = None) -> Any:
    """Make a model trainable.

    Trainable weights are float32 whatever the model's dtype: steps of a small learning rate vanish in 8 bits of
    mantissa.

    Args:
        model: A base model.
        method: Which weights are learnt.
        seed: Of the new weights.
        start: An adapter folder that the adapter begins from, instead of zeros.

    Returns:
        The model, or a peft model around it.

    Raises:
        ModelError: If the method names parts that the model does not have, or does not fit it.
    """
    torch.manual_seed(seed)
    if isinstance(method, LoraMethod):
        return _without_card(_lora(model, method, start))
    if isinstance(method, PtuningV2Method):
        from papertune.methods.prefix_tuned import build_prefix

        return _without_card(build_prefix(model, method))
    if isinstance(method, FullMethod):
        return model.float().requires_grad_(True)
    return _freeze(model, method)


def checkpoint_activations(model: Any) -> None:
    """Compute activations again in the backward pass instead of keeping them.

    Raises:
        ModelError: If the model's prefix would be lost by that.
    """
    if isinstance(model, PrefixModel):
        model.let_checkpoints_see_prefix()
    # transformers is renaming it; the installed one decides.
    enable = getattr(model, "activation_checkpointing_enable", None) or model.gradient_checkpointing_enable
    enable({"use_reentrant": False})
    model.enable_input_require_grads()


def trainable_weights(model: Any) -> tuple[int, int]:
    """Count the weights that are learnt, and all weights."""
    parameters = list(model.parameters())
    return sum(p.numel() for p in parameters if p.requires_grad), sum(map(_count, parameters))


def _count(parameter: Any) -> int:
    packed = getattr(parameter, "quant_state", None)  # two weights of 4 bits are one number
    return parameter.numel() if packed is None else math.prod(packed.shape)


def save_weights(model: Any, folder: Path, base_name: str, dtype: torch.dtype) -> None:
    """Save what was learnt: an adapter in peft's format, or the whole model.

    Args:
        model: The trained model.
        folder: Where to; it must not exist yet.
        base_name: The base model's name in the recipe; peft would keep this machine's path.
        dtype: Of a whole model's weights.
    """
    if hasattr(model, "peft_config"):
        for config in model.peft_config.values():
            config.base_model_name_or_path = base_name
        # Embeddings are never adapted; left to itself peft asks the hub whether they were.
        model.save_pretrained(folder, save_embedding_layers=False)
        (folder / "README.md").unlink(missing_ok=True)
    else:
        model.to(dtype).save_pretrained(folder)


def _without_card(model: Any) -> Any:
    """Let a peft model write no model card: a form of open questions, which took longer than a small adapter."""
    model.create_or_update_model_card = _write_nothing
    return model


def _write_nothing(_: str) -> None:
    pass


def _lora(model: Any, method: LoraMethod, start: Path | None) -> Any:
    from peft import LoraConfig, TaskType, get_peft_model

    if start is not None:
        return load_adapter(model, start, trainable=True)
    check_dora_fits(model, dora=method.dora)
    known = _linear_names(model)
    targets = known if method.targets == "all-linear" else list(method.targets)
    if unknown := [target for target in targets if target not in known]:
        raise ModelError(
            f"method.targets names {', '.join(unknown)}, but the model has no such linear layer. It has: "
            f'{", ".join(known)}. Or use "all-linear".'
        )
    last: dict[str, Any] = {}
    if method.layers is not None:
        path, layers = _decoder_layers(model)
        chosen = _last(layers, method.layers)
        last = {"layers_to_transform": list(chosen), "layers_pattern": path.rsplit(".", 1)[-1]}
    config = LoraConfig(
        task_type=TaskType.CAUSAL_LM,
        r=method.rank,
        lora_alpha=method.alpha,
        lora_dropout=method.dropout,
        target_modules=targets,
        use_rslora=method.rslora,
        use_dora=method.dora,
        **last,
    )
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", FutureWarning)  # peft asks the model by names that transformers is renaming
        return get_peft_model(model, config, autocast_adapter_dtype=True)


def _linear_names(model: Any) -> list[str]:
    """Give the names of the model's linear layers, without their path; the output layer is none of them."""
    output = model.get_output_embeddings()
    linear = {name for name, module in model.named_modules() if isinstance(module, nn.Linear) and module is not output}
    return sorted({name.rsplit(".", 1)[-1] for name in linear})


def _freeze(model: Any, method: FreezeMethod) -> Any:
    path, layers = _decoder_layers(model)
    chosen = _last(layers, method.layers)
    model.requires_grad_(False)
    for index in chosen:
        for module in _chosen(layers[index], method, f"{path}.{index}"):
            module.float().requires_grad_(True)
    return model


def _chosen(layer: nn.Module, method: FreezeMethod, path: str) -> list[nn.Module]:
    if not method.modules:
        return [layer]
    children = dict(layer.named_modules())
    unknown = [name for name in method.modules if name not in children]
    if unknown:
        direct = ", ".join(name for name, _ in layer.named_children())
        raise ModelError(f"method.modules names {', '.join(unknown)}, but {path} has no such part. It has: {direct}.")
    return [children[name] for name in method.modules]


def _last(layers: nn.ModuleList, count: int) -> range:
    if count > len(layers):
        raise ModelError(f"method.layers is {count}, but the model has {len(layers)} layers.")
    return range(len(layers) - count, len(layers))


def _decoder_layers(model: Any) -> tuple[str, nn.ModuleList]:
    count = getattr(model.config, "num_hidden_layers", None)
    for path, module in model.named_modules():
        if isinstance(module, nn.ModuleList) and len(module) == count:
            return path, module
    raise ModelError(f"{type(model).__name__}: its decoder layers cannot be found, so freeze does not know the last.")

"""Adapters in peft's file format: reading, checking, merging."""

import json
import warnings
from contextlib import AbstractContextManager, nullcontext
from pathlib import Path
from pickle import UnpicklingError
from typing import Any

import torch
from safetensors import SafetensorError

from papertune.errors import ModelError, RunError
from papertune.methods.plain_lora import add_plain_lora
from papertune.methods.prefix import PrefixModel
from papertune.models import is_quantized


def check_adapter(folder: Path) -> dict[str, Any]:
    """Read an adapter's configuration and check that its weights are there.

    Returns:
        The content of adapter_config.json.

    Raises:
        RunError: If the folder is no adapter, or its weights are a pickle that would have to be trusted.
    """
    config_file = folder / "adapter_config.json"
    if not config_file.is_file():
        raise RunError(f"{folder} holds no adapter_config.json, so it is no adapter in peft's format.")
    try:
        config = json.loads(config_file.read_text("utf-8"))
    except ValueError as error:
        raise RunError(f"{config_file} is not JSON: {error}.") from None
    if not isinstance(config, dict):
        raise RunError(f"{config_file} is no JSON object, so it is no adapter's configuration.")
    if not any((folder / name).is_file() for name in ("adapter_model.safetensors", "adapter_model.bin")):
        raise RunError(f"{folder} has an adapter_config.json but no adapter_model.safetensors or adapter_model.bin.")
    if config.get("peft_type") not in ("LORA", "PREFIX_TUNING"):
        raise RunError(f"{folder}: a {config.get('peft_type')} adapter; only LORA and PREFIX_TUNING are supported.")
    return config


def load_adapter(model: Any, folder: Path, *, trainable: bool = False) -> Any:
    """Put a saved adapter on a base model.

    Raises:
        ModelError: If the adapter does not fit the model: layers are missing, are too many, or have other shapes.
        RunError: If the folder is no adapter, or its weights cannot be read.
    """
    from peft import PeftModel, get_peft_model_state_dict
    from peft.utils import load_peft_weights

    config = check_adapter(folder)
    try:
        saved = load_peft_weights(str(folder), device="cpu")
    except (OSError, RuntimeError, SafetensorError, UnpicklingError) as error:
        raise RunError(f"{folder}: the adapter's weights cannot be read: {error}. Fetch them again.") from error
    if config["peft_type"] == "PREFIX_TUNING":
        from papertune.methods.prefix_tuned import load_prefix

        return load_prefix(model, folder, config, saved, trainable=trainable)
    check_dora_fits(model, dora=bool(config.get("use_dora")))
    try:
        with warnings.catch_warnings(record=True) as caught:
            warnings.simplefilter("always")
            adapted = PeftModel.from_pretrained(model, folder, is_trainable=trainable, autocast_adapter_dtype=True)
    except (ValueError, RuntimeError) as error:
        raise ModelError(f"{folder}: the adapter does not fit the base model: {error}") from error
    missing = [str(w.message) for w in caught if "missing adapter keys" in str(w.message)]
    if missing:
        raise ModelError(f"{folder}: the adapter does not fit the base model: {missing[0][:300]}")
    # Of weights for layers that the model does not have, peft says nothing.
    known = get_peft_model_state_dict(adapted, save_embedding_layers=False)
    unknown = [key for key in saved if (".lora_A." in key or ".lora_B." in key) and key not in known]
    if unknown:
        raise ModelError(f"{folder}: the adapter does not fit the base model, which has no {unknown[0]}.")
    return adapted


def load_for_prediction(model: Any, folder: Path) -> Any:
    """Give a base model with what a saved adapter has learnt, for prediction.

    LoRA is added to the weights, but stays beside those of few bits; a prefix stands before the model.

    Args:
        model: The base model; it is changed, or part of what is given.
        folder: Of the adapter.

    Raises:
        ModelError: If the adapter does not fit the model.
        RunError: If the folder is no adapter, or its weights cannot be read.
    """
    config = check_adapter(folder)
    quantized = is_quantized(model)
    if not quantized and add_plain_lora(model, folder, config):
        return model.requires_grad_(False)
    adapted = load_adapter(model, folder)
    if isinstance(adapted, PrefixModel):
        return adapted
    return keep_adapter_beside(adapted) if quantized else merge_adapter(adapted)


def check_dora_fits(model: Any, *, dora: bool) -> None:
    """Check that DoRA can measure the weights of a base model.

    Raises:
        ModelError: If they are in 8 bits on a CPU, where peft loses their scales as it measures them.
    """
    if dora and getattr(model, "is_loaded_in_8bit", False) and model.device.type == "cpu":
        raise ModelError(
            "method.dora = true with method.base_bits = 8 does not work on a CPU. Use a GPU, base_bits = 4, or no dora."
        )


def merge_adapter(model: Any) -> Any:
    """Add a LoRA adapter to its base weights, W = W0 + scale x B A, and give the plain model."""
    return model.merge_and_unload()


def keep_adapter_beside(model: Any) -> Any:
    """Give the base model with a LoRA adapter beside its weights, for prediction.

    A few bits have no room for W0 + scale x B A: the sum would be rounded to their levels, and most of what was learnt
    would be gone.

    Args:
        model: A peft model.
    """
    base = model.get_base_model()
    for name, parameter in base.named_parameters():
        if ".lora_A." in name or ".lora_B." in name:
            parameter.data = parameter.data.to(base.dtype)  # or every input is cast to float32 and back
    return base


def adapters_in_compute_dtype(model: Any, dtype: torch.dtype) -> AbstractContextManager[None]:
    """Let autocast alone decide in which dtype adapters multiply, while the context is open.

    peft casts the input of each adapted layer to the adapter's float32, and autocast casts it back: two copies of
    every activation for nothing.
    """
    if dtype == torch.float32 or not hasattr(model, "peft_config"):
        return nullcontext()
    from peft.helpers import disable_input_dtype_casting

    return disable_input_dtype_casting(model)  # type: ignore[no-any-return]

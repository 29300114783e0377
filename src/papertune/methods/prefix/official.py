"""P-Tuning v2 checkpoints of ChatGLM2's own training: weights named `transformer.prefix_encoder.*`.

    plain       embedding.weight: for each virtual token layers x (key, value) x heads x head_dim numbers
    projected   trans.2(tanh(trans.0(embedding.weight))) gives them

peft keeps the numbers of a plain prefix in the same order.
"""

from pathlib import Path
from pickle import UnpicklingError
from typing import Any
from zipfile import is_zipfile

import torch
from safetensors import SafetensorError
from safetensors.torch import load_file
from torch import Tensor

from papertune.errors import ModelError, RunError
from papertune.methods.prefix.model import PrefixModel

_ENCODER = "transformer.prefix_encoder."
_PICKLED = "pytorch_model.bin"
_PROJECTION = ("trans.0.weight", "trans.0.bias", "trans.2.weight", "trans.2.bias")


def official_prefix(source: Path) -> Tensor | None:
    """Read the prefix of an official checkpoint; a projection is computed.

    Args:
        source: The checkpoint's folder, or its weights file.

    Returns:
        float32, shape (virtual, layers * 2 * heads * head_dim); None if there is no such prefix.

    Raises:
        RunError: If the weights cannot be read, or parts are missing.
    """
    candidates = [source / name for name in ("model.safetensors", _PICKLED)] if source.is_dir() else [source]
    file = next((file for file in candidates if file.is_file()), None)
    if file is None:
        return None
    try:
        weights = load_file(file) if file.suffix == ".safetensors" else _unpickled(file)
    except (OSError, RuntimeError, SafetensorError, UnpicklingError) as error:
        raise RunError(f"{file}: the weights cannot be read: {error}. Fetch them again.") from error
    if not isinstance(weights, dict):
        return None
    encoder: dict[str, Tensor] = {
        name.removeprefix(_ENCODER): tensor.float() for name, tensor in weights.items() if name.startswith(_ENCODER)
    }
    if not encoder:
        return None
    projected = any(name.startswith("trans.") for name in encoder)
    if missing := [name for name in ("embedding.weight", *_PROJECTION * projected) if name not in encoder]:
        raise RunError(f"{file} has no {_ENCODER}{missing[0]}, so the prefix is not complete. Fetch it again.")
    numbers = encoder["embedding.weight"]
    if not projected:
        return numbers
    first_weight, first_bias, last_weight, last_bias = (encoder[name] for name in _PROJECTION)
    inner = torch.tanh(torch.addmm(first_bias, numbers, first_weight.T))
    return torch.addmm(last_bias, inner, last_weight.T)


def _unpickled(file: Path) -> Any:
    """Load weights to the CPU, memory-mapped where possible: the file may hold a whole model, which is not needed."""
    return torch.load(file, map_location="cpu", weights_only=True, mmap=is_zipfile(file))


def load_official_prefix(model: Any, source: Path, *, trainable: bool = False) -> Any:
    """Put the prefix of an official checkpoint before ChatGLM2.

    Args:
        model: The base model.
        source: The checkpoint's folder, or its weights file.
        trainable: Whether it is trained further, without a projection.

    Returns:
        A `PrefixTuned` model.

    Raises:
        ModelError: If the model is not a ChatGLM2, or the prefix does not fit its layers.
        RunError: If the checkpoint has no prefix, or cannot be read.
    """
    from papertune.methods.prefix.cache import key_value_shape
    from papertune.methods.prefix.tuned import load_prefix

    _check_positions(model)
    numbers = official_prefix(source)
    if numbers is None:
        raise RunError(f"{source} holds no weights named {_ENCODER}*, so it is not an official P-Tuning v2 checkpoint.")
    shape = key_value_shape(model)
    expected = shape.layers * 2 * shape.heads * shape.head_dim
    if numbers.shape[1] != expected:
        raise ModelError(
            f"{source}: the prefix does not fit the base model: it has {numbers.shape[1]} numbers for each virtual "
            f"token, but the model needs {expected}: {shape}. Name the model that it was trained on."
        )
    config = {"num_virtual_tokens": len(numbers)}
    return load_prefix(model, source, config, {"prompt_embeddings": numbers}, trainable=trainable)


def save_official_prefix(model: PrefixModel, folder: Path) -> None:
    """Write a prefix as ChatGLM2's own code reads it: the plain form, in `pytorch_model.bin`.

    That code loads it with `pre_seq_len` set to the length of the prefix and `prefix_projection` set to false.

    Raises:
        ModelError: If the model is not a ChatGLM2.
    """
    _check_positions(model)
    prefix = model.prefix()
    both = torch.stack([prefix.keys, prefix.values], dim=1)  # (layers, 2, heads, virtual, head_dim)
    numbers = both.permute(3, 0, 1, 2, 4).flatten(1).contiguous()
    folder.mkdir(parents=True, exist_ok=True)
    torch.save({f"{_ENCODER}embedding.weight": numbers}, folder / _PICKLED)


def _check_positions(model: Any) -> None:
    base = model.get_base_model() if isinstance(model, PrefixModel) else model  # type: ignore[attr-defined]
    if getattr(base, "prefix_takes_positions", True):
        raise ModelError(
            f"{type(base).__name__}: official P-Tuning v2 checkpoints are for ChatGLM2, where the text after a prefix "
            "is counted from 0. Name a ChatGLM2 as model."
        )

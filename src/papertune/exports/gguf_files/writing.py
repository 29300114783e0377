"""A model, or a LoRA adapter, as a .gguf file.

Tensors are converted one at a time while they are written, so that no second copy of the model is in memory.
"""

import math
from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Literal

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from papertune.errors import ModelError
from papertune.exports.gguf_files.architecture import Architecture
from papertune.exports.gguf_files.vocabulary import Vocabulary

Weights = Literal["f32", "f16", "bf16", "q8_0"]

# llama.cpp's number of what most of a file's tensors are (`LlamaFileType`).
_FILE_TYPES: Mapping[str, int] = {"f32": 0, "f16": 1, "q8_0": 7, "bf16": 32}
_MAX_F16 = float(np.finfo(np.float16).max)


@dataclass(frozen=True)
class SpecialTokens:
    """The special tokens of a tokenizer, and its chat template.

    Attributes:
        ids: By llama.cpp's name: "bos", "eos", "unknown", "padding".
        adds_begin: Whether the begin token stands before every text.
        chat_template: The template, in Jinja; None if the run uses none.
    """

    ids: Mapping[str, int]
    adds_begin: bool
    chat_template: str | None


@dataclass(frozen=True)
class _Entry:
    """A tensor to write: its name, its shape as numbers, how they are stored, and what returns them."""

    name: str
    shape: tuple[int, ...]
    kind: Any
    read: Callable[[], Tensor]


def write_model(
    path: Path,
    model: Any,
    architecture: Architecture,
    vocabulary: Vocabulary,
    special: SpecialTokens,
    *,
    weights: Weights,
    name: str,
) -> None:
    """Write a model as a .gguf file.

    Args:
        path: A new file.
        model: A transformers model.
        architecture: Its architecture.
        vocabulary: Its vocabulary.
        special: Its special tokens.
        weights: The format of its matrices. Vectors are float32, and so is a matrix in Q8_0 whose rows are no multiple
            of 32 numbers.
        name: The model's name, for people.

    Raises:
        ModelError: If a tensor has no place in the file, or a number is too large for the format.
    """
    from gguf import GGUFWriter

    writer = GGUFWriter(path, architecture.name)
    writer.add_type("model")
    writer.add_name(name)
    writer.add_file_type(_FILE_TYPES[weights])
    if weights == "q8_0":
        writer.add_quantization_version(2)
    for key, value in architecture.settings().items():
        add = writer.add_uint32 if isinstance(value, int) else writer.add_float32
        add(f"{architecture.name}.{key}", value)
        if key == "rope.scaling.factor":
            writer.add_string(f"{architecture.name}.rope.scaling.type", "linear")
    _add_vocabulary(writer, vocabulary, special)
    _write(writer, [*_entries(model, architecture, weights)])


def _entries(model: Any, architecture: Architecture, weights: Weights) -> Iterable[_Entry]:
    """Yield the tensors of a model; of tied ones, the embedding only."""
    tied = bool(getattr(model.config, "tie_word_embeddings", False))
    output = model.get_output_embeddings()
    for name, tensor in model.state_dict().items():
        module, part = name.rsplit(".", 1)
        if tied and output is not None and model.get_submodule(module) is output:
            continue
        found = f"{architecture.tensor_name(module)}.{part}"
        shape = tuple(tensor.shape)
        yield _Entry(found, shape, _kind(shape, weights), lambda t=tensor, m=module: architecture.arranged(m, t))  # type: ignore[misc]
    for name, tensor in architecture.more_tensors().items():
        yield _Entry(name, tuple(tensor.shape), _kind((0,), weights), lambda t=tensor: t)  # type: ignore[misc]


def write_adapter(
    path: Path,
    saved: Mapping[str, Tensor],
    config: Mapping[str, Any],
    architecture: Architecture,
    *,
    weights: Weights,
    name: str,
) -> None:
    """Write a LoRA adapter as a .gguf file.

    llama.cpp scales B A by alpha / rank. An adapter of rsLoRA, which is scaled by alpha / sqrt(rank), gets the alpha
    that makes both the same.

    Args:
        path: A new file.
        saved: The tensors of an adapter of peft.
        config: Its adapter_config.json.
        architecture: The architecture of its base model.
        weights: As in `write_model`.
        name: The adapter's name, for people.

    Raises:
        ModelError: If a tensor has no place in the file, or a number is too large for the format.
    """
    from gguf import GGUFWriter

    alpha = float(config["lora_alpha"]) * (math.sqrt(config["r"]) if config.get("use_rslora") else 1.0)
    writer = GGUFWriter(path, architecture.name)
    writer.add_type("adapter")
    writer.add_string("adapter.type", "lora")
    writer.add_float32("adapter.lora.alpha", alpha)
    writer.add_name(name)
    entries = []
    for key, tensor in sorted(saved.items()):
        module, part = key.removeprefix("base_model.model.").removesuffix(".weight").rsplit(".", 1)
        letter = part[-1].lower()
        found = f"{architecture.tensor_name(module)}.weight.lora_{letter}"
        rows = architecture.arranged(module, tensor) if letter == "b" else tensor
        entries.append(_Entry(found, tuple(tensor.shape), _kind(tuple(tensor.shape), weights), lambda r=rows: r))  # type: ignore[misc]
    _write(writer, entries)


def _add_vocabulary(writer: Any, vocabulary: Vocabulary, special: SpecialTokens) -> None:
    writer.add_tokenizer_model(vocabulary.model)
    writer.add_tokenizer_pre(vocabulary.splitting)
    writer.add_token_list(vocabulary.tokens)
    writer.add_token_types(vocabulary.kinds)
    if vocabulary.merges:
        writer.add_token_merges(vocabulary.merges)
    if vocabulary.scores:
        writer.add_token_scores(vocabulary.scores)
    for name, number in special.ids.items():
        writer.add_uint32(f"tokenizer.ggml.{name}_token_id", number)
    writer.add_add_bos_token(special.adds_begin)
    writer.add_add_eos_token(False)
    writer.add_add_space_prefix(vocabulary.space_before)
    if special.chat_template is not None:
        writer.add_chat_template(special.chat_template)


def _kind(shape: tuple[int, ...], weights: Weights) -> Any:
    """Return how a tensor is stored."""
    from gguf import GGMLQuantizationType

    if len(shape) < 2:
        return GGMLQuantizationType.F32  # norms and biases
    if weights == "q8_0" and shape[-1] % 32:
        return GGMLQuantizationType.F32  # 32 numbers share a scale
    return GGMLQuantizationType[weights.upper()]


def _write(writer: Any, entries: Iterable[_Entry]) -> None:
    from gguf.quants import quant_shape_to_byte_shape

    entries = list(entries)
    plain = {"F32": np.float32, "F16": np.float16}
    for entry in entries:
        dtype = np.dtype(plain.get(entry.kind.name, np.uint8))
        shape = entry.shape if entry.kind.name in plain else quant_shape_to_byte_shape(entry.shape, entry.kind)
        size = math.prod(shape) * dtype.itemsize
        writer.add_tensor_info(entry.name, shape, dtype, size, raw_dtype=entry.kind)
    try:
        writer.write_header_to_file()
        writer.write_kv_data_to_file()
        writer.write_ti_data_to_file()
        for entry in entries:
            writer.write_tensor_data(_stored(entry))
    finally:
        writer.close()


def _stored(entry: _Entry) -> NDArray[Any]:
    """Return a tensor's numbers as they are stored.

    Raises:
        ModelError: If one is too large for the format.
    """
    from gguf.quants import quantize

    numbers = entry.read().detach().to("cpu", torch.float32).contiguous().numpy()
    if entry.kind.name == "F16":
        check_float16(entry.name, float(np.abs(numbers).max(initial=0)))
    stored: NDArray[Any] = quantize(numbers, entry.kind)
    return np.ascontiguousarray(stored)


def check_float16(name: str, largest: float) -> None:
    """Raise a ModelError if the largest number of a tensor does not fit into float16."""
    if largest > _MAX_F16:
        raise ModelError(
            f"{name} has the number {largest:g}, and float16 ends at {_MAX_F16:g}. Export with --weights bf16."
        )

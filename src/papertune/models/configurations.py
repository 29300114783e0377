"""A model's configuration: found without its weights, and checked."""

import json
from collections.abc import Mapping
from pathlib import Path
from types import SimpleNamespace
from typing import Annotated, Any

from pydantic import BaseModel, ConfigDict, Field, PositiveFloat, ValidationError

from papertune.errors import ModelError
from papertune.models.finding import Base, find_base
from papertune.models.known import KNOWN_MODELS, PUBLISHED_CONFIGS
from papertune.records import problem_of_value

_REPAIR = "Correct it, or download the folder again."
_LLAMA_LIKE = ("llama", "mistral", "qwen2")
# Values by which llama models differ.
_STATED_BY_LLAMA = {
    "attention_bias",
    "head_dim",
    "hidden_act",
    "hidden_size",
    "intermediate_size",
    "max_position_embeddings",
    "mlp_bias",
    "num_attention_heads",
    "num_hidden_layers",
    "num_key_value_heads",
    "rms_norm_eps",
    "rope_parameters",
    "tie_word_embeddings",
    "vocab_size",
}
_INDICES = ("model.safetensors.index.json", "pytorch_model.bin.index.json")


_Size = Annotated[int, Field(gt=0, lt=2**31)]


class _Rotary(BaseModel):
    model_config = ConfigDict(strict=True, extra="allow", allow_inf_nan=False)

    rope_type: str | None = None
    rope_theta: PositiveFloat | None = None
    factor: PositiveFloat | None = None
    low_freq_factor: PositiveFloat | None = None
    high_freq_factor: PositiveFloat | None = None
    original_max_position_embeddings: _Size | None = None
    partial_rotary_factor: PositiveFloat | None = None


class _Config(BaseModel):
    """The keys that transformers reads before it checks values."""

    model_config = ConfigDict(strict=True, extra="allow", allow_inf_nan=False)

    model_type: str | None = None
    architectures: list[str] | None = None
    auto_map: dict[str, Any] | None = None
    dtype: str | None = None
    torch_dtype: str | None = None
    id2label: dict[str, Any] | None = None
    label2id: dict[str, Any] | None = None
    text_config: dict[str, Any] | None = None
    quantization_config: dict[str, Any] | None = None


class _LlamaLike(_Config):
    """The keys with which papertune itself computes; null means the default of the architecture."""

    vocab_size: _Size | None = None
    hidden_size: _Size | None = None
    intermediate_size: _Size | None = None
    # With more layers it would take hours to find that they are missing.
    num_hidden_layers: Annotated[int, Field(gt=0, le=10_000)] | None = None
    num_attention_heads: _Size | None = None
    num_key_value_heads: _Size | None = None
    head_dim: _Size | None = None
    max_position_embeddings: _Size | None = None
    rms_norm_eps: PositiveFloat | None = None
    hidden_act: str | None = None
    attention_bias: bool | None = None
    mlp_bias: bool | None = None
    tie_word_embeddings: bool | None = None
    sliding_window: _Size | None = None
    layer_types: list[str] | None = None
    rope_parameters: _Rotary | None = None
    rope_scaling: _Rotary | None = None
    rope_theta: PositiveFloat | None = None


class _Index(BaseModel):
    model_config = ConfigDict(strict=True, extra="allow")

    weight_map: dict[str, str]


def check_model_files(folder: Path) -> None:
    """Check the config.json of a model folder and the index of its weights, where it has them.

    Of a llama-like model the values are checked with which papertune itself computes. transformers checks those of
    other models.

    Args:
        folder: The folder; a hub id has nothing to check.

    Raises:
        ModelError: If one is no JSON object, or a value is of another type or out of range.
    """
    if (file := folder / "config.json").is_file():
        values = _read_object(file)
        _check(_LlamaLike if values.get("model_type") in _LLAMA_LIKE else _Config, values, file)
    for file in (folder / name for name in _INDICES):
        if file.is_file():
            _check(_Index, _read_object(file), file)


def _check(kind: type[BaseModel], values: dict[str, Any], file: Path) -> None:
    try:
        kind.model_validate(values)
    except ValidationError as error:
        raise ModelError(f"{file}: {problem_of_value(error)}. {_REPAIR}") from None


def _read_object(file: Path) -> dict[str, Any]:
    try:
        values = json.loads(file.read_text("utf-8"))
    except (OSError, ValueError, RecursionError) as error:
        raise ModelError(f"{file} cannot be read: {reason_of(error)}. {_REPAIR}") from None
    if not isinstance(values, dict):
        raise ModelError(f"{file} is not a JSON object. {_REPAIR}")
    return values


def reason_of(error: Exception) -> str:
    """Return the first line of an error that says something, with the error's type where the text does not."""
    lines = [line.strip() for line in str(error).splitlines() if line.strip()]
    if not lines or isinstance(error, KeyError):
        return f"{type(error).__name__} {lines[0] if lines else ''}".rstrip()
    return " ".join(lines[:2]) if lines[0].endswith(":") else lines[0]


def is_whole_llama(values: Mapping[str, Any]) -> bool:
    """Whether a config.json is that of a llama, and leaves no value to a default."""
    return values.get("model_type") == "llama" and all(values.get(name) is not None for name in _STATED_BY_LLAMA)


def read_stated_config(base: Base) -> Any:
    """Return the configuration of a llama as its config.json states it, for questions about lengths and layers.

    Args:
        base: The base model.

    Returns:
        The values as attributes, read without transformers; None if the model is no folder or no llama, or its
        config.json leaves a value to a default.

    Raises:
        ModelError: If config.json is damaged.
    """
    folder = Path(base.location)
    check_model_files(folder)
    file = folder / "config.json"
    if not file.is_file() or not is_whole_llama(values := _read_object(file)):
        return None
    return SimpleNamespace(**values)


def find_config(name: str) -> Any:
    """Find the configuration of a model, which needs no weights.

    Args:
        name: A known name, a folder with config.json, a .gguf file or a hub id.

    Raises:
        ModelError: If it cannot be found or read.
    """
    from transformers import AutoConfig

    from papertune.models.own_models import register_own_models

    published = {**PUBLISHED_CONFIGS, **{key: model.config for key, model in KNOWN_MODELS.items()}}
    if name in published and not Path(name).exists():
        numbers = dict(published[name])
        if name in PUBLISHED_CONFIGS:
            register_own_models(name)
        return AutoConfig.for_model(numbers.pop("model_type"), **numbers)
    location = name if (Path(name) / "config.json").is_file() else find_base(name).location
    check_model_files(Path(location))
    register_own_models(location)
    try:
        return AutoConfig.from_pretrained(location)
    except Exception as error:
        raise ModelError(
            f'model "{name}": its configuration cannot be read ({reason_of(error)}). Name a folder with its '
            "config.json; weights are not needed."
        ) from error

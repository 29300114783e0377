"""Finding and loading a base model and its tokenizer.

A model is named by a known name, a folder, a .gguf file or a hub id. `find_base` finds its location and the checksum of
its weights; `load_model` returns the model and its tokenizer.
"""

import hashlib
import json
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Literal

import torch

from papertune.errors import ModelError, Sentence
from papertune.models.cache import cache_folder, converted_gguf, packaged_gguf
from papertune.models.configurations import check_model_files, reason_of
from papertune.models.cpu import cpu_features
from papertune.models.known import KNOWN_MODELS, PACKAGE_INSTALL
from papertune.models.own_models import register_own_models
from papertune.models.quantization.base_bits import (
    BaseBits,
    check_unpacking,
    keep_weights_in_place,
    quantization_config,
)
from papertune.models.quiet import quiet_transformers
from papertune.startup.garbage import collection_paused

Precision = Literal["auto", "bf16", "fp16", "fp32"]

_DTYPES = {"bf16": torch.bfloat16, "fp16": torch.float16, "fp32": torch.float32}
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
_WEIGHT_SUFFIXES = (".safetensors", ".bin", ".gguf")


@dataclass(frozen=True)
class Base:
    """A base model that has been found.

    Attributes:
        name: Its name in the recipe.
        location: A folder, or a hub id that transformers will download.
        checksum: SHA-256 of its weight files, or None for a hub id that is not on this machine.
        first_layers: How many of its decoder layers are kept, counted from the first; None: all.
    """

    name: str
    location: str
    checksum: str | None
    first_layers: int | None = None


def find_base(name: str, folder: Path | None = None) -> Base:
    """Find a base model.

    Args:
        name: A known name, a folder, a .gguf file or a hub id.
        folder: Its folder, if the name is out of date.

    Raises:
        ModelError: If there is no model.
    """
    if folder is not None:
        return _local(name, folder)
    if known := KNOWN_MODELS.get(name):
        gguf = packaged_gguf(known.package, known.gguf_name)
        return _local(name, gguf) if gguf else _hub(name, known.hub_id)
    if Path(name).exists():
        return _local(name, Path(name))
    return _hub(name, name)


@collection_paused()
def load_model(
    name: str | Path | Base,
    *,
    precision: Precision = "auto",
    device: str | None = None,
    tokenizer: Path | None = None,
    base_bits: BaseBits | None = None,
    trust_remote_code: bool = False,
) -> tuple[Any, Any]:
    """Load a base model and its tokenizer.

    Args:
        name: A known name, a folder, a .gguf file, a hub id, or a base that has been found.
        precision: Precision of the weights; `choose_dtype` describes "auto".
        device: "cpu", "cuda", "cuda:1", ...; None means a GPU if there is one.
        tokenizer: Folder of the tokenizer, if it is not the model's.
        base_bits: Bits per weight of the linear layers; None stores them in `precision`.
        trust_remote_code: Run Python files that come with the model.

    Returns:
        The model in evaluation mode, and its tokenizer.

    Raises:
        ModelError: If the model cannot be found or loaded.
        MissingExtraError: If quantized weights need a package that is not installed.
    """
    from transformers import AutoModelForCausalLM, AutoTokenizer

    base = name if isinstance(name, Base) else find_base(str(name))
    tokenizer_location = tokenizer or base.location
    register_own_models(base.location, tokenizer_location)
    place = choose_device(device)
    dtype = choose_dtype(precision, place)
    quantization = {} if base_bits is None else {"quantization_config": quantization_config(base_bits, dtype)}
    kept = {} if base.first_layers is None else {"config": load_config(base, with_class=True)}
    part = f"the tokenizer {'' if tokenizer is None else f'in {tokenizer} '}"
    check_model_files(Path(base.location))
    try:
        with quiet_transformers():
            loaded_tokenizer = AutoTokenizer.from_pretrained(tokenizer_location, trust_remote_code=trust_remote_code)
            part = "the model "
            model, found = AutoModelForCausalLM.from_pretrained(
                base.location,
                dtype=dtype,
                trust_remote_code=trust_remote_code,
                device_map={"": place},
                ignore_mismatched_sizes=True,  # checked below, with a better message
                output_loading_info=True,
                **kept,
                **quantization,
            )
    except Exception as error:
        raise ModelError(_load_failure(base, part, error)) from error
    _check_loaded_weights(base, found)
    keep_weights_in_place(model)
    check_unpacking(model)
    return model.eval(), loaded_tokenizer


def _check_loaded_weights(base: Base, found: dict[str, Any]) -> None:
    # transformers fills such weights with random numbers, and the model's answers would be nonsense.
    if random := sorted({*found["missing_keys"], *(str(key[0]) for key in found["mismatched_keys"])}):
        raise ModelError(
            f"{base.location}: the weights do not fit config.json: {len(random)} are missing or have another shape "
            f"({', '.join(random[:3])}{', ...' if len(random) > 3 else ''}). Download the folder again."
        )


def load_tokenizer(base: Base, folder: Path | None = None) -> Any:
    """Load the tokenizer of a base model, without its weights.

    Args:
        base: The base model.
        folder: The folder of the tokenizer, if it is not the model's.

    Raises:
        ModelError: If it cannot be loaded.
    """
    from transformers import AutoTokenizer

    location = folder or base.location
    check_model_files(Path(location))
    register_own_models(location)
    try:
        with quiet_transformers():
            # transformers chooses the tokenizer's class by the configuration, and would import the configuration's own.
            config = _llama_config(location) if (Path(location) / "config.json").is_file() else None
            stated = {} if config is None else {"config": config}
            return AutoTokenizer.from_pretrained(location, trust_remote_code=False, **stated)
    except Exception as error:
        part = f"the tokenizer {'' if folder is None else f'in {folder} '}"
        raise ModelError(_load_failure(base, part, error)) from error


def load_config(base: Base, *, with_class: bool = False) -> Any:
    """Load the configuration of a base model, without its weights; the number of layers is that of the kept ones.

    Args:
        base: The base model.
        with_class: Whether the class is needed: transformers finds the class of a model by it.

    Raises:
        ModelError: If it cannot be loaded, or the model has fewer layers than are to be kept.
    """
    from transformers import AutoConfig

    check_model_files(Path(base.location))
    register_own_models(base.location)
    try:
        config = None if with_class else _llama_config(base.location)
        if config is None:
            config = AutoConfig.from_pretrained(base.location)
    except Exception as error:
        raise ModelError(_load_failure(base, "the configuration ", error)) from error
    return config if base.first_layers is None else _with_first_layers(config, base.first_layers)


def _llama_config(location: str | Path) -> Any:
    """Return the configuration of a llama without its class, if its file leaves no value to a default; else None.

    Importing the class takes a second or more, for a list of activation functions.
    """
    from transformers import PreTrainedConfig

    stated = PreTrainedConfig.get_config_dict(location)[0]
    is_complete = all(stated.get(name) is not None for name in _STATED_BY_LLAMA)
    return PreTrainedConfig.from_dict(stated) if stated.get("model_type") == "llama" and is_complete else None


def _with_first_layers(config: Any, count: int) -> Any:
    """Return a configuration with fewer decoder layers; transformers then reads the weights of no others.

    Raises:
        ModelError: If the model has fewer, or its layers are not plainly numbered.
    """
    layers = getattr(config, "num_hidden_layers", None)
    if not isinstance(layers, int):
        raise ModelError(
            f"method.keep_layers is {count}, but {config.model_type} does not name its number of layers. Leave it out."
        )
    if count > layers:
        raise ModelError(f"method.keep_layers is {count}, but the model has {layers} layers. Choose at most {layers}.")
    config.num_hidden_layers = count
    if kinds := getattr(config, "layer_types", None):
        config.layer_types = kinds[:count]
    return config


def choose_device(device: str | None) -> str:
    """Return the requested device, or else a GPU if there is one, or else the CPU.

    Raises:
        ModelError: If the requested device is not available.
    """
    if device is None:
        return "cuda" if torch.cuda.is_available() else "cpu"
    try:
        torch.empty(0, device=device)
    except (RuntimeError, AssertionError, NotImplementedError) as error:
        raise ModelError(f"--device {device} is not available: {str(error).splitlines()[0]}") from None
    return device


def choose_dtype(precision: Precision, device: str) -> torch.dtype:
    """Return the dtype of a precision; "auto" is bfloat16 where that is fast, float16 on older GPUs, else float32.

    float16 is slow on a CPU and overflows, so there "fp16" means "auto".
    """
    on_gpu = device.startswith("cuda")
    if precision == "fp16" and not on_gpu:
        precision = "auto"
    if precision != "auto":
        return _DTYPES[precision]
    if on_gpu:
        fast = torch.cuda.get_device_capability(device) >= (8, 0)
        return torch.bfloat16 if fast else torch.float16
    return torch.bfloat16 if cpu_features().bf16 else torch.float32


def _local(name: str, path: Path) -> Base:
    if path.suffix == ".gguf" and path.is_file():
        checksum = weights_checksum([path])
        return Base(name, str(converted_gguf(path, checksum)), checksum)
    if not path.is_dir():
        text = f"{path}: there is no such folder or .gguf file. Name the folder that has the model's config.json."
        raise ModelError(Sentence(text, "no_model", name=name))
    if not (path / "config.json").is_file():
        inside = ", ".join(sorted(child.name for child in path.iterdir())[:8]) or "nothing"
        raise ModelError(f"{path} has no config.json, so it is not a model folder. It contains: {inside}.")
    weights = sorted(file for file in path.iterdir() if file.suffix in _WEIGHT_SUFFIXES)
    if not weights:
        raise ModelError(f"{path} has a config.json but no weights ({', '.join(_WEIGHT_SUFFIXES)}). Download them too.")
    return Base(name, str(path), weights_checksum(weights))


def _hub(name: str, hub_id: str) -> Base:
    from huggingface_hub import try_to_load_from_cache

    config = try_to_load_from_cache(hub_id, "config.json") if looks_like_hub_id(hub_id) else None
    if isinstance(config, str):
        weights = sorted(file for file in Path(config).parent.iterdir() if file.suffix in _WEIGHT_SUFFIXES)
        if weights:
            return Base(name, str(Path(config).parent), weights_checksum(weights))
    if not looks_like_hub_id(hub_id):
        text = f'model "{name}" is not a known model ({", ".join(KNOWN_MODELS)}), a folder, a .gguf file or a hub id.'
        raise ModelError(Sentence(text, "no_model", name=name))
    return Base(name, hub_id, None)


def looks_like_hub_id(name: str) -> bool:
    """Whether a name has the form OWNER/MODEL, and not that of a path."""
    owner, slash, model = name.partition("/")
    is_path = name.startswith((".", "~", "/")) or name.endswith(".gguf") or "/" in model
    return bool(slash and owner and model) and not is_path


def weights_checksum(files: list[Path]) -> str:
    """Return the SHA-256 of the content of weight files, in this order.

    Reading gigabytes takes a while, so the checksum is cached by path, size and modification time.
    """
    stamps = [(str(file.resolve()), file.stat().st_size, file.stat().st_mtime_ns) for file in files]
    key = hashlib.sha256(json.dumps(stamps).encode()).hexdigest()
    cached = cache_folder() / "checksums" / key
    if cached.is_file() and len(text := cached.read_text()) == 64:
        return text
    total = hashlib.sha256()
    for file in files:
        with file.open("rb") as stream:
            total.update(hashlib.file_digest(stream, "sha256").digest())
    try:
        cached.parent.mkdir(parents=True, exist_ok=True)
        cached.write_text(total.hexdigest())
    except OSError:
        pass  # the cache only saves time
    return total.hexdigest()


def _load_failure(base: Base, part: str, error: Exception) -> str:
    first = reason_of(error)
    if base.checksum is None:
        install = f"Or install the embedded model: {PACKAGE_INSTALL}." if base.name in KNOWN_MODELS else ""
        return (
            f'model "{base.name}": not on this machine, and it could not be downloaded from the hub ({first}). '
            f"Download it elsewhere and use its folder as model. {install}"
        ).rstrip()
    if "trust_remote_code" in str(error):
        return f"{base.location}: the model needs its own Python files, which papertune does not run. ({first})"
    return f"{base.location}: {part}cannot be loaded: {first}"

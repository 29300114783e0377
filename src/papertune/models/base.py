"""Finding and loading a base model and its tokenizer: the door to transformers.

A model is named by a known name, a folder, a .gguf file or a hub id. `find_base` says where it is and what its weights'
checksum is; `load_model` gives the model and its tokenizer.
"""

import hashlib
import json
import logging
from dataclasses import dataclass
from pathlib import Path
from pickle import UnpicklingError
from typing import Any, Literal

import torch
from safetensors import SafetensorError

from papertune.errors import ModelError
from papertune.garbage import collection_paused
from papertune.models.cache import cache_folder, converted_gguf, packaged_gguf
from papertune.models.cpu import cpu_features
from papertune.models.known import KNOWN_MODELS, PACKAGE_INSTALL
from papertune.models.own_models import register_own_models
from papertune.models.quantization.base_bits import (
    BaseBits,
    check_unpacking,
    keep_weights_in_place,
    quantization_config,
)

Precision = Literal["auto", "bf16", "fp16", "fp32"]

_DTYPES = {"bf16": torch.bfloat16, "fp16": torch.float16, "fp32": torch.float32}
_WEIGHT_SUFFIXES = (".safetensors", ".bin", ".gguf")


@dataclass(frozen=True)
class Base:
    """A base model that has been found.

    Attributes:
        name: As the recipe names it.
        location: A folder, or a hub id that transformers will fetch.
        checksum: SHA-256 of its weight files, or None for a hub id that is not on this machine.
    """

    name: str
    location: str
    checksum: str | None


def find_base(name: str, folder: Path | None = None) -> Base:
    """Find a base model.

    Args:
        name: A known name, a folder, a .gguf file or a hub id.
        folder: Where it is now, if not where its name says.

    Raises:
        ModelError: If nothing is there; the message says what to install or fetch.
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
        precision: Of the weights; "auto" as `choose_dtype` says.
        device: "cpu", "cuda", "cuda:1", ...; None: a GPU if there is one.
        tokenizer: Folder of the tokenizer, if not the model's.
        base_bits: Store the linear layers in so many bits; None: in the precision.
        trust_remote_code: Run Python files that come with the model.

    Returns:
        The model in evaluation mode, and its tokenizer.

    Raises:
        ModelError: If it cannot be found or loaded.
        MissingExtraError: If quantized weights need a package that is not installed.
    """
    from transformers import AutoModelForCausalLM, AutoTokenizer
    from transformers.utils import logging as transformers_logging

    base = name if isinstance(name, Base) else find_base(str(name))
    register_own_models(base.location, tokenizer or base.location)
    place = choose_device(device)
    dtype = choose_dtype(precision, place)
    quantization = {} if base_bits is None else {"quantization_config": quantization_config(base_bits, dtype)}
    transformers_logging.disable_progress_bar()
    quiet = logging.getLogger("transformers")  # what it says of a folder's files is no news to the user
    level = quiet.level
    quiet.setLevel(logging.ERROR)
    part = f"the tokenizer {'' if tokenizer is None else f'in {tokenizer} '}"
    try:
        words = AutoTokenizer.from_pretrained(tokenizer or base.location, trust_remote_code=trust_remote_code)
        part = "the model "
        model, found = AutoModelForCausalLM.from_pretrained(
            base.location,
            dtype=dtype,
            trust_remote_code=trust_remote_code,
            device_map={"": place},
            ignore_mismatched_sizes=True,  # found below, and told in our words
            output_loading_info=True,
            **quantization,
        )
    except (OSError, ValueError, KeyError, ImportError, RuntimeError, SafetensorError, UnpicklingError) as error:
        raise ModelError(_load_failure(base, part, error)) from error
    finally:
        quiet.setLevel(level)
    # transformers fills such weights with random numbers, and the model would talk nonsense.
    if made_up := sorted({*found["missing_keys"], *(str(key[0]) for key in found["mismatched_keys"])}):
        raise ModelError(
            f"{base.location}: the weights do not fit config.json: {len(made_up)} are missing or have another shape "
            f"({', '.join(made_up[:3])}{', ...' if len(made_up) > 3 else ''}). Fetch the folder again."
        )
    keep_weights_in_place(model)
    check_unpacking(model)
    return model.eval(), words


def load_tokenizer(base: Base, *, trust_remote_code: bool = False) -> Any:
    """Load the tokenizer of a base model, without its weights.

    Raises:
        ModelError: If it cannot be loaded.
    """
    from transformers import AutoTokenizer

    register_own_models(base.location)
    try:
        return AutoTokenizer.from_pretrained(base.location, trust_remote_code=trust_remote_code)
    except (OSError, ValueError, KeyError, ImportError) as error:
        raise ModelError(_load_failure(base, "the tokenizer ", error)) from error


def choose_device(device: str | None) -> str:
    """Give the device to work on: the one asked for, or a GPU, or the CPU.

    Raises:
        ModelError: If the device asked for is not there.
    """
    if device is None:
        return "cuda" if torch.cuda.is_available() else "cpu"
    try:
        torch.empty(0, device=device)
    except (RuntimeError, AssertionError, NotImplementedError) as error:
        raise ModelError(f"--device {device} is not to be had here: {str(error).splitlines()[0]}") from None
    return device


def choose_dtype(precision: Precision, device: str) -> torch.dtype:
    """Give the dtype of a precision; "auto": bfloat16 where it is fast, float16 on older GPUs, else float32.

    float16 is for GPUs; on a CPU it is slow and overflows, so float32 or bfloat16 stands in for it.
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
        raise ModelError(
            f"{path}: there is no such folder or .gguf file. Give the folder with the model's config.json."
        )
    if not (path / "config.json").is_file():
        inside = ", ".join(sorted(child.name for child in path.iterdir())[:8]) or "nothing"
        raise ModelError(f"{path} holds no config.json, so it is no model folder. It holds: {inside}.")
    weights = sorted(file for file in path.iterdir() if file.suffix in _WEIGHT_SUFFIXES)
    if not weights:
        raise ModelError(f"{path} has a config.json but no weights ({', '.join(_WEIGHT_SUFFIXES)}). Fetch them too.")
    return Base(name, str(path), weights_checksum(weights))


def _hub(name: str, hub_id: str) -> Base:
    from huggingface_hub import try_to_load_from_cache

    config = try_to_load_from_cache(hub_id, "config.json") if _looks_like_hub_id(hub_id) else None
    if isinstance(config, str):
        weights = sorted(file for file in Path(config).parent.iterdir() if file.suffix in _WEIGHT_SUFFIXES)
        if weights:
            return Base(name, str(Path(config).parent), weights_checksum(weights))
    if not _looks_like_hub_id(hub_id):
        raise ModelError(
            f'model "{name}" is no known model ({", ".join(KNOWN_MODELS)}), no folder, no .gguf file and no hub id.'
        )
    return Base(name, hub_id, None)


def _looks_like_hub_id(name: str) -> bool:
    owner, slash, model = name.partition("/")
    is_path = name.startswith((".", "~", "/")) or name.endswith(".gguf") or "/" in model
    return bool(slash and owner and model) and not is_path


def weights_checksum(files: list[Path]) -> str:
    """Give the SHA-256 over the content of weight files, in the given order.

    Reading gigabytes takes a while, so the answer is remembered by path, size and time of change.
    """
    stamps = [(str(file.resolve()), file.stat().st_size, file.stat().st_mtime_ns) for file in files]
    key = hashlib.sha256(json.dumps(stamps).encode()).hexdigest()
    remembered = cache_folder() / "checksums" / key
    if remembered.is_file() and len(text := remembered.read_text()) == 64:
        return text
    total = hashlib.sha256()
    for file in files:
        with file.open("rb") as stream:
            total.update(hashlib.file_digest(stream, "sha256").digest())
    try:
        remembered.parent.mkdir(parents=True, exist_ok=True)
        remembered.write_text(total.hexdigest())
    except OSError:
        pass  # it is only remembered to save time
    return total.hexdigest()


def _load_failure(base: Base, part: str, error: Exception) -> str:
    first = next((line for line in str(error).splitlines() if line.strip()), type(error).__name__)
    if base.checksum is None:
        install = f"Or install the embedded model: {PACKAGE_INSTALL}." if base.name in KNOWN_MODELS else ""
        return (
            f'model "{base.name}": not on this machine, and it could not be fetched from the hub ({first}). '
            f"Download it elsewhere and give its folder as model. {install}"
        ).rstrip()
    if "trust_remote_code" in str(error):
        return f"{base.location}: the model wants to run its own Python files, which papertune does not do. ({first})"
    return f"{base.location}: {part}cannot be loaded: {first}"

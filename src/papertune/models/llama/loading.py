"""Loading a llama-like model for prediction on a CPU."""

import json
from collections.abc import Callable
from pathlib import Path
from typing import Any, Literal

import torch
from torch import nn

from papertune.models.base import choose_dtype, load_config
from papertune.models.cpu import cpu_features
from papertune.models.finding import Base
from papertune.models.llama.model import OwnLlama
from papertune.models.llama.products import Int8Product, product_of
from papertune.models.llama.weights import is_known, read_weights
from papertune.models.quantization.int8 import int8_name
from papertune.startup.garbage import collection_paused


@collection_paused()
def load_own_llama(
    base: Base,
    precision: Literal["auto", "bf16", "fp16", "fp32", "int8"],
    adapt: Callable[[nn.Module], bool] | None = None,
) -> OwnLlama | None:
    """Load a model for prediction on the CPU without transformers' modelling code.

    Args:
        base: The base model.
        precision: Number format of the weights.
        adapt: Adds an adapter to the weights; returns False if it cannot.

    Returns:
        The model; None if it is of another kind, cannot be adapted, or its files are not as expected: transformers can
        then load it, or has the message that says why not.

    Raises:
        ModelError: If the configuration cannot be loaded.
    """
    folder = Path(base.location)
    if not (folder / "config.json").is_file() or not is_known(config := load_config(base)):
        return None
    is_int8 = precision == "int8"
    read_as = choose_dtype("fp32" if precision == "int8" else precision, "cpu")
    weights = read_weights(folder, config, read_as)
    if weights is None or (adapt is not None and not adapt(weights)):
        return None
    config._attn_implementation = "sdpa"  # masks are of bools
    dtype = weights.lm_head.weight.dtype
    if is_int8 and cpu_features().bf16:
        dtype = torch.bfloat16
    name = int8_name() if is_int8 else str(dtype).removeprefix("torch.")
    product = Int8Product if is_int8 else product_of
    states_dtype = torch.float32 if is_int8 else dtype
    return OwnLlama(weights, config, dtype, states_dtype, product, precision_name=name, ends=_ends(folder, config))


def _ends(folder: Path, config: Any) -> list[int]:
    """Return the tokens that end an answer, by generation_config.json or else by config.json."""
    file = folder / "generation_config.json"
    try:
        found = json.loads(file.read_text("utf-8")).get("eos_token_id") if file.is_file() else config.eos_token_id
    except (ValueError, AttributeError):  # transformers ignores a damaged file, too
        found = config.eos_token_id
    return [each for each in (found if isinstance(found, list) else [found]) if isinstance(each, int)]

"""A model in training as the model that predicts: its adapters added to a copy of its weights."""

import copy
from typing import Any

import torch
from torch import Tensor

from papertune.models import OwnLlama
from papertune.models.llama.products import product_of
from papertune.models.llama.weights import LlamaWeights
from papertune.training.layers.decoder import is_covered

# A copy of larger weights may not fit into the memory beside the training.
MAX_COPY_BYTES = 4 * 2**30


@torch.no_grad()
def predicting_copy(model: Any, dtype: torch.dtype) -> OwnLlama | None:
    """Return a model for prediction on the CPU with the weights of a model in training.

    Args:
        model: A model in training, in peft's wrapper or not; it does not change.
        dtype: The dtype of its products.

    Returns:
        The copy, with adapters added as in a finished run; None if the model is not one that `Decoder` trains, or too
        large.
    """
    inner = model.get_base_model() if hasattr(model, "peft_config") else model
    if not is_covered(inner, dtype) or sum(p.numel() for p in inner.parameters()) * dtype.itemsize > MAX_COPY_BYTES:
        return None
    weights = LlamaWeights(inner.config)
    tensors: dict[str, Tensor] = {}
    for place, module in weights.named_modules():
        for name, _ in module.named_parameters(recurse=False):
            tensors[f"{place}.{name}"] = _merged(inner.get_submodule(place), name)
    weights.load_state_dict(tensors, assign=True)
    del tensors  # or no layer's sums of weights and adapters would be released when they are packed
    config = copy.deepcopy(inner.config)
    config._attn_implementation = "sdpa"  # masks are of bools
    ends = inner.generation_config.eos_token_id
    return OwnLlama(
        weights.requires_grad_(False),
        config,
        dtype,
        dtype,
        product_of,
        precision_name=str(dtype).removeprefix("torch."),
        ends=ends if isinstance(ends, list) else [] if ends is None else [ends],
    )


def _merged(layer: Any, name: str) -> Tensor:
    """Return a parameter of a layer, a weight with what its adapter adds."""
    base = getattr(layer, "base_layer", layer)
    parameter: Tensor = getattr(base, name).data
    if layer is base or name != "weight":
        return parameter
    (adapter,) = layer.active_adapters
    a, b = layer.lora_A[adapter].weight, layer.lora_B[adapter].weight
    merged: Tensor = parameter.float() + (b @ a) * layer.scaling[adapter]
    return merged.to(parameter.dtype)

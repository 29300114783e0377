"""LoRA layers in fewer products while they are trained.

peft computes y = x W0^T + s (x A^T) B^T: three products and an addition, each with a result of its own. Here the
adapter is added to the weight first, which is cheap compared with a product over all tokens of a batch:

    M  = W0 + s B A                   computed in each pass
    y  = x M^T
    dx = dy M                         as many operations as without an adapter
    dA = s (dy B)^T x
    dB = s dy^T (x A^T)

It is done in float32 only: in bfloat16 W0 + s B A would be rounded to 8 bits, and small steps of A and B would be lost.
"""

from collections.abc import Iterator
from contextlib import contextmanager
from types import MethodType
from typing import Any

import torch
from torch import Tensor, nn


@contextmanager
def merged_products(model: Any, dtype: torch.dtype) -> Iterator[int]:
    """Use merged products in LoRA layers where the result is the same: no dropout, no DoRA, float32 throughout.

    Args:
        model: A model in training, with or without adapters.
        dtype: The dtype of products.

    Yields:
        The number of these layers.
    """
    layers = [module for module in model.modules() if dtype == torch.float32 and _is_plain(module)]
    for layer in layers:
        layer.forward = MethodType(_forward, layer)
    try:
        yield len(layers)
    finally:
        for layer in layers:
            del layer.forward


class _MergedProduct(torch.autograd.Function):
    """x (W0 + s B A)^T, with gradients for x, A and B."""

    @staticmethod
    def forward(ctx: Any, x: Tensor, weight: Tensor, a: Tensor, b: Tensor, scale: float) -> Tensor:
        ctx.save_for_backward(x, weight, a, b)
        ctx.scale = scale
        return x @ torch.addmm(weight, b, a, alpha=scale).T

    @staticmethod
    def backward(ctx: Any, dy: Tensor) -> tuple[Tensor | None, None, Tensor, Tensor, None]:
        x, weight, a, b = ctx.saved_tensors
        dx = dy @ torch.addmm(weight, b, a, alpha=ctx.scale) if ctx.needs_input_grad[0] else None
        x, dy = x.reshape(-1, x.shape[-1]), dy.reshape(-1, dy.shape[-1])  # (tokens, in), (tokens, out)
        da = (dy @ b).mul_(ctx.scale).T @ x
        db = dy.T @ (x @ a.T).mul_(ctx.scale)
        return dx, None, da, db, None


def _forward(layer: Any, x: Tensor) -> Tensor:
    (name,) = layer.active_adapters
    a, b = layer.lora_A[name].weight, layer.lora_B[name].weight
    base = layer.base_layer
    y: Tensor = _MergedProduct.apply(x, base.weight, a, b, layer.scaling[name])  # type: ignore[no-untyped-call]
    return y if base.bias is None else y + base.bias


def _is_plain(module: Any) -> bool:
    if not hasattr(module, "lora_A"):
        return False
    from peft.tuners.lora import Linear

    if type(module) is not Linear or len(module.active_adapters) != 1 or module.merged or module.disable_adapters:
        return False
    (name,) = module.active_adapters
    return (
        type(module.base_layer) is nn.Linear
        and name in module.lora_A
        and isinstance(module.lora_dropout[name], nn.Identity)
        and not module.use_dora[name]
        and not module.lora_bias[name]
        and not module.fan_in_fan_out
        and module.base_layer.weight.dtype == module.lora_A[name].weight.dtype == torch.float32
    )

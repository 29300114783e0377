"""Linear layers in int8, for prediction on a CPU.

Weights are rounded to integers with one scale for each output, activations to integers with one scale for each token
(as in LLM.int8(), Dettmers et al. 2022, arXiv:2208.07339, without its outliers):

    w[o, i] = s[o] q[o, i]          q in -127..127, s[o] = max over i of |w[o, i]| / 127
    x[t, i] = r[t] p[t, i]          p in -127..127, r[t] = max over i of |x[t, i]| / 127
    y[t, o] = r[t] s[o] sum over i of p[t, i] q[o, i]

The sum is exact, in 32 bits. oneDNN computes it with unsigned activations, p + 128. A CPU without VNNI instructions
adds pairs of products in 16 bits, where 2 x 255 x 127 would overflow; there weights have 7 bits, q in -64..64.

Embedding, attention and the output layer are in bfloat16 where the CPU computes that fast, else in float32; norms too,
except in `models/llama`, where they are in float32.
"""

import weakref
from typing import Any, Literal

import torch
from torch import Tensor, nn

from papertune.errors import ModelError
from papertune.models.cpu import adds_int8_in_32_bits, cpu_features, has_onednn
from papertune.models.quantization.base_bits import BaseBits
from papertune.models.selected_positions import output_layer

PredictionPrecision = Literal["auto", "bf16", "fp16", "fp32", "int8"]

ZERO_POINT = 128  # of an activation
MAX_ACTIVATION = 127
MIN_SCALE = 1e-30  # so that a row of zeros is not divided by zero


def check_int8(device: str, base_bits: BaseBits | None) -> None:
    """Check that a model can be converted to int8, before any work.

    Args:
        device: The model's device.
        base_bits: Bits in which its base weights are stored; None means the run's precision.

    Raises:
        ModelError: If it cannot be converted.
    """
    if torch.device(device).type != "cpu":
        raise ModelError(
            f"--precision int8 is for CPUs, but the device is {device}. Leave it out, or predict with --device cpu."
        )
    if base_bits is not None:
        raise ModelError(
            f"--precision int8: the run's base model is already stored in {base_bits} bits (method.base_bits). Leave "
            "--precision out."
        )
    if not has_onednn():
        raise ModelError("--precision int8 needs a PyTorch with oneDNN, which is missing. Use --precision fp32.")


def max_int8_weight() -> int:
    """Return the largest integer for a weight with which this CPU adds up products exactly."""
    return 127 if adds_int8_in_32_bits() else 64


def int8_name() -> str:
    """Return the name of this CPU's int8 precision; results depend on it."""
    beside = ", bfloat16 beside them" if cpu_features().bf16 else ""
    return f"int8 (weights up to {max_int8_weight()}{beside})"


def precision_name(model: Any) -> str:
    """Return the name of the precision of a model's products: int8 or its dtype."""
    if (own := getattr(model, "precision_name", None)) is not None:
        return str(own)
    if any(isinstance(module, Int8Linear) for module in model.modules()):
        return int8_name()
    return str(model.dtype).removeprefix("torch.")


def to_int8(model: Any) -> int:
    """Replace the linear layers of a model on the CPU in place, except for the output layer.

    The model can then only predict; it cannot be saved, copied or trained.

    Returns:
        The number of replaced layers.

    Raises:
        ModelError: If there are none.
    """
    output = output_layer(model)
    replaced = 0
    # Linear layers are not in the list: it would keep their weights alive until the last one is replaced.
    for parent in [module for module in model.modules() if not isinstance(module, nn.Linear)]:
        # Siblings often get the same tensor (queries, keys and values; gate and up).
        rounding: dict[int, _TokenRounding] = {}
        for name, child in list(parent.named_children()):
            if type(child) is nn.Linear and child is not output:
                shared = rounding.setdefault(child.in_features, _TokenRounding())
                setattr(parent, name, Int8Linear(child, shared))
                replaced += 1
    if not replaced:
        raise ModelError(
            f"--precision int8: {type(model).__name__} has no linear layers that can be converted. Leave --precision "
            "out."
        )
    return replaced


def pack_int8(weight: Tensor) -> tuple[Tensor, Tensor]:
    """Round weights, shape (out_features, in_features); return q, packed for oneDNN, and s, float32."""
    exact = weight.float()
    scales = exact.abs().amax(dim=1).clamp_min(MIN_SCALE) / max_int8_weight()
    numbers = (exact / scales[:, None]).round().to(torch.int8)
    return torch.ops.onednn.qlinear_prepack(numbers, None), scales


def int8_product(numbers: Tensor, packed: Tensor, scales: Tensor, dtype: torch.dtype) -> Tensor:
    """Return the sums over p q, times s; the caller multiplies by r.

    Args:
        numbers: p + 128, uint8, shape (..., in_features).
        packed: q, from `pack_int8`.
        scales: s. oneDNN's scale for activations would be one for all tokens.
        dtype: Of the result.
    """
    zeros = torch.zeros(len(scales), dtype=torch.int64)
    epilogue: tuple[Any, ...] = (None, 1.0, 0, dtype, "none", [], "")
    return torch.ops.onednn.qlinear_pointwise(  # type: ignore[no-any-return]
        numbers, 1.0, ZERO_POINT, packed, scales, zeros, *epilogue
    )


class Int8Linear(nn.Module):
    """A linear layer with integer weights.

    Args:
        linear: The layer to replace.
        rounding: Rounds the input.
    """

    def __init__(self, linear: nn.Linear, rounding: "_TokenRounding") -> None:
        super().__init__()
        self.in_features = linear.in_features
        self.out_features = linear.out_features
        self._packed, self._scales = pack_int8(linear.weight.detach())
        self._bias = None if linear.bias is None else linear.bias.detach().float()
        self._rounding = rounding

    def forward(self, x: Tensor) -> Tensor:
        """Multiply: shape (..., in_features) to (..., out_features), in the dtype of `x`."""
        numbers, token_scales = self._rounding(x)
        y = int8_product(numbers, self._packed, self._scales, torch.float32)
        y.mul_(token_scales)
        if self._bias is not None:
            y.add_(self._bias)
        return y.view(*x.shape[:-1], self.out_features).to(x.dtype)


class _TokenRounding:
    """Rounds each token of an activation to integers, once for all siblings that get the same tensor.

    It compares identity, not content, so nothing may be written into the tensor between two siblings.
    """

    def __init__(self) -> None:
        self._seen: weakref.ref[Tensor] | None = None
        self._numbers: Tensor | None = None
        self._scales: Tensor | None = None

    def __call__(self, x: Tensor) -> tuple[Tensor, Tensor]:
        """Return p + 128, uint8, shape (tokens, features), and r, float32, shape (tokens, 1)."""
        if self._numbers is None or self._scales is None or self._seen is None or self._seen() is not x:
            flat = x.reshape(-1, x.shape[-1]).float()
            # torch has no vector code for aminmax and for a conversion to uint8; they take ten times as long.
            scales = torch.maximum(-flat.amin(dim=1, keepdim=True), flat.amax(dim=1, keepdim=True))
            scales.clamp_min_(MIN_SCALE).div_(MAX_ACTIVATION)
            signed = (flat * scales.reciprocal()).round_().to(torch.int8)
            self._numbers = signed.view(torch.uint8).add_(ZERO_POINT)  # wraps around, as intended
            self._scales = scales
            self._seen = weakref.ref(x, self._forget)
        return self._numbers, self._scales

    def _forget(self, _: Any) -> None:
        self._seen = self._numbers = self._scales = None

"""Products of activations with the weights of one linear layer: in floating point, or in 8-bit integers.

Weights are packed once into the order in which oneDNN reads them. In floating point it also applies what follows a
product while the results are in registers: silu, a factor, a sum.
"""

from abc import ABC, abstractmethod
from dataclasses import dataclass

import torch
import torch.nn.functional as F
from torch import Tensor

from papertune.models.cpu import packs_weights
from papertune.models.quantization.int8 import MAX_ACTIVATION, MIN_SCALE, ZERO_POINT, int8_product, pack_int8

# A scale rounded to bfloat16 is up to 1/256 too small; 1% more keeps the largest activation within 127.
_ROOM = 1.01
# Rows for which oneDNN chooses the order of packed weights; others are as correct.
_PACKED_FOR = 384


@dataclass(frozen=True)
class Activation:
    """The input of one or more products.

    Attributes:
        values: Shape (..., features); integers where the products are in 8 bits.
        scales: What the integers are multiplied by, in the dtype of the results, shape (..., 1); None: no integers.
    """

    values: Tensor
    scales: Tensor | None = None


class Product(ABC):
    """x W^T + b for one weight matrix, with what follows it."""

    @staticmethod
    def prepare(x: Tensor) -> Activation:
        """Return the input of products, made of activations of shape (..., in_features)."""
        return Activation(x)

    @abstractmethod
    def plain(self, x: Activation) -> Tensor:
        """Return the product, shape (..., out_features)."""

    @abstractmethod
    def silu(self, x: Activation) -> Tensor:
        """Return y / (1 + exp(-y)) of the product y."""

    @abstractmethod
    def times(self, x: Activation, factor: Tensor) -> Tensor:
        """Return the product multiplied by a factor of its shape; the factor may be overwritten."""

    @abstractmethod
    def plus(self, x: Activation, states: Tensor) -> Tensor:
        """Return the sum of the product and states of its shape."""


class DenseProduct(Product):
    """A product in the dtype of the weights, on any CPU.

    Args:
        weight: Shape (out_features, in_features).
        bias: Shape (out_features,), or None.
    """

    def __init__(self, weight: Tensor, bias: Tensor | None) -> None:
        self._weight, self._bias = weight, bias

    def plain(self, x: Activation) -> Tensor:
        """Return the product."""
        return F.linear(x.values, self._weight, self._bias)

    def silu(self, x: Activation) -> Tensor:
        """Return the silu of the product."""
        return F.silu(self.plain(x), inplace=True)

    def times(self, x: Activation, factor: Tensor) -> Tensor:
        """Return the product multiplied by a factor."""
        return self.plain(x).mul_(factor)

    def plus(self, x: Activation, states: Tensor) -> Tensor:
        """Return the sum of the product and states."""
        return self.plain(x).add_(states)


class PackedProduct(Product):
    """As `DenseProduct`, with weights packed for oneDNN, which rounds once after all steps."""

    def __init__(self, weight: Tensor, bias: Tensor | None) -> None:
        self._packed = torch.ops.mkldnn._reorder_linear_weight(weight.contiguous(), _PACKED_FOR)
        self._bias = bias

    def plain(self, x: Activation) -> Tensor:
        """Return the product."""
        return torch.ops.mkldnn._linear_pointwise(x.values, self._packed, self._bias, "none", [], "")  # type: ignore[no-any-return]

    def silu(self, x: Activation) -> Tensor:
        """Return the silu of the product."""
        return torch.ops.mkldnn._linear_pointwise(x.values, self._packed, self._bias, "swish", [], "")  # type: ignore[no-any-return]

    def times(self, x: Activation, factor: Tensor) -> Tensor:
        """Return the product multiplied by a factor."""
        return torch.ops.mkldnn._linear_pointwise.binary(x.values, factor, self._packed, self._bias, "mul")  # type: ignore[no-any-return]

    def plus(self, x: Activation, states: Tensor) -> Tensor:
        """Return the sum of the product and states."""
        return torch.ops.mkldnn._linear_pointwise.binary(x.values, states, self._packed, self._bias, "add")  # type: ignore[no-any-return]


class Int8Product(Product):
    """A product of integers, as in `quantization.int8`, with results in the dtype of the activations.

    The scale of a token is a number of that dtype, so that multiplying by it loses no more than the product itself.
    """

    def __init__(self, weight: Tensor, bias: Tensor | None) -> None:
        self._packed, self._scales = pack_int8(weight)
        self._bias = bias

    @staticmethod
    def prepare(x: Tensor) -> Activation:
        """Round each token to integers."""
        # In float32 throughout: extremes of bfloat16 take four times as long.
        values = x.to(torch.float32, copy=True)
        largest = torch.maximum(-values.amin(dim=-1, keepdim=True), values.amax(dim=-1, keepdim=True))
        room = 1.0 if x.dtype == torch.float32 else _ROOM
        scales = largest.mul_(room / MAX_ACTIVATION).clamp_min_(MIN_SCALE).to(x.dtype)
        numbers = values.mul_(scales.float().reciprocal()).round_().to(torch.int8)
        return Activation(numbers.view(torch.uint8).add_(ZERO_POINT), scales)  # wraps around, as intended

    def plain(self, x: Activation) -> Tensor:
        """Return the product."""
        assert x.scales is not None
        y = int8_product(x.values, self._packed, self._scales, x.scales.dtype).mul_(x.scales)
        return y if self._bias is None else y.add_(self._bias)

    silu = DenseProduct.silu
    times = DenseProduct.times
    plus = DenseProduct.plus


def product_of(weight: Tensor, bias: Tensor | None) -> Product:
    """Return the fastest product in the dtype of the weights on this CPU."""
    return PackedProduct(weight, bias) if packs_weights(weight.dtype) else DenseProduct(weight, bias)

"""Products of activations with the weights of one linear layer: in floating point, or in 8-bit integers.

Weights are packed once into the order in which oneDNN reads them. In floating point it also applies what follows a
product while the results are in registers: silu, a factor, a sum. Around products of integers all numbers are float32:
converting bfloat16 takes longer than the steps themselves.
"""

from abc import ABC, abstractmethod
from typing import Self

import torch
import torch.nn.functional as F
from torch import Tensor

from papertune.models.cpu import packs_weights
from papertune.models.llama.steps import Activation, Steps, rounded
from papertune.models.quantization.int8 import int8_product, pack_int8

# Rows for which oneDNN chooses the order of packed weights; others are as correct.
_PACKED_FOR = 384


class Product(ABC):
    """x W^T + b for one weight matrix, with what follows it.

    Attributes:
        of_integers: Whether inputs are rounded to integers.
    """

    of_integers = False

    @staticmethod
    def prepare(x: Tensor) -> Activation:
        """Return the input of products, made of activations of shape (..., in_features)."""
        return Activation(x)

    @abstractmethod
    def plain(self, x: Activation) -> Tensor:
        """Return the product, shape (..., out_features)."""

    def unscaled(self, x: Activation) -> tuple[Tensor, Tensor | None]:
        """Return the product, and what it must still be multiplied by, shape (..., 1), or None."""
        return self.plain(x), None

    @abstractmethod
    def gated(self, x: Activation, up: Self, steps: Steps) -> Activation:
        """Return silu(y) z of this product y and another one z of the same input, as input of a product."""

    @abstractmethod
    def plus(self, x: Activation, states: Tensor) -> Tensor:
        """Return the sum of the product and states of its shape, which may be overwritten."""


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

    def gated(self, x: Activation, up: Self, steps: Steps) -> Activation:
        """Return the input of the next product."""
        return Activation(F.silu(self.plain(x), inplace=True).mul_(up.plain(x)))

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
        return self._single(x, "none")

    def gated(self, x: Activation, up: Self, steps: Steps) -> Activation:
        """Return the input of the next product."""
        return Activation(up._with(x, self._single(x, "swish"), "mul"))

    def plus(self, x: Activation, states: Tensor) -> Tensor:
        """Return the sum of the product and states."""
        return self._with(x, states, "add")

    def _single(self, x: Activation, step: str) -> Tensor:
        return torch.ops.mkldnn._linear_pointwise(x.values, self._packed, self._bias, step, [], "")  # type: ignore[no-any-return]

    def _with(self, x: Activation, other: Tensor, step: str) -> Tensor:
        return torch.ops.mkldnn._linear_pointwise.binary(x.values, other, self._packed, self._bias, step)  # type: ignore[no-any-return]


class Int8Product(Product):
    """A product of integers, as in `quantization.int8`, of and with numbers in float32."""

    of_integers = True

    def __init__(self, weight: Tensor, bias: Tensor | None) -> None:
        self._packed, self._scales = pack_int8(weight)
        self._bias = bias

    @staticmethod
    def prepare(x: Tensor) -> Activation:
        """Round each token to integers."""
        return rounded(x.to(torch.float32, copy=True))

    def plain(self, x: Activation) -> Tensor:
        """Return the product."""
        assert x.scales is not None
        y = self._sums(x).mul_(x.scales)
        return y if self._bias is None else y.add_(self._bias)

    def unscaled(self, x: Activation) -> tuple[Tensor, Tensor | None]:
        """Return the product, and its scales where no bias must be added behind them."""
        return (self._sums(x), x.scales) if self._bias is None else (self.plain(x), None)

    def gated(self, x: Activation, up: Self, steps: Steps) -> Activation:
        """Return the input of the next product."""
        assert x.scales is not None
        if self._bias is not None or up._bias is not None:
            return rounded(F.silu(self.plain(x), inplace=True).mul_(up.plain(x)))
        return steps.gated(self._sums(x), up._sums(x), x.scales)

    def plus(self, x: Activation, states: Tensor) -> Tensor:
        """Return the sum of the product and states, in place."""
        assert x.scales is not None
        states.addcmul_(self._sums(x), x.scales)
        return states if self._bias is None else states.add_(self._bias)

    def _sums(self, x: Activation) -> Tensor:
        return int8_product(x.values, self._packed, self._scales, torch.float32)


def product_of(weight: Tensor, bias: Tensor | None) -> Product:
    """Return the fastest product in the dtype of the weights on this CPU."""
    return PackedProduct(weight, bias) if packs_weights(weight.dtype) else DenseProduct(weight, bias)

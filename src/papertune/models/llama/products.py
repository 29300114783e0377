"""Products of activations with the weights of one linear layer: in floating point, or in 8-bit integers.

Weights are packed once into the order in which oneDNN reads them. In floating point it also applies what follows a
product while the results are in registers: silu, a factor, a sum. Around products of integers all numbers are float32:
converting bfloat16 takes longer than the steps themselves.
"""

from abc import ABC, abstractmethod
from dataclasses import dataclass
from typing import Self

import torch
import torch.nn.functional as F
from torch import Tensor

from papertune.models.attention.grouped import LOG2_E
from papertune.models.cpu import packs_weights
from papertune.models.quantization.int8 import MAX_ACTIVATION, MIN_SCALE, ZERO_POINT, int8_product, pack_int8

# Rows for which oneDNN chooses the order of packed weights; others are as correct.
_PACKED_FOR = 384


@dataclass(frozen=True)
class Activation:
    """The input of one or more products.

    Attributes:
        values: Shape (..., features); integers where the products are in 8 bits.
        scales: What the integers are multiplied by, float32, shape (..., 1); None: no integers.
    """

    values: Tensor
    scales: Tensor | None = None


class Product(ABC):
    """x W^T + b for one weight matrix, with what follows it."""

    @staticmethod
    def prepare(x: Tensor) -> Activation:
        """Return the input of products, made of activations of shape (..., in_features)."""
        return Activation(x)

    @staticmethod
    def normed(states: Tensor, weight: Tensor, epsilon: float) -> Activation:
        """Return the input of products, made of the RMS norm of states; the arguments are those of `normed`."""
        return Activation(normed(states, weight, epsilon))

    @abstractmethod
    def plain(self, x: Activation) -> Tensor:
        """Return the product, shape (..., out_features)."""

    @abstractmethod
    def gated(self, x: Activation, up: Self) -> Activation:
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

    def gated(self, x: Activation, up: Self) -> Activation:
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

    def gated(self, x: Activation, up: Self) -> Activation:
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

    def __init__(self, weight: Tensor, bias: Tensor | None) -> None:
        self._packed, self._scales = pack_int8(weight)
        self._bias = bias

    @staticmethod
    def prepare(x: Tensor) -> Activation:
        """Round each token to integers."""
        return _rounded(x.to(torch.float32, copy=True))

    @staticmethod
    def normed(states: Tensor, weight: Tensor, epsilon: float) -> Activation:
        """Round the norm of each token to integers; what the norm divides by is part of the scale."""
        return _rounded(states * weight, inverse_rms(states, epsilon))

    def plain(self, x: Activation) -> Tensor:
        """Return the product."""
        assert x.scales is not None
        y = self._unscaled(x).mul_(x.scales)
        return y if self._bias is None else y.add_(self._bias)

    def gated(self, x: Activation, up: Self) -> Activation:
        """Return the input of the next product.

        With products g, u before their scale r, it is silu(r g) r u = r^2 g u / (1 + 2^(-r g log2 e)). PyTorch
        computes powers of two in a third of the time of a silu, and the square can wait for the scale of the result.
        """
        assert x.scales is not None
        if self._bias is not None or up._bias is not None:
            return _rounded(F.silu(self.plain(x), inplace=True).mul_(up.plain(x)))
        gate = self._unscaled(x)
        divisor = torch.mul(gate, x.scales * -LOG2_E).exp2_().add_(1)
        return _rounded(gate.mul_(up._unscaled(x)).div_(divisor), x.scales.square())

    def plus(self, x: Activation, states: Tensor) -> Tensor:
        """Return the sum of the product and states, in place."""
        assert x.scales is not None
        states.addcmul_(self._unscaled(x), x.scales)
        return states if self._bias is None else states.add_(self._bias)

    def _unscaled(self, x: Activation) -> Tensor:
        return int8_product(x.values, self._packed, self._scales, torch.float32)


def _rounded(values: Tensor, factor: Tensor | None = None) -> Activation:
    """Round each token to integers.

    Args:
        values: Float32, shape (..., features); overwritten.
        factor: Of each token, positive, shape (..., 1): the result stands for the values times this.
    """
    largest = torch.maximum(-values.amin(dim=-1, keepdim=True), values.amax(dim=-1, keepdim=True))
    largest.clamp_min_(MIN_SCALE)
    numbers = values.mul_(MAX_ACTIVATION / largest).round_().to(torch.int8)
    scales = largest.div_(MAX_ACTIVATION)
    # The sum wraps around, as intended.
    return Activation(numbers.view(torch.uint8).add_(ZERO_POINT), scales if factor is None else scales.mul_(factor))


def normed(states: Tensor, weight: Tensor, epsilon: float) -> Tensor:
    """Return the RMS norm, rounded once, at the end; in half the time of PyTorch's on a CPU.

    Args:
        states: Shape (..., hidden).
        weight: Float32, shape (hidden,).
        epsilon: What is added to the mean square.
    """
    values = states.to(torch.float32, copy=True)
    return values.mul_(inverse_rms(values, epsilon)).mul_(weight).to(states.dtype)


def inverse_rms(values: Tensor, epsilon: float) -> Tensor:
    """Return what the RMS norm multiplies each token by, shape (..., 1), for values in float32."""
    squares: Tensor = torch.linalg.vector_norm(values, dim=-1, keepdim=True).square_()
    return squares.div_(values.shape[-1]).add_(epsilon).rsqrt_()


def product_of(weight: Tensor, bias: Tensor | None) -> Product:
    """Return the fastest product in the dtype of the weights on this CPU."""
    return PackedProduct(weight, bias) if packs_weights(weight.dtype) else DenseProduct(weight, bias)

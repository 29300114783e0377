"""What a layer does between its products, with PyTorch: norms, gate, rotation, softmax, and rounding to integers.

`models/fused` has the same in fewer passes over the numbers.
"""

from dataclasses import dataclass

import torch
from torch import Tensor

from papertune.models.attention.grouped import LOG2_E, attend
from papertune.models.llama.rotation import Rotation
from papertune.models.quantization.int8 import MAX_ACTIVATION, MIN_SCALE, ZERO_POINT


@dataclass(frozen=True)
class Activation:
    """The input of one or more products.

    Attributes:
        values: Shape (..., features); integers where the products are in 8 bits.
        scales: What the integers are multiplied by, float32, shape (..., 1); None: no integers.
    """

    values: Tensor
    scales: Tensor | None = None


class Steps:
    """The steps as single calls of PyTorch, for any dtype and number of threads."""

    def normed(self, states: Tensor, weight: Tensor, epsilon: float, *, to_integers: bool) -> Activation:
        """Return the RMS norm of states, as input of products.

        Args:
            states: Shape (..., hidden); float32 if they become integers.
            weight: Float32, shape (hidden,).
            epsilon: What is added to the mean square.
            to_integers: Round each token to integers; what the norm divides by is part of the scale.
        """
        if not to_integers:
            return Activation(normed(states, weight, epsilon))
        return rounded(states * weight, inverse_rms(states, epsilon))

    def gated(self, gate: Tensor, up: Tensor, scales: Tensor) -> Activation:
        """Return silu(r g) r u, rounded to integers.

        It is r^2 g u / (1 + 2^(-r g log2 e)). PyTorch computes powers of two in a third of the time of a silu, and the
        square can wait for the scale of the result.

        Args:
            gate: Products g, float32, shape (..., features); overwritten.
            up: Products u, as `gate`.
            scales: Their scale r, shape (..., 1).
        """
        divisor = torch.mul(gate, scales * -LOG2_E).exp2_().add_(1)
        return rounded(gate.mul_(up).div_(divisor), scales.square())

    def split(
        self, made: Tensor, scales: Tensor | None, rotation: Rotation, heads: tuple[int, int], dtype: torch.dtype
    ) -> tuple[Tensor, Tensor, Tensor]:
        """Return rotated queries and keys, and values.

        Args:
            made: The first halves of all queries and keys, then the second halves, then values, shape (batch, seq,
                features); may be overwritten.
            scales: What they are multiplied by, float32, shape (batch, seq, 1), or None.
            rotation: Of the tokens.
            heads: Of queries, and of keys.
            dtype: Of the result.

        Returns:
            Queries, shape (batch, groups, seq, heads of a group, head_dim), keys and values, shape (batch, groups, seq,
            head_dim).
        """
        batch, seq, features = made.shape
        queries_heads, groups = heads
        half = features // (queries_heads + 2 * groups) // 2
        rotated = 2 * half * (queries_heads + groups)
        if scales is not None:
            made = made.mul_(scales)
        halves = rotation.turn(made[..., :rotated]).to(dtype).view(batch, seq, 2, queries_heads + groups, half)
        queries = halves[:, :, :, :queries_heads].reshape(batch, seq, 2, groups, -1, half)
        queries = queries.permute(0, 3, 1, 4, 2, 5).reshape(batch, groups, seq, -1, 2 * half)
        keys = halves[:, :, :, queries_heads:].permute(0, 3, 1, 2, 4).reshape(batch, groups, seq, 2 * half)
        values = made[..., rotated:].to(dtype).view(batch, seq, groups, 2 * half).transpose(1, 2)
        return queries, keys, values

    def attended(
        self, queries: Tensor, keys: Tensor, values: Tensor, mask: Tensor | None, *, to_integers: bool
    ) -> Activation:
        """Return what `attend` does, as input of a product; the other arguments are those of `attend`."""
        seen = attend(queries, keys, values, mask)
        return rounded(seen.to(torch.float32, copy=True)) if to_integers else Activation(seen)


def rounded(values: Tensor, factor: Tensor | None = None) -> Activation:
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

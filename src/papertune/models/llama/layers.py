"""One decoder layer for prediction.

norm, queries|keys|values in one product, rotation, grouped attention, output + residual
norm, silu of the gate, times the other half, down + residual
"""

from collections.abc import Callable
from typing import Any

import torch
from torch import Tensor

from papertune.models.attention.grouped import attend
from papertune.models.llama.products import Product
from papertune.models.llama.rotation import Rotation

MakeProduct = Callable[[Tensor, Tensor | None], Product]


class Layer:
    """One layer, made of the weights of a layer of `LlamaWeights`.

    Args:
        number: Its number, by which caches know it.
        weights: Its weights; they are not needed afterwards.
        config: The model's configuration.
        dtype: Of the activations.
        product: Makes the products, from a weight and a bias in the dtype of `weights`.
    """

    def __init__(self, number: int, weights: Any, config: Any, dtype: torch.dtype, product: MakeProduct) -> None:
        attention, mlp = weights.self_attn, weights.mlp
        self._number = number
        self._epsilon: float = config.rms_norm_eps
        self._norms = [each.weight.to(dtype) for each in (weights.input_layernorm, weights.post_attention_layernorm)]
        self._size: int = getattr(config, "head_dim", None) or config.hidden_size // config.num_attention_heads
        self._groups = attention.k_proj.out_features // self._size
        self._heads = attention.q_proj.out_features // self._size

        def made(*layers: Any, factors: tuple[float, ...] = (1.0,)) -> Product:
            joined = torch.cat([each.weight * by for each, by in zip(layers, factors, strict=True)])
            bias = None
            if layers[0].bias is not None:
                bias = torch.cat([each.bias * by for each, by in zip(layers, factors, strict=True)]).to(dtype)
            return product(joined, bias)

        # The factor of the scores is part of the queries' weights. For heads of 64 or 256 numbers it is a power of two,
        # and rounds nothing.
        scaling = self._size**-0.5
        self._qkv = made(attention.q_proj, attention.k_proj, attention.v_proj, factors=(scaling, 1.0, 1.0))
        self._output = made(attention.o_proj)
        self._gate, self._up, self._down = made(mlp.gate_proj), made(mlp.up_proj), made(mlp.down_proj)

    def __call__(self, states: Tensor, rotation: Rotation, mask: Tensor | None, cache: Any) -> Tensor:
        """Run the layer.

        Args:
            states: Shape (batch, seq, hidden).
            rotation: Of the tokens.
            mask: Which key a token sees, bool, shape (batch or 1, 1, seq, keys); None: all that are not later.
            cache: A transformers cache that keys and values are appended to, or None.

        Returns:
            The new states, shape (batch, seq, hidden).
        """
        queries, keys, values = self._attention_input(states, rotation, cache)
        return self._rest(attend(queries, keys, values, mask), states)

    def only_at(
        self,
        states: Tensor,
        rotation: Rotation,
        mask: Tensor | None,
        cache: Any,
        wanted: tuple[Tensor, Tensor],
    ) -> Tensor:
        """As `__call__`, but return the states at some positions only.

        Args:
            states: Shape (batch, seq, hidden).
            rotation: Of the tokens.
            mask: As in `__call__`.
            cache: As in `__call__`.
            wanted: Rows and columns of the positions, int64, shape (positions,).

        Returns:
            Shape (positions, hidden).
        """
        rows, columns = wanted
        queries, keys, values = self._attention_input(states, rotation, cache)
        if mask is None:
            earlier = keys.shape[2] - states.shape[1]
            visible = torch.arange(keys.shape[2]) <= (columns + earlier)[:, None]
        else:
            visible = mask.expand(len(states), 1, -1, -1)[rows, 0, columns]  # (positions, keys)
        # A row with many positions, as in a tree of labels, is attended to as a whole.
        if len(rows) > len(states):
            seen = attend(queries, keys, values, mask)[rows, columns]
        else:
            at = queries[rows, :, columns]  # (positions, groups, heads of a group, head_dim)
            scores = torch.matmul(at, keys[rows].transpose(2, 3))
            scores = scores.masked_fill_(~visible[:, None, None], -torch.inf).softmax(dim=-1)
            seen = torch.matmul(scores, values[rows]).reshape(len(rows), -1)
        return self._rest(seen, states[rows, columns])

    def _attention_input(self, states: Tensor, rotation: Rotation, cache: Any) -> tuple[Tensor, Tensor, Tensor]:
        """Return queries, shape (batch, groups, seq, heads of a group, head_dim), and all keys and values."""
        batch, seq, _ = states.shape
        made = self._qkv.plain(self._qkv.prepare(self._normed(0, states)))
        heads = made.view(batch, seq, self._heads + 2 * self._groups, self._size)
        rotated = self._heads + self._groups
        turned = rotation.turn(heads[:, :, :rotated])
        queries = turned[:, :, : self._heads].reshape(batch, seq, self._groups, -1, self._size)
        queries = queries.transpose(1, 2).contiguous()
        keys, values = turned[:, :, self._heads :].transpose(1, 2), heads[:, :, rotated:].transpose(1, 2)
        if cache is not None:
            keys, values = cache.update(keys, values, self._number)
        return queries, keys, values

    def _rest(self, seen: Tensor, states: Tensor) -> Tensor:
        """Return the states after the layer, given what attention has seen; both have shape (..., features)."""
        states = self._output.plus(self._output.prepare(seen), states)
        x = self._gate.prepare(self._normed(1, states))
        inner = self._up.times(x, self._gate.silu(x))
        return self._down.plus(self._down.prepare(inner), states)

    def _normed(self, which: int, states: Tensor) -> Tensor:
        return normed(states, self._norms[which], self._epsilon)


def normed(states: Tensor, weight: Tensor, epsilon: float) -> Tensor:
    """Return the RMS norm, rounded once, at the end; in half the time of PyTorch's on a CPU.

    Args:
        states: Shape (..., hidden).
        weight: Shape (hidden,).
        epsilon: What is added to the mean square.
    """
    values = states.to(torch.float32, copy=True)
    squares = torch.linalg.vector_norm(values, dim=-1, keepdim=True).square_()
    scale = squares.div_(states.shape[-1]).add_(epsilon).rsqrt_()
    return values.mul_(scale).mul_(weight).to(states.dtype)

"""One decoder layer for prediction.

norm, queries|keys|values in one product, rotation, grouped attention, output + residual
norm, silu of the gate, times the other half, down + residual

The rows of queries and keys are sorted: the first halves of all heads, then the second halves, as the rotation needs
them.
"""

from collections.abc import Callable
from typing import Any

import torch
from torch import Tensor

from papertune.models.attention.grouped import attend
from papertune.models.llama.products import Product
from papertune.models.llama.rotation import Rotation
from papertune.models.llama.steps import Activation, Steps

MakeProduct = Callable[[Tensor, Tensor | None], Product]


class Layer:
    """One layer, made of the weights of a layer of `LlamaWeights`.

    Args:
        number: Its number, by which caches know it.
        weights: Its weights; they are not needed afterwards.
        config: The model's configuration.
        dtype: Of queries, keys and values.
        product: Makes the products, from a weight and a bias in the dtype of `weights`.
    """

    def __init__(self, number: int, weights: Any, config: Any, dtype: torch.dtype, product: MakeProduct) -> None:
        attention, mlp = weights.self_attn, weights.mlp
        self._number = number
        self._dtype = dtype
        self._epsilon: float = config.rms_norm_eps
        self._norms = [each.weight.float() for each in (weights.input_layernorm, weights.post_attention_layernorm)]
        self._size: int = getattr(config, "head_dim", None) or config.hidden_size // config.num_attention_heads
        self._groups = attention.k_proj.out_features // self._size
        self._heads = attention.q_proj.out_features // self._size
        query, key, value = attention.q_proj, attention.k_proj, attention.v_proj
        # The factor of the scores is part of the queries' weights. For heads of 64 or 256 numbers it is a power of two,
        # and rounds nothing.
        scaling = self._size**-0.5
        joined = torch.cat([self._by_halves(query.weight * scaling, key.weight), value.weight])
        bias = None
        if query.bias is not None:
            bias = torch.cat([self._by_halves(query.bias * scaling, key.bias), value.bias])
        self._qkv = product(joined, bias)
        self._output, self._gate, self._up, self._down = (
            product(each.weight, each.bias) for each in (attention.o_proj, mlp.gate_proj, mlp.up_proj, mlp.down_proj)
        )

    @property
    def of_integers(self) -> bool:
        """Whether products are of integers."""
        return self._qkv.of_integers

    def _by_halves(self, *parts: Tensor) -> Tensor:
        """Join rows of heads, first halves first; shape (heads x head_dim, ...) before and after."""
        heads = torch.cat(parts)
        return heads.view(-1, 2, self._size // 2, *heads.shape[1:]).transpose(0, 1).reshape(heads.shape)

    def __call__(self, states: Tensor, rotation: Rotation, mask: Tensor | None, cache: Any, steps: Steps) -> Tensor:
        """Run the layer.

        Args:
            states: Shape (batch, seq, hidden).
            rotation: Of the tokens.
            mask: Which key a token sees, bool, shape (batch or 1, 1, seq, keys); None: all that are not later.
            cache: A transformers cache that keys and values are appended to, or None.
            steps: What is done between products.

        Returns:
            The new states, shape (batch, seq, hidden).
        """
        queries, keys, values = self._attention_input(states, rotation, cache, steps)
        seen = steps.attended(queries, keys, values, mask, to_integers=self.of_integers)
        return self._rest(seen, states, steps)

    def only_at(
        self,
        states: Tensor,
        rotation: Rotation,
        mask: Tensor | None,
        cache: Any,
        steps: Steps,
        wanted: tuple[Tensor, Tensor],
    ) -> Tensor:
        """As `__call__`, but return the states at some positions only.

        Args:
            states: Shape (batch, seq, hidden).
            rotation: Of the tokens.
            mask: As in `__call__`.
            cache: As in `__call__`.
            steps: As in `__call__`.
            wanted: Rows and columns of the positions, int64, shape (positions,).

        Returns:
            Shape (positions, hidden).
        """
        rows, columns = wanted
        queries, keys, values = self._attention_input(states, rotation, cache, steps)
        # A row with many positions, as in a tree of labels, is attended to as a whole.
        if len(rows) > len(states):
            seen = attend(queries, keys, values, mask)[rows, columns]
        else:
            if mask is None:
                earlier = keys.shape[2] - states.shape[1]
                visible = torch.arange(keys.shape[2]) <= (columns + earlier)[:, None]
            else:
                visible = mask.expand(len(states), 1, -1, -1)[rows, 0, columns]  # (positions, keys)
            at = queries[rows, :, columns]  # (positions, groups, heads of a group, head_dim)
            scores = torch.matmul(at, keys[rows].transpose(2, 3))
            scores = scores.masked_fill_(~visible[:, None, None], -torch.inf).softmax(dim=-1)
            seen = torch.matmul(scores, values[rows]).reshape(len(rows), -1)
        return self._rest(self._output.prepare(seen), states[rows, columns], steps)

    def _attention_input(
        self, states: Tensor, rotation: Rotation, cache: Any, steps: Steps
    ) -> tuple[Tensor, Tensor, Tensor]:
        """Return queries, shape (batch, groups, seq, heads of a group, head_dim), and all keys and values."""
        x = steps.normed(states, self._norms[0], self._epsilon, to_integers=self.of_integers)
        made, scales = self._qkv.unscaled(x)
        queries, keys, values = steps.split(made, scales, rotation, (self._heads, self._groups), self._dtype)
        if cache is not None:
            keys, values = cache.update(keys, values, self._number)
        return queries, keys, values

    def _rest(self, seen: Activation, states: Tensor, steps: Steps) -> Tensor:
        """Return the states after the layer, shape (..., hidden), given what attention has seen."""
        states = self._output.plus(seen, states)
        x = steps.normed(states, self._norms[1], self._epsilon, to_integers=self.of_integers)
        return self._down.plus(self._gate.gated(x, self._up, steps), states)

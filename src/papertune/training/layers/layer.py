"""One decoder layer of a llama-like model: forward pass, and backward pass to its input and its adapters."""

from dataclasses import dataclass
from typing import Any

import torch
from torch import Tensor

from papertune.training.layers.attention import Attended, Rotation, attend, attend_backward
from papertune.training.layers.pieces import gated, gated_backward, norm, norm_backward
from papertune.training.layers.products import Gradients, Product


@dataclass(frozen=True)
class Kept:
    """What the backward pass of a layer needs; all of shape (tokens, ...) but `attended`.

    Attributes:
        states: The input of the layer.
        first: Column from which on the output was computed.
        normed, scale, low_qkv: Of the attention's input.
        attended: Of the attention itself.
        seen, low_out: The attention's output before its last product.
        middle, normed_middle, scale_middle, low_gate_up: Of the input of the gated part.
        gate_up, activated, low_down: Of the gated part.
    """

    states: Tensor
    first: int
    normed: Tensor
    scale: Tensor
    low_qkv: Tensor | None
    attended: Attended
    seen: Tensor
    low_out: Tensor | None
    middle: Tensor
    normed_middle: Tensor
    scale_middle: Tensor
    low_gate_up: Tensor | None
    gate_up: Tensor
    activated: Tensor
    low_down: Tensor | None


class Layer:
    """A decoder layer.

    Args:
        layer: The layer of the model.
        heads: Heads of the queries.
        groups: Heads of keys and values.
        width: Numbers of a head.
    """

    def __init__(self, layer: Any, heads: int, groups: int, width: int) -> None:
        attention, mlp = layer.self_attn, layer.mlp
        self._qkv = Product([attention.q_proj, attention.k_proj, attention.v_proj])
        self._out = Product([attention.o_proj])
        self._gate_up = Product([mlp.gate_proj, mlp.up_proj])
        self._down = Product([mlp.down_proj])
        self._before, self._between = layer.input_layernorm, layer.post_attention_layernorm
        self._heads, self._groups, self._width = heads, groups, width

    @property
    def products(self) -> tuple[Product, ...]:
        """All products with weights."""
        return self._qkv, self._out, self._gate_up, self._down

    def forward(self, states: Tensor, rotation: Rotation, visible: Tensor | None, first: int) -> tuple[Tensor, Kept]:
        """Run the layer.

        Args:
            states: Shape (batch, seq, hidden), contiguous.
            rotation: By the positions of the tokens.
            visible: As in `attend`, for all tokens.
            first: Column from which on the output is needed.

        Returns:
            The output, shape (batch, seq - first, hidden), and what `backward` needs.
        """
        batch, seq, hidden = states.shape
        flat = states.view(-1, hidden)
        normed, scale = norm(flat, self._before.weight, self._before.variance_epsilon)
        qkv, low_qkv = self._qkv.forward(normed)
        query, key, value = self._heads_of(qkv.view(batch, seq, -1))
        query = query[:, :, first:]
        query = rotation.query(query, first, query.new_empty(query.shape))
        key = rotation.key(key, key.new_empty(key.shape))
        shown = None if visible is None else visible[:, first:]
        seen, attended = attend(query, key, value.contiguous(), shown)
        seen = seen.view(-1, seen.shape[-1])
        middle, low_out = self._out.forward(seen)
        middle += flat if first == 0 else states[:, first:].reshape(-1, hidden)
        normed_middle, scale_middle = norm(middle, self._between.weight, self._between.variance_epsilon)
        gate_up, low_gate_up = self._gate_up.forward(normed_middle)
        product, activated = gated(gate_up)
        output, low_down = self._down.forward(product)
        kept = Kept(
            states,
            first,
            normed,
            scale,
            low_qkv,
            attended,
            seen,
            low_out,
            middle,
            normed_middle,
            scale_middle,
            low_gate_up,
            gate_up,
            activated,
            low_down,
        )
        return output.add_(middle).view(batch, seq - first, hidden), kept

    def backward(
        self, gradient: Tensor, kept: Kept, rotation: Rotation, gradients: Gradients, *, to_input: bool
    ) -> Tensor | None:
        """Go back through the layer.

        Args:
            gradient: Of the output, shape (batch, seq - first, hidden).
            kept: From `forward`.
            rotation: As in `forward`.
            gradients: Gets those of its products.
            to_input: Whether the gradient of the input is needed.

        Returns:
            The gradient of the input, shape (batch, seq, hidden), or None.
        """
        batch, queries, hidden = gradient.shape
        seq, first = kept.states.shape[1], kept.first
        above = gradient.view(-1, hidden)
        product = kept.activated * kept.gate_up[:, kept.activated.shape[1] :]
        dproduct = self._down.backward(above, product, kept.low_down, gradients, to_input=True)
        assert dproduct is not None
        dgate_up = gated_backward(dproduct, kept.gate_up, kept.activated)
        dmiddle = self._gate_up.backward(dgate_up, kept.normed_middle, kept.low_gate_up, gradients, to_input=True)
        assert dmiddle is not None
        dmiddle = norm_backward(dmiddle, kept.middle, kept.normed_middle, kept.scale_middle, self._between.weight).add_(
            above
        )
        dseen = self._out.backward(dmiddle, kept.seen, kept.low_out, gradients, to_input=True)
        assert dseen is not None
        dqkv = self._qkv_gradient(dseen.view(batch, queries, -1), kept, rotation)
        dnormed = self._qkv.backward(dqkv, kept.normed, kept.low_qkv, gradients, to_input=to_input)
        if dnormed is None:
            return None
        dstates = norm_backward(
            dnormed, kept.states.view(-1, hidden), kept.normed, kept.scale, self._before.weight
        ).view(batch, seq, hidden)
        dstates[:, first:] += dmiddle.view(batch, queries, hidden)
        return dstates

    def _qkv_gradient(self, dseen: Tensor, kept: Kept, rotation: Rotation) -> Tensor:
        """Return the gradient of q, k and v side by side, shape (tokens, ...)."""
        dquery, dkey, dvalue = attend_backward(dseen, kept.attended, self._groups)
        batch, seq, _ = kept.states.shape
        gradient = dseen.new_empty(batch, seq, (self._heads + 2 * self._groups) * self._width)
        query, key, value = self._heads_of(gradient)
        if kept.first:
            query[:, :, : kept.first] = 0
        rotation.query(dquery, kept.first, query[:, :, kept.first :], back=True)
        rotation.key(dkey, key, back=True)
        value.copy_(dvalue)
        return gradient.view(batch * seq, -1)

    def _heads_of(self, qkv: Tensor) -> tuple[Tensor, Tensor, Tensor]:
        """Return views of queries, keys and values in the shapes of `attend`.

        Args:
            qkv: Side by side, shape (batch, seq, ...).
        """
        batch, seq, _ = qkv.shape
        heads, groups, width = self._heads, self._groups, self._width
        query, key, value = torch.split(qkv, [heads * width, groups * width, groups * width], dim=-1)
        return (
            query.view(batch, seq, groups, heads // groups, width).transpose(1, 2),
            key.view(batch, seq, groups, width).transpose(1, 2),
            value.view(batch, seq, groups, width).transpose(1, 2),
        )

"""Causal attention with its backward pass: heads that share a key and value together, one block of queries at a time.

    S = Q K^T       P = softmax(S)       O = P V
    dV = P^T dO     dP = dO V^T          dS = P (dP - sum(dP P))     dQ = dS K     dK = dS^T Q

As in `papertune.models.attention.grouped`, heads of a group are stacked (Ainslie et al. 2023, arXiv:2305.13245), and
keys behind a block are skipped in both directions. P is kept, since computing it again takes longer than reading it.
"""

from dataclasses import dataclass

import torch
from torch import Tensor

# Queries in a block: few enough to skip most of the hidden half, enough for products at full speed.
_BLOCK = 128


@dataclass(frozen=True)
class Attended:
    """What the backward pass of an attention needs.

    Attributes:
        query: Shape (batch x groups, queries x heads of a group, head_dim).
        key: Shape (batch x groups, seq, head_dim).
        value: As `key`.
        weights: Of each block of queries, shape (batch x groups, queries of the block x heads, keys up to its end).
    """

    query: Tensor
    key: Tensor
    value: Tensor
    weights: list[Tensor]


def attend(query: Tensor, key: Tensor, value: Tensor, visible: Tensor | None) -> tuple[Tensor, Attended]:
    """Compute attention.

    Args:
        query: Rotated and scaled, shape (batch, groups, queries, heads of a group, head_dim), contiguous. The last
            `queries` of the keys belong to them.
        key: Rotated, shape (batch, groups, seq, head_dim), contiguous.
        value: Shape (batch, groups, seq, head_dim), contiguous.
        visible: Which keys each query sees, never later ones, bool, shape (batch, queries, seq); None: all earlier
            ones.

    Returns:
        The output, shape (batch, queries, heads x head_dim), and what `attend_backward` needs.
    """
    batch, groups, queries, size, width = query.shape
    seq = key.shape[2]
    stacked = query.view(batch * groups, queries * size, width)
    key, value = key.view(batch * groups, seq, width), value.view(batch * groups, seq, width)
    transposed = key.transpose(1, 2)
    hidden = torch.full((_BLOCK, _BLOCK), -torch.inf, dtype=query.dtype).triu_(1)
    attended = query.new_empty(batch, queries, groups, size, width)
    weights: list[Tensor] = []
    for start in range(0, queries, _BLOCK):
        end = min(start + _BLOCK, queries)
        seen = seq - queries + end
        scores = torch.bmm(stacked[:, start * size : end * size], transposed[:, :, :seen])
        by_query = scores.view(batch, groups, end - start, size, seen)
        if visible is None:
            by_query[..., seen - (end - start) :] += hidden[: end - start, None, : end - start]
        else:
            by_query.masked_fill_(~visible[:, None, start:end, None, :seen], -torch.inf)
        weights.append(scores.softmax(dim=-1))
        out = torch.bmm(weights[-1], value[:, :seen]).view(batch, groups, end - start, size, width)
        attended[:, start:end] = out.transpose(1, 2)
    return attended.view(batch, queries, -1), Attended(stacked, key, value, weights)


def attend_backward(gradient: Tensor, kept: Attended, groups: int) -> tuple[Tensor, Tensor, Tensor]:
    """Return the gradients of query, key and value, in the shapes of `attend`.

    Args:
        gradient: Of the output, shape (batch, queries, heads x head_dim), contiguous.
        kept: From `attend`.
        groups: Groups of heads.
    """
    batch, queries, _ = gradient.shape
    folded, seq, width = kept.key.shape
    size = kept.query.shape[1] // queries
    stacked = gradient.view(batch, queries, groups, size * width).transpose(1, 2).reshape(folded, -1, width)
    dquery = torch.empty_like(kept.query)
    dkey, dvalue = torch.zeros_like(kept.key), torch.zeros_like(kept.value)
    start = 0
    for weights in kept.weights:
        end, seen = start + weights.shape[1], weights.shape[2]
        dseen = stacked[:, start:end]
        # Not in one step: a sum into a part of a tensor takes four times as long as the product.
        dvalue[:, :seen] += torch.bmm(weights.transpose(1, 2), dseen)
        dweights = torch.bmm(dseen, kept.value[:, :seen].transpose(1, 2))
        dscores = torch._softmax_backward_data(dweights, weights, -1, weights.dtype)
        dquery[:, start:end] = torch.bmm(dscores, kept.key[:, :seen])
        dkey[:, :seen] += torch.bmm(dscores.transpose(1, 2), kept.query[:, start:end])
        start = end
    return (
        dquery.view(batch, groups, queries, size, width),
        dkey.view(batch, groups, seq, width),
        dvalue.view(batch, groups, seq, width),
    )


class Rotation:
    """Rotates queries and keys by their positions (Su et al. 2021, arXiv:2104.09864), in halves as llama does.

    Args:
        cos: Shape (batch or 1, seq, head_dim); both halves are the same.
        sin: As `cos`.
        scaling: Factor of the queries.
    """

    def __init__(self, cos: Tensor, sin: Tensor, scaling: float) -> None:
        half = cos.shape[-1] // 2
        self._key = (cos[..., :half], sin[..., :half])
        self._query = (cos[..., :half] * scaling, sin[..., :half] * scaling)

    def query(self, states: Tensor, first: int, out: Tensor, *, back: bool = False) -> Tensor:
        """Rotate and scale queries.

        Args:
            states: Shape (batch, groups, queries, heads of a group, head_dim).
            first: Column of the first query.
            out: Gets the result, of the same shape.
            back: Rotate back: the gradient of the input from that of the output.
        """
        cos, sin = (table[:, None, first:, None] for table in self._query)
        return _turn(states, cos, sin, out, back=back)

    def key(self, states: Tensor, out: Tensor, *, back: bool = False) -> Tensor:
        """Rotate keys of shape (batch, groups, seq, head_dim), as `query`."""
        cos, sin = (table[:, None] for table in self._key)
        return _turn(states, cos, sin, out, back=back)


def _turn(states: Tensor, cos: Tensor, sin: Tensor, out: Tensor, *, back: bool) -> Tensor:
    one, two = states.chunk(2, dim=-1)
    to_one, to_two = out.chunk(2, dim=-1)
    sign = 1 if back else -1
    torch.mul(one, cos, out=to_one).addcmul_(two, sin, value=sign)
    torch.mul(two, cos, out=to_two).addcmul_(one, sin, value=-sign)
    return out

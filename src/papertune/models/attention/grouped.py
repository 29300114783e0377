"""Attention for CPUs: heads that share a key and value are computed together, one block of queries after another.

    queries of one block and of all heads of a group, stacked     (heads x block, head_dim)
    times the keys that any of them may see                       (head_dim, keys up to the block's end)

Grouped-query attention (Ainslie et al. 2023, arXiv:2305.13245) thus needs one matrix product instead of repeated keys,
and most of the hidden keys are skipped. This is used for causal attention of several queries without padding, with or
without cached keys; everything else goes to torch's `scaled_dot_product_attention`.

The softmax is written out, with the division after the product with the values, where the numbers are fewer. The
largest score of each query is subtracted only if a sum of powers is near the limits of the numbers otherwise.
"""

import math
from functools import cache
from typing import Any

import torch
from torch import Tensor

_NAME = "papertune_grouped"
# Other models compare the name with "sdpa", and compute something else under any other name.
_MODEL_TYPES = ("llama", "mistral", "qwen2", "qwen3", "chatglm")
_DTYPES = (torch.float32, torch.bfloat16)
# Queries in a block: few enough to skip most of the hidden half, enough for matrix products at full speed.
BLOCK = 96
LOG2_E = math.log2(math.e)
# Limits of a sum of powers: no power that is more than 2^-26 of it is rounded to zero, and values up to 10^8 can be
# multiplied.
_MIN_SUM, _MAX_SUM = 1e-30, 1e30
# Settings that change the scores or the keys.
_SPECIAL = ("softcap", "s_aux", "sliding_window", "position_bias", "cache", "output_attentions")


def use_grouped_attention(model: Any) -> None:
    """Switch a model to grouped attention if it uses torch's attention without changes, else leave it as it is.

    In bfloat16 the scores are rounded before the softmax, as in transformers' "eager" attention; torch's fused kernel
    does not round them.
    """
    from transformers import AttentionInterface
    from transformers.masking_utils import ALL_MASK_ATTENTION_FUNCTIONS

    config = model.config
    if config.model_type not in _MODEL_TYPES or config._attn_implementation != "sdpa" or model.dtype not in _DTYPES:
        return
    AttentionInterface.register(_NAME, grouped_attention)
    # Without its own mask function a new name would get no mask, and padding would be visible.
    ALL_MASK_ATTENTION_FUNCTIONS.register(_NAME, _mask)
    model.set_attn_implementation(_NAME)


def grouped_attention(
    module: Any,
    query: Tensor,
    key: Tensor,
    value: Tensor,
    attention_mask: Tensor | None,
    dropout: float = 0.0,
    scaling: float | None = None,
    is_causal: bool | None = None,
    **more: Any,
) -> tuple[Tensor, None]:
    """Compute attention, with the signature of transformers' attention functions.

    Args:
        module: The attention layer.
        query: Shape (batch, heads, seq, head_dim).
        key: Shape (batch, groups, keys, head_dim); the last `seq` keys belong to the queries.
        value: Shape (batch, groups, keys, value_dim).
        attention_mask: What is visible; None if causality alone decides.
        dropout: Share of attention weights that are dropped.
        scaling: Factor of the scores; None means 1 / sqrt(head_dim).
        is_causal: Whether a query sees no later keys; None means the setting of the layer.
        **more: Further settings of some models.

    Returns:
        The output, shape (batch, seq, heads, value_dim), and None for the weights.
    """
    causal = getattr(module, "is_causal", True) if is_causal is None else is_causal
    special = any(setting is not None and setting is not False for name, setting in more.items() if name in _SPECIAL)
    seq = query.shape[2]
    if attention_mask is not None or not causal or dropout or special or seq == 1:
        from transformers.integrations.sdpa_attention import sdpa_attention_forward

        if attention_mask is None and causal and 1 < seq < key.shape[2]:
            # Without a mask torch would treat the queries as the first tokens of the text.
            keys = key.shape[2]
            attention_mask = torch.ones(seq, keys, dtype=torch.bool, device=query.device).tril(keys - seq)[None, None]
        attended, _ = sdpa_attention_forward(
            module, query, key, value, attention_mask, dropout, scaling, is_causal, **more
        )
        return attended, None
    return _attend(query, key, value, query.shape[3] ** -0.5 if scaling is None else scaling), None


def _attend(query: Tensor, key: Tensor, value: Tensor, scaling: float) -> Tensor:
    batch, heads, seq, head_dim = query.shape
    groups = key.shape[1]
    queries = (query * scaling).view(batch, groups, heads // groups, seq, head_dim)
    return attend(queries.transpose(2, 3).contiguous(), key, value, None).view(batch, seq, heads, -1)


def attend(queries: Tensor, key: Tensor, value: Tensor, mask: Tensor | None) -> Tensor:
    """Compute attention of queries that are stacked by group.

    Args:
        queries: Multiplied by the factor of the scores, contiguous, shape (batch, groups, seq, heads of a group,
            head_dim).
        key: Shape (batch, groups, keys, head_dim); the last `seq` keys belong to the queries.
        value: Shape (batch, groups, keys, value_dim).
        mask: Which key a query sees, bool, shape (batch or 1, 1, seq, keys); None: all that are not later.

    Returns:
        Shape (batch, seq, heads x value_dim).
    """
    attended, sums = _attend_blocks(queries, key, value, mask, subtract_largest=False)
    # Written so that NaN is outside.
    if not (sums.amin().item() >= _MIN_SUM and sums.amax().item() <= _MAX_SUM):
        attended, _ = _attend_blocks(queries, key, value, mask, subtract_largest=True)
    return attended


def _attend_blocks(
    queries: Tensor, key: Tensor, value: Tensor, mask: Tensor | None, *, subtract_largest: bool
) -> tuple[Tensor, Tensor]:
    """Return what `attend` does, and the sum of the powers of each query, float32."""
    batch, groups, seq, group_size, head_dim = queries.shape
    keys = key.shape[2]
    transposed = key.reshape(batch * groups, keys, head_dim).transpose(1, 2)
    values = value.reshape(batch * groups, keys, -1)
    stacked = queries.view(batch * groups, seq * group_size, head_dim)
    attended = queries.new_empty(batch, seq, groups, group_size, values.shape[2])
    sums = queries.new_empty(batch * groups, seq * group_size, 1, dtype=torch.float32)
    for start in range(0, seq, BLOCK):
        size = min(BLOCK, seq - start)
        seen = keys if mask is not None else keys - seq + start + size
        here = slice(start * group_size, (start + size) * group_size)
        scores = torch.bmm(stacked[:, here], transposed[:, :, :seen])
        shaped = scores.view(batch, groups, size, group_size, seen)
        if mask is not None:
            shaped.masked_fill_(~mask[:, :, start : start + size, None], -torch.inf)
        elif size > 1:
            # The last keys are those of the block itself; each is hidden from the queries before it.
            shaped[..., seen - size :] += _hidden(size, scores.dtype)[:, None]
        if subtract_largest:
            scores -= scores.amax(dim=-1, keepdim=True)
        # In float32 PyTorch computes powers of two in a third of the time of those of e.
        scores = scores.exp_() if scores.dtype == torch.bfloat16 else scores.mul_(LOG2_E).exp2_()
        total = scores.sum(dim=-1, keepdim=True, dtype=torch.float32)
        sums[:, here] = total.detach()
        block = torch.bmm(scores, values[:, :seen]).float().div_(total)
        attended[:, start : start + size] = block.view(batch, groups, size, group_size, -1).transpose(1, 2)
    return attended.view(batch, seq, -1), sums


@cache
def _hidden(size: int, dtype: torch.dtype) -> Tensor:
    """Return what is added to the scores of a block, shape (size, size)."""
    return torch.full((size, size), -torch.inf, dtype=dtype).triu_(1)


def _mask(*arguments: Any, **settings: Any) -> Tensor | None:
    """Return torch's mask, or None where causality alone decides, with or without cached keys."""
    from transformers.masking_utils import causal_mask_function, sdpa_mask

    plain = (
        settings.get("mask_function") is causal_mask_function
        and settings.get("attention_mask") is None
        and settings.get("local_size") is None
        and settings.get("allow_is_causal_skip", False)
    )
    mask: Tensor | None = None if plain else sdpa_mask(*arguments, **settings)
    return mask

"""Attention for a CPU: heads that share a key and value are computed together, block of queries by block.

    queries of one block and of all heads of a group, stacked     (heads x block, head_dim)
    times the keys that any of them may see                       (head_dim, keys up to the block's end)

makes one matrix product of what grouped-query attention (Ainslie et al. 2023, arXiv:2305.13245) would repeat the keys
for, and leaves out most of what causality hides. Only causal attention of several queries without padding is computed
so, also behind cached keys; the rest goes to torch's own `scaled_dot_product_attention`.
"""

from typing import Any

import torch
from torch import Tensor

_NAME = "papertune_grouped"
# Others ask for "sdpa" by name, and compute something else under any other.
_MODEL_TYPES = ("llama", "mistral", "qwen2", "qwen3", "chatglm")
_DTYPES = (torch.float32, torch.bfloat16)
# Queries of a block: few enough to leave out most of the hidden half, many enough for products at full speed.
_BLOCK = 64


def use_grouped_attention(model: Any) -> None:
    """Let a model compute its attention so, if it is one of those that do nothing special with torch's.

    In bfloat16 the scores are rounded before the softmax, as in transformers' own "eager" attention; torch's fused
    kernel does not round them.
    """
    from transformers import AttentionInterface
    from transformers.masking_utils import ALL_MASK_ATTENTION_FUNCTIONS

    config = model.config
    if config.model_type not in _MODEL_TYPES or config._attn_implementation != "sdpa" or model.dtype not in _DTYPES:
        return
    AttentionInterface.register(_NAME, grouped_attention)
    # Without a mask function of its own a new name would get no mask at all, and padding would be seen.
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
    """Attend, with the signature that transformers' attention functions have.

    Args:
        module: The attention layer.
        query: Shape (batch, heads, seq, head_dim).
        key: Shape (batch, groups, keys, head_dim); the last `seq` keys belong to the queries.
        value: Shape (batch, groups, keys, value_dim).
        attention_mask: What is seen, where causality does not say it.
        dropout: Share of attention weights that are dropped.
        scaling: Of the scores; None: 1 / sqrt(head_dim).
        is_causal: Whether a query sees no later keys; None: as the layer says.
        **more: Further settings of some models.

    Returns:
        Shape (batch, seq, heads, value_dim), and no weights.
    """
    causal = getattr(module, "is_causal", True) if is_causal is None else is_causal
    special = any(setting is not None and setting is not False for name, setting in more.items() if name in _SPECIAL)
    seq = query.shape[2]
    if attention_mask is not None or not causal or dropout or special or seq == 1:
        from transformers.integrations.sdpa_attention import sdpa_attention_forward

        if attention_mask is None and causal and 1 < seq < key.shape[2]:
            # Without a mask torch would take the queries for the first of the text.
            keys = key.shape[2]
            attention_mask = torch.ones(seq, keys, dtype=torch.bool, device=query.device).tril(keys - seq)[None, None]
        attended, _ = sdpa_attention_forward(
            module, query, key, value, attention_mask, dropout, scaling, is_causal, **more
        )
        return attended, None
    return _attend(query, key, value, query.shape[3] ** -0.5 if scaling is None else scaling), None


# Settings that change the scores or the keys.
_SPECIAL = ("softcap", "s_aux", "sliding_window", "position_bias", "cache", "output_attentions")


def _attend(query: Tensor, key: Tensor, value: Tensor, scaling: float) -> Tensor:
    batch, heads, seq, head_dim = query.shape
    groups, keys = key.shape[1:3]
    each = heads // groups
    queries = (query * scaling).reshape(batch * groups, each, seq, head_dim)
    turned = key.reshape(batch * groups, keys, head_dim).transpose(1, 2)
    values = value.reshape(batch * groups, keys, -1)
    hidden = torch.full((_BLOCK, _BLOCK), -torch.inf, dtype=query.dtype, device=query.device).triu_(1)
    blocks: list[Tensor] = []
    for start in range(0, seq, _BLOCK):
        block = queries[:, :, start : start + _BLOCK]
        size = block.shape[2]
        seen = keys - seq + start + size
        scores = torch.bmm(block.reshape(batch * groups, each * size, head_dim), turned[:, :, :seen])
        # The last keys are those of the block itself; of each the earlier queries see nothing.
        scores.view(-1, each, size, seen)[..., seen - size :] += hidden[:size, :size]
        blocks.append(torch.bmm(scores.softmax(dim=-1), values[:, :seen]).view(batch, groups, each, size, -1))
    attended = torch.cat(blocks, dim=3)  # (batch, groups, each, seq, value_dim)
    return attended.permute(0, 3, 1, 2, 4).reshape(batch, seq, heads, -1)


def _mask(*arguments: Any, **settings: Any) -> Tensor | None:
    """Make torch's mask, or none where causality says it all, also behind cached keys."""
    from transformers.masking_utils import causal_mask_function, sdpa_mask

    plain = (
        settings.get("mask_function") is causal_mask_function
        and settings.get("attention_mask") is None
        and settings.get("local_size") is None
        and settings.get("allow_is_causal_skip", False)
    )
    mask: Tensor | None = None if plain else sdpa_mask(*arguments, **settings)
    return mask

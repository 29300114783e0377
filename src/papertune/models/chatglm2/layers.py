"""The parts of a ChatGLM2 block. Their names are those of the published weights."""

from typing import Any

import torch
import torch.nn.functional as F
from torch import Tensor, nn
from transformers.modeling_layers import GradientCheckpointingLayer
from transformers.modeling_utils import ALL_ATTENTION_FUNCTIONS

from papertune.models.chatglm2.configuration import ChatGLMConfig
from papertune.models.chatglm2.rotary import RotaryTable, rotate


class ChatGLMRMSNorm(nn.Module):
    """Divides by the root mean square and multiplies by a weight, both in float32; rounds only the result."""

    def __init__(self, size: int, epsilon: float) -> None:
        super().__init__()
        self.weight = nn.Parameter(torch.ones(size))
        self.epsilon = epsilon

    def forward(self, states: Tensor) -> Tensor:
        """Normalize the last axis, and keep the dtype."""
        exact = states.float()
        scale = torch.rsqrt(exact.square().mean(dim=-1, keepdim=True) + self.epsilon)
        return (exact * scale * self.weight.float()).to(states.dtype)


class ChatGLMAttention(nn.Module):
    """Causal attention whose query heads share a few key-value heads (Ainslie et al. 2023, arXiv:2305.13245).

    Consecutive query heads share one. The rows of the single projection are

        with multi_query_attention   all query heads | all key heads | all value heads
        without                      query, key, value of head 0 | of head 1 | ...
    """

    def __init__(self, config: ChatGLMConfig, layer_idx: int) -> None:
        super().__init__()
        # transformers' attention functions expect these names.
        self.config = config
        self.layer_idx = layer_idx
        self.is_causal = True
        self.head_dim: int = config.kv_channels
        self.num_key_value_groups: int = config.num_attention_heads // config.num_key_value_heads
        self.scaling = self.head_dim**-0.5
        self.attention_dropout: float = config.attention_dropout
        query_size = config.num_attention_heads * self.head_dim
        self._sizes = [query_size, *[config.num_key_value_heads * self.head_dim] * 2]
        bias = config.add_bias_linear or config.add_qkv_bias
        self.query_key_value = nn.Linear(config.hidden_size, sum(self._sizes), bias=bias)
        self.dense = nn.Linear(query_size, config.hidden_size, bias=config.add_bias_linear)

    def forward(
        self,
        hidden_states: Tensor,
        attention_mask: Any = None,
        position_embeddings: RotaryTable | None = None,
        past_key_values: Any = None,
        **options: Any,
    ) -> tuple[Tensor, Tensor | None]:
        """Let each token see itself and those before it.

        Args:
            hidden_states: Shape (batch, seq, hidden).
            attention_mask: In the form that the attention function expects; None if causality alone decides.
            position_embeddings: Rotary table of the tokens.
            past_key_values: Cache with shape (batch, groups, cached, head_dim) in each layer; new keys are rotated
                before they are added.
            options: For the attention function.

        Returns:
            What to add to the hidden states, shape (batch, seq, hidden), and the attention weights, shape
            (batch, heads, seq, cached + seq), if the function returns them.
        """
        assert position_embeddings is not None
        queries, keys, values = self._split(self.query_key_value(hidden_states))
        queries, keys = rotate(queries, position_embeddings), rotate(keys, position_embeddings)
        if past_key_values is not None:
            keys, values = past_key_values.update(keys, values, self.layer_idx)
        attend = ALL_ATTENTION_FUNCTIONS.get_interface(self.config._attn_implementation, eager_attention)
        seen, weights = attend(
            self,
            queries,
            keys,
            values,
            attention_mask,
            dropout=self.attention_dropout if self.training else 0.0,
            scaling=self.scaling,
            **options,
        )
        return self.dense(seen.flatten(2)), weights

    def _split(self, mixed: Tensor) -> list[Tensor]:
        """Return queries, keys and values, shape (batch, heads or groups, seq, head_dim)."""
        if self.config.multi_query_attention:
            parts = [torch.unflatten(part, -1, (-1, self.head_dim)) for part in torch.split(mixed, self._sizes, dim=-1)]
        else:
            parts = list(torch.unflatten(mixed, -1, (-1, 3, self.head_dim)).unbind(dim=-2))
        return [part.transpose(1, 2) for part in parts]


def eager_attention(
    module: Any,
    queries: Tensor,
    keys: Tensor,
    values: Tensor,
    attention_mask: Tensor | None,
    scaling: float,
    dropout: float = 0.0,
    **_: Any,
) -> tuple[Tensor, Tensor]:
    """Compute attention step by step, with the softmax in float32, as one of transformers' attention functions.

    Args:
        module: The attention layer.
        queries: Shape (batch, heads, seq, head_dim).
        keys: Shape (batch, groups, cached + seq, head_dim).
        values: Same shape as `keys`.
        attention_mask: Added to the scores, shape (batch or 1, 1, seq, cached + seq).
        scaling: Factor of the scores.
        dropout: Dropout rate of the weights.

    Returns:
        The output, shape (batch, seq, heads, head_dim), and the weights, shape (batch, heads, seq, cached + seq).
    """
    shared = module.num_key_value_groups
    keys, values = (part.repeat_interleave(shared, dim=1) for part in (keys, values))
    # In float16 a masked score could become -inf. A padding token, whose scores are all masked, would then become NaN,
    # and its value makes every other token NaN, even with a weight of 0.
    scores = (queries @ keys.transpose(2, 3) * scaling).float()
    if attention_mask is not None:
        scores = scores + attention_mask
    weights = F.softmax(scores, dim=-1).to(queries.dtype)
    weights = F.dropout(weights, dropout, training=module.training)
    return (weights @ values).transpose(1, 2).contiguous(), weights


class ChatGLMMLP(nn.Module):
    """SwiGLU (Shazeer 2020, arXiv:2002.05202); one projection computes the gate and the gated values."""

    def __init__(self, config: ChatGLMConfig) -> None:
        super().__init__()
        bias = config.add_bias_linear
        self.dense_h_to_4h = nn.Linear(config.hidden_size, 2 * config.ffn_hidden_size, bias=bias)
        self.dense_4h_to_h = nn.Linear(config.ffn_hidden_size, config.hidden_size, bias=bias)

    def forward(self, hidden_states: Tensor) -> Tensor:
        """Return what to add to the hidden states, shape (batch, seq, hidden)."""
        gate, gated = self.dense_h_to_4h(hidden_states).chunk(2, dim=-1)
        down: Tensor = self.dense_4h_to_h(F.silu(gate) * gated)
        return down


class GLMBlock(GradientCheckpointingLayer):  # type: ignore[misc]
    """One layer: attention and MLP, each after a norm."""

    def __init__(self, config: ChatGLMConfig, layer_idx: int) -> None:
        super().__init__()
        self._adds_to_normed: bool = config.apply_residual_connection_post_layernorm
        self._dropout: float = config.hidden_dropout
        self.input_layernorm = ChatGLMRMSNorm(config.hidden_size, config.layernorm_epsilon)
        self.self_attention = ChatGLMAttention(config, layer_idx)
        self.post_attention_layernorm = ChatGLMRMSNorm(config.hidden_size, config.layernorm_epsilon)
        self.mlp = ChatGLMMLP(config)

    def forward(self, hidden_states: Tensor, **options: Any) -> Tensor:
        """Return the hidden states after this layer, shape (batch, seq, hidden).

        Args:
            hidden_states: The hidden states before it.
            options: For the attention.
        """
        normed = self.input_layernorm(hidden_states)
        added, _ = self.self_attention(normed, **options)
        hidden_states = self._add(normed if self._adds_to_normed else hidden_states, added)
        normed = self.post_attention_layernorm(hidden_states)
        return self._add(normed if self._adds_to_normed else hidden_states, self.mlp(normed))

    def _add(self, before: Tensor, added: Tensor) -> Tensor:
        return before + F.dropout(added, self._dropout, training=self.training)

"""Attention masks from explicit visibility, in the form that a model expects."""

from typing import Any

import torch
from torch import Tensor


class AttentionMasks:
    """Builds 4-D masks for one model.

    Args:
        model: A causal language model, or a wrapper with its `config`.

    Attributes:
        window: How many tokens back sliding-window layers see; None if all layers see all tokens.
    """

    def __init__(self, model: Any) -> None:
        self._float_mask = model.config._attn_implementation == "eager"
        config = model.config.get_text_config()
        layer_types = getattr(config, "layer_types", None)
        self._mixes_layers = layer_types is not None
        # As in Gemma and Mistral.
        has_sliding_layers = layer_types is None or "sliding_attention" in layer_types
        self.window: int | None = getattr(config, "sliding_window", None) if has_sliding_layers else None

    def make(self, visible: Tensor, positions: Tensor, key_positions: Tensor) -> Any:
        """Build what a model expects as `attention_mask`: a mask, or a mask for each kind of layer.

        Args:
            visible: Whether a token sees a key, bool, shape (batch, seq, keys).
            positions: Position of each token in its text, including virtual tokens, int64, shape (batch, seq).
            key_positions: Position of each key, int64, shape (batch, keys).
        """
        mask = self._convert(visible[:, None])
        if not self.window:
            return mask
        near = positions[:, :, None] - key_positions[:, None, :] < self.window
        sliding = self._convert((visible & near)[:, None])
        return {"full_attention": mask, "sliding_attention": sliding} if self._mixes_layers else sliding

    def _convert(self, visible: Tensor) -> Tensor:
        if not self._float_mask:
            return visible
        zeros = torch.zeros(visible.shape, device=visible.device)
        return zeros.masked_fill_(~visible, torch.finfo(torch.float16).min)

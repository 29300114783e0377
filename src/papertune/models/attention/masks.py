"""Masks of explicit visibility, in the form that a model's attention takes."""

from typing import Any

import torch
from torch import Tensor


class AttentionMasks:
    """Makes 4-D masks for one model.

    Args:
        model: A causal language model, or a wrapper that shows its configuration.

    Attributes:
        window: How many tokens back the layers see that do not see all; None where all layers see all.
    """

    def __init__(self, model: Any) -> None:
        self._float_mask = model.config._attn_implementation == "eager"
        config = model.config.get_text_config()
        layer_types = getattr(config, "layer_types", None)
        self._mixes_layers = layer_types is not None
        # Layers that only see so many tokens back (Gemma, Mistral).
        slides = layer_types is None or "sliding_attention" in layer_types
        self.window: int | None = getattr(config, "sliding_window", None) if slides else None

    def make(self, visible: Tensor, places: Tensor, key_places: Tensor) -> Any:
        """Make the mask, or the masks by kind of layer, that a model's `attention_mask` takes.

        Args:
            visible: Which keys each token sees, bool, shape (batch, seq, keys).
            places: Place of each token in its text, virtual tokens counted, int64, shape (batch, seq).
            key_places: The same of each key, shape (batch, keys).
        """
        mask = self._form(visible[:, None])
        if not self.window:
            return mask
        near = places[:, :, None] - key_places[:, None, :] < self.window
        sliding = self._form((visible & near)[:, None])
        return {"full_attention": mask, "sliding_attention": sliding} if self._mixes_layers else sliding

    def _form(self, visible: Tensor) -> Tensor:
        if not self._float_mask:
            return visible
        zeros = torch.zeros(visible.shape, device=visible.device)
        return zeros.masked_fill_(~visible, torch.finfo(torch.float16).min)

"""A prefix that begins as real text: as the keys and values that the base model itself computes for it."""

from collections.abc import Sequence
from typing import Any

import torch
from peft import PrefixTuningConfig
from peft.tuners.prefix_tuning import PrefixEncoder
from torch import Tensor
from transformers import DynamicCache

# A change of 1 in what is learned changes keys and values by this many times their mean size. Gradients are then above
# `max_grad_norm` in most steps, first and last, as LoRA's are, and its learning rate fits. Were they clipped in the
# first steps only, or not at all, Adam would divide all later ones by these (docs/lab/log.md).
CHANGE_IN_SIZES = 50


class TextPrefixEncoder(PrefixEncoder):  # type: ignore[misc]
    """peft's prompt encoder, whose result is added to the numbers of a text.

    Before training the encoder adds zero, with a projection too: its last layer begins at zero. What it learns is in
    units of the text's own numbers, since keys can be thirty times as large as values, and values of one layer thirty
    times as large as those of another; one learning rate then fits all.

    Args:
        config: peft's configuration with all numbers filled in.
        start: The text's keys and values as peft orders them, float32, shape (virtual, layers * 2 * heads * head_dim).
    """

    start: Tensor
    unit: Tensor

    def __init__(self, config: PrefixTuningConfig, start: Tensor) -> None:
        super().__init__(config)
        last = self.transform[-1] if config.prefix_projection else self.embedding
        for parameter in last.parameters():
            torch.nn.init.zeros_(parameter)
        # The size of a layer's keys or values; a saved encoder has it too, since a resumed training needs the same.
        parts = start.view(len(start), config.num_layers * 2, -1)  # (virtual, layers * 2, heads * head_dim)
        size = CHANGE_IN_SIZES * parts.square().mean(dim=(0, 2), keepdim=True).sqrt()
        if config.prefix_projection:
            # A step changes all weights of the last layer by the rate, so its sums change by that many times as much.
            size = size / last.in_features
        self.register_buffer("start", start)
        self.register_buffer("unit", size.expand_as(parts[:1]).flatten(1).contiguous())

    def forward(self, prefix: Tensor) -> Tensor:
        """Return the numbers of virtual tokens.

        Args:
            prefix: Indices of the tokens, int64, shape (..., virtual).

        Returns:
            float32, shape (..., virtual, layers * 2 * heads * head_dim).
        """
        learned: Tensor = super().forward(prefix)
        return self.start[prefix] + self.unit * learned


@torch.no_grad()
def text_prefix(model: Any, ids: Sequence[int], length: int, first_position: int) -> Tensor:
    """Compute the keys and values of a text, repeated or cut to the length of a prefix.

    The text stands directly before the text that follows a prefix. Rotary positions are relative, so where that is
    counted from 0, this one is counted from -length.

    Args:
        model: The base model, in evaluation or training mode; its dropout, if any, is off.
        ids: Token ids of the text, at least one.
        length: Number of virtual tokens.
        first_position: Position of the first token after the prefix.

    Returns:
        float32, shape (length, layers * 2 * heads * head_dim).
    """
    repeated = [ids[place % len(ids)] for place in range(length)]
    positions = torch.arange(first_position - length, first_position, device=model.device)
    cache = DynamicCache()  # without a window: layers that have one must cache all tokens too
    was_training = model.training
    model.eval()
    model(
        input_ids=torch.tensor([repeated], device=model.device),
        position_ids=positions[None],
        past_key_values=cache,
        use_cache=True,
    )
    model.train(was_training)
    pairs = torch.stack([part[0].float() for layer in cache.layers for part in (layer.keys, layer.values)])
    return pairs.permute(2, 0, 1, 3).flatten(1)  # from (layers * 2, heads, virtual, head_dim)

"""From examples to token ids, targets and batches."""

from typing import TYPE_CHECKING

from papertune.startup.late import late_names

if TYPE_CHECKING:
    from papertune.prompts.batches import (
        IGNORE_INDEX,
        Batches,
        LengthBatchSampler,
        pad_right,
        shuffled_length_batches,
        sorted_token_batches,
    )
    from papertune.prompts.encoder import EncodedPrompt, PromptEncoder, shared_prefix

# Loaded when first used: batches import torch, which encoding does not need.
_LATE = {
    "Batches": "papertune.prompts.batches",
    "EncodedPrompt": "papertune.prompts.encoder",
    "IGNORE_INDEX": "papertune.prompts.batches",
    "LengthBatchSampler": "papertune.prompts.batches",
    "PromptEncoder": "papertune.prompts.encoder",
    "pad_right": "papertune.prompts.batches",
    "shared_prefix": "papertune.prompts.encoder",
    "shuffled_length_batches": "papertune.prompts.batches",
    "sorted_token_batches": "papertune.prompts.batches",
}

__all__ = [
    "IGNORE_INDEX",
    "Batches",
    "EncodedPrompt",
    "LengthBatchSampler",
    "PromptEncoder",
    "pad_right",
    "shared_prefix",
    "shuffled_length_batches",
    "sorted_token_batches",
]

__getattr__ = late_names(__name__, _LATE)

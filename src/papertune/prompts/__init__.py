"""From examples to token ids, targets and batches."""

from papertune.prompts.batches import (
    IGNORE_INDEX,
    Batches,
    LengthBatchSampler,
    pad_right,
    shuffled_length_batches,
    sorted_token_batches,
)
from papertune.prompts.encoder import EncodedPrompt, PromptEncoder, shared_prefix

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

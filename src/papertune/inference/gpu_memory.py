"""The number of tokens that may go through a model on a GPU together, so that they fit beside its weights.

It is estimated from the model's configuration, conservatively for common decoders. A batch that still does not fit is
answered in halves, see `Predictor`.

The estimate uses the total memory of the GPU and the memory of this process, not the free memory: other programs change
that, and a resumed prediction must split its batches as before, because low-precision results depend slightly on which
rows share a pass.
"""

import sys
from typing import Any

import torch

# Limits; numbers between them are powers of two, so that small differences in memory do not matter.
MAX_TOKENS = 32768
MIN_TOKENS = 1024

# For CUDA's context, memory that the allocator cannot use, and unpacked weights.
_RESERVE_BYTES = 2**30
# Positions with logits at once, as in a beam search, for each token of a prompt of at least 128 tokens.
_LOGITS_PER_TOKEN = 16 / 128


def tokens_on_gpu(model: Any) -> int | None:
    """Return how many padded tokens may go through a model together; None if it is not on a CUDA device.

    Args:
        model: A transformers model, already in memory.
    """
    parameter = next(model.parameters())
    if parameter.device.type != "cuda":
        return None
    total = torch.cuda.get_device_properties(parameter.device).total_memory
    # Processes with sharded weights run each pass together, so the result must not depend on the memory of one.
    used = total // 2 if is_sharded(model) else torch.cuda.memory_allocated(parameter.device)
    return tokens_that_fit(total - used, model.config, torch.finfo(model.dtype).bits // 8)


def is_sharded(model: Any) -> bool:
    """Whether the weights are divided among processes, as by FSDP and DeepSpeed."""
    # Importing it takes a second; where nothing else has, no weights are divided by it.
    divided = getattr(sys.modules.get("torch.distributed.tensor"), "DTensor", ())
    # FSDP version 1 and DeepSpeed mark divided weights with these attributes.
    return any(
        isinstance(each, divided) or hasattr(each, "_fsdp_flattened") or hasattr(each, "ds_id")
        for each in model.parameters()
    )


def tokens_that_fit(free_bytes: int, config: Any, item_bytes: int) -> int:
    """Return how many padded tokens fit into memory.

    Args:
        free_bytes: Memory beside the weights.
        config: A transformers configuration.
        item_bytes: Bytes of a number in a hidden state.

    Returns:
        A power of two from `MIN_TOKENS` to `MAX_TOKENS`.
    """
    fit = int((free_bytes - _RESERVE_BYTES) / bytes_per_token(config, item_bytes))
    tokens = MAX_TOKENS
    while tokens > max(fit, MIN_TOKENS):
        tokens //= 2
    return tokens


def bytes_per_token(config: Any, item_bytes: int) -> float:
    """Return the memory that a token of a prompt needs.

    It is the peak of one layer, keys and values of all layers twice (each question about a document continues a copy),
    and logits.
    """
    text = config.get_text_config()
    hidden, heads = text.hidden_size, text.num_attention_heads
    inner = getattr(text, "intermediate_size", None) or 4 * hidden
    key_heads = getattr(text, "num_key_value_heads", None) or heads
    head_dim = getattr(text, "head_dim", None) or hidden // heads
    # Gate, up, their product and the activation; the residual, queries, keys, values and the attention output; in
    # float32 the intermediate results of a norm.
    layer = item_bytes * (4 * inner + 8 * hidden) + 4 * 2 * hidden
    cache = 2 * 2 * text.num_hidden_layers * key_heads * head_dim * item_bytes
    # In the model's precision, in float32, and their logarithms.
    logits = _LOGITS_PER_TOKEN * text.vocab_size * (item_bytes + 4 + 4)
    return float(layer + cache + logits)

"""How many tokens may go through a model on a GPU together, so that they fit beside its weights.

It is an estimate from the model's configuration, on the safe side for the usual decoders. What does not fit all the
same is answered in halves, see `Predictor`.

It looks at the card as a whole and at what this process holds, not at what is free: what other programs hold changes,
and a prediction that goes on must cut its batches as the one before, since results in few bits depend a little on which
rows share a pass.
"""

from typing import Any

import torch

# Bounds; between them powers of two, so that a little more or less memory makes no difference.
MOST_TOKENS = 32768
LEAST_TOKENS = 1024

# For CUDA's context, what the allocator cannot use, and weights that are unpacked.
_RESERVE_BYTES = 2**30
# Of a prompt's 128 tokens at least: positions at which logits are wanted at once, as in a beam search.
_LOGITS_A_TOKEN = 16 / 128


def tokens_on_gpu(model: Any) -> int | None:
    """Give how many padded tokens may go through a model together; None where it is not on a CUDA device.

    Args:
        model: A transformers model. What it takes is in memory already.
    """
    parameter = next(model.parameters())
    if parameter.device.type != "cuda":
        return None
    whole = torch.cuda.get_device_properties(parameter.device).total_memory
    # Processes that share the weights out go through each pass together, so they must not look at what each one holds.
    held = whole // 2 if is_sharded(model) else torch.cuda.memory_allocated(parameter.device)
    return tokens_in(whole - held, model.config, torch.finfo(model.dtype).bits // 8)


def is_sharded(model: Any) -> bool:
    """Tell whether the weights are divided among processes, as FSDP and DeepSpeed do it."""
    from torch.distributed.tensor import DTensor

    # FSDP's first version and DeepSpeed mark the weights that they have divided.
    return any(
        isinstance(each, DTensor) or hasattr(each, "_fsdp_flattened") or hasattr(each, "ds_id")
        for each in model.parameters()
    )


def tokens_in(room: int, config: Any, item_bytes: int) -> int:
    """Give how many padded tokens fit.

    Args:
        room: Memory beside the weights, in bytes.
        config: The model's configuration, a transformers one.
        item_bytes: Of a number in a hidden state.

    Returns:
        A power of two from `LEAST_TOKENS` to `MOST_TOKENS`.
    """
    fit = int((room - _RESERVE_BYTES) / bytes_a_token(config, item_bytes))
    tokens = MOST_TOKENS
    while tokens > max(fit, LEAST_TOKENS):
        tokens //= 2
    return tokens


def bytes_a_token(config: Any, item_bytes: int) -> float:
    """Give how much memory a token takes while its prompt is answered.

    That is the widest place of one layer, keys and values of all layers twice (questions that share a document each
    continue a copy), and logits.
    """
    text = config.get_text_config()
    hidden, heads = text.hidden_size, text.num_attention_heads
    inner = getattr(text, "intermediate_size", None) or 4 * hidden
    key_heads = getattr(text, "num_key_value_heads", None) or heads
    head_dim = getattr(text, "head_dim", None) or hidden // heads
    # Gate, up, their product and the activation; the residual, queries, keys, values and what is made of them; in
    # float32 what a norm computes.
    layer = item_bytes * (4 * inner + 8 * hidden) + 4 * 2 * hidden
    cache = 2 * 2 * text.num_hidden_layers * key_heads * head_dim * item_bytes
    # As they come, in float32, and their logarithms.
    logits = _LOGITS_A_TOKEN * text.vocab_size * (item_bytes + 4 + 4)
    return float(layer + cache + logits)

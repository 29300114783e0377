"""Logits at chosen positions only.

A vocabulary of 49k to 65k makes the output layer and its float32 softmax a fifth or more of the work and most of the
memory, and only answers need it. The selection happens in front of the output layer, inside the model's own forward
pass: models that scale or cap their logits afterwards stay right, and wrappers around the model (DDP, FSDP) see one
ordinary call.
"""

from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any

from torch import Tensor, nn

from papertune.errors import ModelError


@contextmanager
def answer_positions(model: Any, rows: Tensor, columns: Tensor) -> Iterator[None]:
    """Let the output layer see only some hidden states while this is open.

    The model's `logits` then have shape (positions, vocab).

    Args:
        model: A causal language model, wrapped or not.
        rows: Row in the batch of each position, int64, shape (positions,).
        columns: Place in the sequence of each position, int64, shape (positions,).
    """

    def select(_: nn.Module, arguments: tuple[Tensor, ...]) -> tuple[Tensor, ...]:
        hidden = arguments[0]  # (batch, seq, hidden)
        return (hidden[rows, columns], *arguments[1:])

    handle = output_layer(model).register_forward_pre_hook(select)
    try:
        yield
    finally:
        handle.remove()


def output_layer(model: Any) -> nn.Module:
    """Give the layer that makes logits of hidden states.

    Raises:
        ModelError: If the model has none that transformers knows.
    """
    inner = getattr(model, "module", model)
    layer = inner.get_output_embeddings()
    if layer is None:
        raise ModelError(f"{type(inner).__name__} has no output layer that transformers can name.")
    return layer  # type: ignore[no-any-return]

"""Logits at selected positions only.

With a vocabulary of 49k to 65k tokens the output layer and its float32 softmax are a fifth or more of the work and most
of the memory, but only answers need them. The selection happens before the output layer, inside the model's own forward
pass: models that scale or cap their logits afterwards stay correct, and wrappers of the model (DDP, FSDP) see one
ordinary call.
"""

from abc import ABC, abstractmethod
from collections.abc import Iterator
from contextlib import AbstractContextManager, contextmanager
from typing import Any

from torch import Tensor, nn

from papertune.errors import ModelError


class SelectsAnswers(ABC):
    """A model that selects positions and tokens itself."""

    @abstractmethod
    def answering(self, rows: Tensor, columns: Tensor, tokens: Tensor | None) -> AbstractContextManager[None]:
        """Compute some logits only, inside this context and in this thread; the arguments of `answer_positions`."""


@contextmanager
def answer_positions(model: Any, rows: Tensor, columns: Tensor, tokens: Tensor | None = None) -> Iterator[None]:
    """Compute logits at some positions only, inside this context.

    The model's `logits` then have shape (positions, vocab), or (positions, tokens).

    Args:
        model: A causal language model, wrapped or not.
        rows: Batch index of each position, int64, shape (positions,).
        columns: Sequence index of each position, int64, shape (positions,).
        tokens: Token ids whose logits are kept, int64; None: all.
    """
    if isinstance(model, SelectsAnswers):
        with model.answering(rows, columns, tokens):
            yield
        return

    def select(_: nn.Module, arguments: tuple[Tensor, ...]) -> tuple[Tensor, ...]:
        hidden = arguments[0]  # (batch, seq, hidden)
        return (hidden[rows, columns], *arguments[1:])

    def keep(_: nn.Module, __: Any, logits: Tensor) -> Tensor:
        return logits if tokens is None else logits[..., tokens]

    layer = output_layer(model)
    handles = [layer.register_forward_pre_hook(select), layer.register_forward_hook(keep)]
    try:
        yield
    finally:
        for handle in handles:
            handle.remove()


def output_layer(model: Any) -> nn.Module:
    """Return the layer that turns hidden states into logits.

    Raises:
        ModelError: If transformers knows of no such layer in the model.
    """
    inner = getattr(model, "module", model)
    layer = inner.get_output_embeddings()
    if layer is None:
        raise ModelError(f"{type(inner).__name__} has no output layer that transformers can name.")
    return layer  # type: ignore[no-any-return]

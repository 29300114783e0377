"""States of frozen lower layers, computed once for each row (Saad-Falcon et al. 2022, arXiv:2207.04993).

Where only the last layers are trained, what the first ones make of a row is the same in every epoch. It is computed
when the row is first learned, and kept. Later epochs take the time of the trained layers alone.

A row goes through the lower layers by itself, so its states do not depend on the rows of its batch, and a resumed
training computes the same ones.
"""

from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from threading import Lock
from typing import Any

import torch
from torch import Tensor, nn

from papertune.errors import ModelError
from papertune.methods import PrefixModel
from papertune.methods.layers import decoder_layers
from papertune.models import AttentionMasks
from papertune.training.answers.batch import TrainingRow, collate, tree_inputs
from papertune.training.layers.decoder import Decoder

# Memory for the states; those of further rows are computed each time. 2 GiB hold 6,000 papers of 300 tokens with 576
# numbers each.
MAX_BYTES = 2 * 2**30


class _Reached(Exception):
    """The first trained layer has been reached."""

    def __init__(self, states: Tensor) -> None:
        self.states = states


class LowerStates:
    """The states of rows before the first trained layer.

    Args:
        model: The model, not wrapped.
        rows: The training rows.
        layers: Its decoder layers.
        first: Number of the first layer with trainable parameters, at least 1.
    """

    def __init__(self, model: Any, rows: Sequence[TrainingRow], layers: Sequence[nn.Module], first: int) -> None:
        self._model = model
        self._rows = rows
        self._layers = layers
        self._first = first
        self._free_bytes = MAX_BYTES
        self._kept: dict[int, Tensor] = {}
        # Runs the lower layers in place of the model, with the arguments of `Decoder.states_below`.
        self.decoder: Decoder | None = None
        self._masks = AttentionMasks(model)
        self._lock = Lock()  # parts of a batch may run side by side

    @classmethod
    def of(cls, model: Any, rows: Sequence[TrainingRow]) -> "LowerStates | None":
        """Return the states for a model in training; None if its first layer, or what is before it, is trained."""
        if isinstance(model, PrefixModel):
            return None
        try:
            _, layers = decoder_layers(model.get_base_model() if hasattr(model, "peft_config") else model)
        except ModelError:
            return None
        trained = [number for number, layer in enumerate(layers) if _is_trained(layer)]
        within = sum(_count_trained(layers[number]) for number in trained)
        if not trained or trained[0] == 0 or within != _count_trained(model):
            return None
        return cls(model, rows, list(layers), trained[0])

    @contextmanager
    def given(self, numbers: Tensor, width: int) -> Iterator[None]:
        """Take the states of some rows from memory instead of running the lower layers, inside this context.

        Args:
            numbers: The rows of a batch, int64, shape (batch,).
            width: Tokens of a row, padding included.
        """
        padded = self.padded(numbers, width)
        with _forwards({layer: lambda *_, **__: padded for layer in self._layers[: self._first]}):
            yield

    def padded(self, numbers: Tensor, width: int) -> Tensor:
        """Return the states of some rows, shape (batch, width, hidden); those of padding are zero.

        Args:
            numbers: As in `given`.
            width: As in `given`.
        """
        rows = [self._states(number) for number in numbers.tolist()]
        padded = rows[0].new_zeros(len(rows), width, rows[0].shape[-1])
        for states, row in zip(padded, rows, strict=True):
            states[: len(row)] = row
        return padded.to(numbers.device)

    def _states(self, number: int) -> Tensor:
        """Return the states of a row, shape (seq, hidden)."""
        if number in self._kept:
            return self._kept[number]
        states = self._compute(self._rows[number]).cpu()
        size = states.numel() * states.element_size()
        with self._lock:
            if number not in self._kept and size <= self._free_bytes:
                self._free_bytes -= size
                self._kept[number] = states
        return states

    @torch.no_grad()
    def _compute(self, row: TrainingRow) -> Tensor:
        device = next(self._model.parameters()).device
        batch = {name: tensor.to(device) for name, tensor in collate([row], pad_id=0).items()}
        if self.decoder is not None:
            ids = batch["input_ids"]
            positions = batch.get("position_ids", torch.arange(ids.shape[1])[None])
            return self.decoder.states_below(ids, positions, batch.get("visible"))[0]

        def stop(states: Tensor, *_: Any, **__: Any) -> Tensor:
            raise _Reached(states)

        training = self._model.training
        self._model.eval()
        try:
            with _forwards({self._layers[self._first]: stop}):
                self._model(input_ids=batch["input_ids"], use_cache=False, **tree_inputs(self._masks, batch))
        except _Reached as reached:
            return reached.states[0]
        finally:
            self._model.train(training)
        raise AssertionError("a model has to run its layers in order")


@contextmanager
def _forwards(replaced: Mapping[nn.Module, Callable[..., Tensor]]) -> Iterator[None]:
    """Replace the forward methods of some layers, inside this context."""
    own = {layer: layer.__dict__["forward"] for layer in replaced if "forward" in layer.__dict__}
    for layer, forward in replaced.items():
        layer.forward = forward
    try:
        yield
    finally:
        for layer in replaced:
            del layer.forward
        for layer, forward in own.items():
            layer.forward = forward


def _is_trained(module: nn.Module) -> bool:
    return any(parameter.requires_grad for parameter in module.parameters())


def _count_trained(module: nn.Module) -> int:
    return sum(1 for parameter in module.parameters() if parameter.requires_grad)

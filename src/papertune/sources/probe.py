"""A probe of the base model: what its layers hold after reading a document.

The states of some layers, averaged over the tokens of the document, are the features of a logistic regression; no
weight of the model is trained (Alain and Bengio 2016, arXiv:1610.01644; with few labels Buckmann and Hill 2024,
arXiv:2408.03414). The state of each token is divided by its root mean square first, as the model's own last norm does;
otherwise a few tokens with huge states, such as the first one, would decide. The document passes only the layers up to
the last one that is read.
"""

import json
from collections.abc import Iterator, Sequence
from contextlib import contextmanager, suppress
from pathlib import Path
from typing import Any, ClassVar, Self

import numpy as np
from numpy.typing import NDArray

from papertune.errors import RunError
from papertune.events import SILENT, Listener
from papertune.files import atomic_writer, write_atomically
from papertune.methods.layers import decoder_layers
from papertune.prompts import PromptEncoder, pad_right
from papertune.prompts.examples import Prompt
from papertune.sources.fitting.kept_rows import KeptRows
from papertune.sources.source import DAMAGED, Source, Surroundings

# Shares of the layers after which states are read: the middle ones hold the topic of a text, the last its next word.
_DEPTHS = (1 / 3, 1 / 2, 2 / 3)
# Documents that go through the model together.
_ROWS = 8


class Probe(Source):
    """States of the base model.

    Attributes:
        layers: Numbers of the layers after which states are read, ascending.
        mean: Mean of each element over the training documents, float32, shape (features,).
        scale: Its standard deviation, float32, shape (features,).
    """

    name: ClassVar[str] = "probe"
    cost: ClassVar[int] = 2
    strengths: ClassVar[tuple[float, ...]] = (1e-4, 1e-3, 1e-2)

    def __init__(self, surroundings: Surroundings) -> None:
        self._surroundings = surroundings
        self._loaded: tuple[Any, PromptEncoder] | None = None
        self.layers: tuple[int, ...] = ()
        self.mean = self.scale = np.zeros(0, dtype=np.float32)

    @classmethod
    def fit(cls, documents: Sequence[str], surroundings: Surroundings, listener: Listener = SILENT) -> tuple[Self, Any]:
        """Read the training documents; a resumed training goes on where it was."""
        source = cls(surroundings)
        model, _ = source._model()
        _, layers = decoder_layers(model)
        source.layers = tuple(sorted({max(round(depth * len(layers)), 1) - 1 for depth in _DEPTHS}))
        # Similar lengths together, so that little is padded.
        order = np.argsort([len(document) for document in documents], kind="stable")
        kept = KeptRows.of(surroundings.scratch, "probe", len(source.layers) * model.config.hidden_size)
        states = np.zeros((len(documents), kept.dim), dtype=np.float32)
        states[order] = kept.complete([documents[place] for place in order], source._states, listener)
        source.mean, source.scale = states.mean(axis=0), states.std(axis=0) + np.float32(1e-6)
        return source, (states - source.mean) / source.scale

    def features(self, documents: Sequence[str]) -> NDArray[np.float32]:
        """Return the standardized states, float32, shape (documents, layers x hidden size)."""
        return (self._states(documents) - self.mean) / self.scale

    def save(self, folder: Path) -> None:
        """Write probe.json and standard.npz."""
        write_atomically(folder / "probe.json", json.dumps({"layers": self.layers}))
        with atomic_writer(folder / "standard.npz") as stream:
            np.savez_compressed(stream, mean=self.mean, scale=self.scale)

    @classmethod
    def load(cls, folder: Path, surroundings: Surroundings) -> Self:
        """Read the layers and the standardization; the base model is loaded when it is first needed."""
        source = cls(surroundings)
        try:
            source.layers = tuple(map(int, json.loads((folder / "probe.json").read_text("utf-8"))["layers"]))
            with np.load(folder / "standard.npz", allow_pickle=False) as arrays:
                source.mean, source.scale = arrays["mean"], arrays["scale"]
        except DAMAGED as error:
            raise RunError(f"{folder} cannot be read: {error}. Copy the run again, or train again.") from error
        return source

    def _model(self) -> tuple[Any, PromptEncoder]:
        if self._loaded is None:
            model, tokenizer = self._surroundings.load_base()
            recipe = self._surroundings.recipe
            self._loaded = model.eval(), PromptEncoder(tokenizer, recipe.encoding, chat=recipe.chat)
        return self._loaded

    def _states(self, documents: Sequence[str]) -> NDArray[np.float32]:
        """Return the mean state of each document after each layer, float32, shape (documents, layers x hidden size)."""
        import torch

        model, encoder = self._model()
        ids = [each.ids for each in encoder.encode_many([Prompt("", document, "") for document in documents])]
        found = np.zeros((len(documents), len(self.layers) * model.config.hidden_size), dtype=np.float32)
        order = sorted(range(len(ids)), key=lambda place: len(ids[place]))
        with torch.inference_mode(), _states_after(model, self.layers) as states:
            for start in range(0, len(ids), _ROWS):
                part = order[start : start + _ROWS]
                # Padding stands on the right, where the causal mask hides it from all tokens of the document.
                batch = pad_right([ids[place] for place in part], 0).to(model.device)
                states.clear()
                with suppress(_Enough):
                    model(input_ids=batch, use_cache=False)
                for number, place in enumerate(part):
                    means = [_mean(each[number, : len(ids[place])]) for each in states]
                    found[place] = torch.cat(means).cpu().numpy()
        return found


def _mean(states: Any) -> Any:
    """Return the mean over tokens of states with a root mean square of 1; shape (hidden size,)."""
    states = states.float()
    return (states / (states.pow(2).mean(dim=-1, keepdim=True).sqrt() + 1e-6)).mean(dim=0)


class _Enough(Exception):
    """The last layer that is read has run."""


@contextmanager
def _states_after(model: Any, layers: Sequence[int]) -> Iterator[list[Any]]:
    """Collect the states after some layers, batch first, in each pass of a model; the pass ends after the last of them.

    Args:
        model: The model.
        layers: Numbers of layers, ascending.
    """
    states: list[Any] = []

    def collect(_module: Any, _inputs: Any, output: Any) -> None:
        states.append(output[0] if isinstance(output, tuple) else output)
        if len(states) == len(layers):
            raise _Enough

    _, modules = decoder_layers(model)
    hooks = [modules[layer].register_forward_hook(collect) for layer in layers]
    try:
        yield states
    finally:
        for hook in hooks:
            hook.remove()

"""Vectors of documents that are kept in files, so that samples of one table read each document once.

A source learns nothing from other documents before its classifier, so the vectors are the same in each sample.
"""

import hashlib
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path
from unittest.mock import patch

import numpy as np
from numpy.typing import NDArray

from papertune.events import SILENT, Listener
from papertune.models.sentence_encoder import SentenceEncoder
from papertune.recipe import Recipe
from papertune.sources.probe import Probe

Vectors = NDArray[np.float32]
# Documents between two writes.
_PART = 8


class KeptVectors:
    """A file of records: the SHA-256 of a text, and its vector."""

    def __init__(self, path: Path, dim: int) -> None:
        """Read the complete records of a file.

        Args:
            path: The file; made if it is missing.
            dim: Elements of a vector.
        """
        self._record = np.dtype([("text", "S32"), ("vector", "<f4", (dim,))])
        self._path = path
        path.parent.mkdir(parents=True, exist_ok=True)
        with path.open("ab") as stream:
            stream.truncate(stream.tell() // self._record.itemsize * self._record.itemsize)
        self._known = {_padded(each["text"]): each["vector"] for each in np.fromfile(path, self._record)}

    def of(self, texts: Sequence[str], make: Callable[[Sequence[str]], Vectors]) -> Vectors:
        """Return the vectors of texts; make and keep those that are not known.

        Args:
            texts: Any texts.
            make: Makes the vectors of some texts.
        """
        keys = [hashlib.sha256(text.encode()).digest() for text in texts]
        missing = list({key: text for key, text in zip(keys, texts, strict=True) if key not in self._known}.items())
        for start in range(0, len(missing), _PART):
            part = missing[start : start + _PART]
            made = make([text for _, text in part])
            records = np.array([(key, vector) for (key, _), vector in zip(part, made, strict=True)], self._record)
            with self._path.open("ab") as stream:
                stream.write(records.tobytes())
            self._known |= {key: vector for (key, _), vector in zip(part, made, strict=True)}
        return np.stack([self._known[key] for key in keys])


def _padded(digest: bytes) -> bytes:
    # NumPy cuts off zero bytes at the end.
    return digest.ljust(32, b"\0")


@contextmanager
def kept_vectors(folder: Path, recipe: Recipe) -> Iterator[None]:
    """Keep what the sentence encoder and the probe of a recipe make of documents.

    Args:
        folder: The folder of the files.
        recipe: The recipe; its model and encoding decide what a probe sees.
    """
    embed, states = SentenceEncoder.embed, Probe._states
    facts = recipe.model_dump_json(include={"model", "chat", "encoding"})
    asked = hashlib.sha256(facts.encode()).hexdigest()[:12]

    def kept_embed(self: SentenceEncoder, texts: Sequence[str], listener: Listener = SILENT) -> Vectors:
        found = KeptVectors(folder / f"encoder-{self.checksum[:12]}.vectors", self.dim)
        return found.of(texts, lambda part: embed(self, part, listener))

    def kept_states(self: Probe, documents: Sequence[str]) -> Vectors:
        model, _ = self._model()
        found = KeptVectors(folder / f"probe-{asked}.vectors", len(self.layers) * model.config.hidden_size)
        return found.of(documents, lambda part: states(self, part))

    with patch.object(SentenceEncoder, "embed", kept_embed), patch.object(Probe, "_states", kept_states):
        yield

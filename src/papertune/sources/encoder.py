"""The vector of a document by a sentence encoder."""

import json
from collections.abc import Sequence
from pathlib import Path
from typing import Any, ClassVar, Self

import numpy as np
from numpy.typing import NDArray

from papertune.errors import RunError
from papertune.events import SILENT, Listener
from papertune.files import write_atomically
from papertune.models.sentence_encoder import ENCODER_INSTALL, SentenceEncoder, find_encoder
from papertune.sources.fitting.kept_rows import KeptRows
from papertune.sources.source import Source, Surroundings


class Encoder(Source):
    """Vectors of length 1.

    Attributes:
        encoder: The sentence encoder.
    """

    name: ClassVar[str] = "encoder"
    cost: ClassVar[int] = 1
    strengths: ClassVar[tuple[float, ...]] = (0.3, 1.0, 3.0, 10.0, 30.0)

    def __init__(self, encoder: SentenceEncoder) -> None:
        self.encoder = encoder

    @classmethod
    def fit(cls, documents: Sequence[str], surroundings: Surroundings, listener: Listener = SILENT) -> tuple[Self, Any]:
        """Encode the training documents; a resumed training goes on where it was."""
        source = cls(_load(surroundings))
        kept = KeptRows.of(surroundings.scratch, f"encoder-{source.encoder.checksum[:16]}", source.encoder.dim)
        return source, kept.complete(documents, source.encoder.embed, listener)

    def features(self, documents: Sequence[str]) -> NDArray[np.float32]:
        """Return the vectors, float32, shape (documents, dimensions)."""
        return self.encoder.embed(documents)

    def save(self, folder: Path) -> None:
        """Write encoder.json: which encoder it is."""
        write_atomically(
            folder / "encoder.json", json.dumps({"name": self.encoder.name, "checksum": self.encoder.checksum})
        )

    @classmethod
    def load(cls, folder: Path, surroundings: Surroundings) -> Self:
        """Load the encoder that the run names."""
        path = folder / "encoder.json"
        try:
            known = json.loads(path.read_text("utf-8"))
            name, checksum = known["name"], known["checksum"]
        except (OSError, ValueError, KeyError, TypeError) as error:
            raise RunError(f"{path} cannot be read: {error}. Copy the run again, or train again.") from error
        source = cls(_load(surroundings))
        if source.encoder.checksum != checksum:
            raise RunError(
                f"{folder.parent.parent} was trained with the sentence encoder {name} with weights {checksum[:12]}..., "
                f"but {source.encoder.name} has {source.encoder.checksum[:12]}.... Give the folder of the right one "
                "as encoder in its recipe.toml."
            )
        return source


def _load(surroundings: Surroundings) -> SentenceEncoder:
    folder = find_encoder(surroundings.recipe.encoder)
    if folder is None:
        raise RunError(f"a column is answered with a sentence encoder, which is not installed: {ENCODER_INSTALL}")
    return SentenceEncoder(folder, device=surroundings.device)

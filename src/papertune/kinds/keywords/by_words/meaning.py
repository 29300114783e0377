"""A second look at the best phrases of a document: how near their meaning is to that of the document.

Nearness of vectors of a sentence encoder ranks phrases without any training (EmbedRank, Bennani-Smires et al. 2018,
K18-1022); here it corrects the order that the words have learned. Since near phrases are often variants of one keyword,
how near a phrase is to better ones counts too.
"""

from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace
from functools import lru_cache
from typing import Any, Protocol

import numpy as np
from numpy.typing import NDArray

# Phrases of a document that get a second look, at most; they have 85 percent of the keywords among all its phrases.
LOOKED_AT = 40

MEANING_FEATURES = (
    "word_log_odds",
    "nearness",
    "nearness_below_best",
    "nearness_rank",
    "nearness_to_title",
    "nearness_to_title_below_best",
    "nearness_to_title_rank",
    "mean_nearness_to_others",
    "nearness_to_better",
)

# Returns vectors of length 1, float32, shape (texts, elements).
Embed = Callable[[Sequence[str]], NDArray[np.float32]]


class PhraseEncoder(Protocol):
    """What is asked of a sentence encoder, see `papertune.models.sentence_encoder`."""

    @property
    def name(self) -> str:
        """The name of its model."""

    @property
    def checksum(self) -> str:
        """SHA-256 of its weights."""

    @property
    def embed(self) -> Embed:
        """Makes vectors of texts, one at a time."""

    @property
    def embed_together(self) -> Embed:
        """Makes vectors of short texts in one pass."""


@dataclass(frozen=True)
class MeaningRecord:
    """What is kept of the second look.

    Attributes:
        encoder: The name of the sentence encoder.
        checksum: SHA-256 of its weights.
        is_used: Whether it ranks better than the words alone by more than one standard error.
        rows: Number of training rows on which it was fitted.
        f1_at_5: Cross-fitted F1@5 on these rows, of "words" and "encoder".
        standard_error: Standard error of the difference.
        weights: Coefficients by feature.
        intercept: Intercept.
    """

    encoder: str
    checksum: str
    is_used: bool
    rows: int
    f1_at_5: dict[str, float]
    standard_error: float
    weights: dict[str, float]
    intercept: float


def read_meaning(values: dict[str, Any]) -> MeaningRecord:
    """Return a record that was written as JSON.

    Raises:
        ValueError, TypeError: If it is damaged, or has other features than this version.
    """
    record = MeaningRecord(**values)
    if set(record.weights) != set(MEANING_FEATURES):
        raise ValueError(f"the second look has other features: {', '.join(sorted(record.weights))}")
    return replace(record, weights={name: float(weight) for name, weight in record.weights.items()})


@dataclass(frozen=True, eq=False)
class Meaning:
    """Gives the best phrases of documents a second look.

    Attributes:
        record: The weights.
        encoder_folder: The recipe's encoder; None: the installed one.
    """

    record: MeaningRecord
    encoder_folder: str | None

    def look_again(self, document: str, ranked: Sequence[tuple[str, float]]) -> list[tuple[str, float]]:
        """Return phrases with their log-odds in the new order; those behind the first `LOOKED_AT` stay last.

        Args:
            document: The whole document.
            ranked: Its phrases with their log-odds by words, the best first.

        Raises:
            RunError: If the encoder is not the one of the training.
            MissingExtraError: If none is installed.
        """
        encoder = open_encoder(self.encoder_folder)
        if encoder.checksum != self.record.checksum:
            from papertune.errors import RunError

            raise RunError(
                f"keywords were learned with the sentence encoder {self.record.encoder} with weights "
                f"{self.record.checksum[:12]}..., but {encoder.name} has {encoder.checksum[:12]}.... Give the folder "
                "of the right one as encoder in the run's recipe.toml."
            )
        first, rest = list(ranked[:LOOKED_AT]), list(ranked[LOOKED_AT:])
        texts, odds = [text for text, _ in first], [each for _, each in first]
        weights = np.array([self.record.weights[name] for name in MEANING_FEATURES])
        scores = meaning_features(document, texts, odds, encoder) @ weights + self.record.intercept
        looked_at = [(texts[place], float(scores[place])) for place in np.argsort(-scores, kind="stable")]
        lowest = looked_at[-1][1] if looked_at else 0.0
        return looked_at + [(text, min(each, lowest)) for text, each in rest]


def meaning_features(
    document: str, texts: Sequence[str], odds: Sequence[float], encoder: PhraseEncoder
) -> NDArray[np.float64]:
    """Return the features of the best phrases of a document.

    Args:
        document: The whole document; its first line is taken for the title.
        texts: Its best phrases by words, the best first.
        odds: Their log-odds by words.
        encoder: The sentence encoder.

    Returns:
        Float64, shape (phrases, features); the features are `MEANING_FEATURES`.
    """
    if not texts:
        return np.zeros((0, len(MEANING_FEATURES)))
    whole, title = encoder.embed([document, document.split("\n", 1)[0]]).astype(np.float64)
    phrases = encoder.embed_together(texts).astype(np.float64)
    alike = phrases @ phrases.T
    np.fill_diagonal(alike, 0)
    better = [alike[place, :place].max(initial=0) for place in range(len(texts))]
    near = [*_nearness(phrases @ whole), *_nearness(phrases @ title)]
    return np.stack([np.asarray(odds), *near, alike.mean(axis=1), np.array(better)], axis=1)


def _nearness(values: NDArray[np.float64]) -> tuple[NDArray[np.float64], ...]:
    """Return nearness, how far it is below the best, and its rank as a share, 0 for the best."""
    ranks = np.empty(len(values))
    ranks[np.argsort(-values, kind="stable")] = np.arange(len(values))
    return values, values - values.max(), ranks / len(values)


@lru_cache(maxsize=1)
def open_encoder(name: str | None) -> PhraseEncoder:
    """Load a sentence encoder.

    Args:
        name: As `encoder` in a recipe; None: the installed one.

    Raises:
        MissingExtraError: If none is installed.
    """
    from papertune.errors import MissingExtraError
    from papertune.models.sentence_encoder import ENCODER_INSTALL, SentenceEncoder, find_encoder

    folder = find_encoder(name)
    if folder is None:
        raise MissingExtraError(
            f"keywords are ranked with a sentence encoder, which is not installed: {ENCODER_INSTALL}"
        )
    return SentenceEncoder(folder)

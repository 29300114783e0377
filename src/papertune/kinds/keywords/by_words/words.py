"""Keywords from words alone: phrases of the document, ranked by what the training rows say about them."""

import io
import json
import math
from collections.abc import Sequence
from dataclasses import asdict, dataclass, replace
from functools import lru_cache
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from papertune.files import write_atomically
from papertune.kinds.keywords.by_words.counts import NGRAM, PHRASE, Counts
from papertune.kinds.keywords.by_words.features import WORD_FEATURES, word_features
from papertune.kinds.keywords.by_words.meaning import LOOKED_AT, Meaning, MeaningRecord, read_meaning
from papertune.kinds.keywords.by_words.tfidf import best_ngrams, ngrams
from papertune.kinds.keywords.ranked.candidates import Candidate, find_candidates

# The files of the source, in the folder of its column.
_COUNTS, _RANKING = "words.npz", "words.json"


@dataclass(frozen=True)
class WordsRecord:
    """What is kept beside the counts.

    Attributes:
        order: The order of keywords: "tfidf", that of the baseline, or "learned".
        rows: Number of training rows with keywords.
        f1_at_5: Cross-fitted F1@5 of both orders on training rows; None with too few.
        standard_error: Standard error of the difference.
        weights: Coefficients of the learned order by feature.
        intercept: Intercept of the learned order.
        hit_rates: Share of training rows whose first, second, ... keyword by tf-idf is right, never ascending.
        meaning: The second look by a sentence encoder; None: none was fitted.
    """

    order: str
    rows: int
    f1_at_5: dict[str, float] | None
    standard_error: float | None
    weights: dict[str, float]
    intercept: float
    hit_rates: list[float]
    meaning: MeaningRecord | None = None


@dataclass(frozen=True, eq=False)
class Words:
    """Ranks the phrases of documents.

    Attributes:
        counts: Counts of the training rows.
        record: The order, and the weights of its features.
        encoder: The recipe's encoder; None: the installed one.
    """

    counts: Counts
    record: WordsRecord
    encoder: str | None = None

    @property
    def _weights(self) -> NDArray[np.float64]:
        return np.array([self.record.weights[name] for name in WORD_FEATURES])

    def log_odds(self, candidates: Sequence[Candidate]) -> dict[str, float]:
        """Return the log-odds that each candidate of a document is a keyword, by form."""
        scores = word_features(candidates, self.counts) @ self._weights + self.record.intercept
        return {each.form: float(score) for each, score in zip(candidates, scores, strict=True)}

    def times_keyword(self, forms: Sequence[str]) -> list[int]:
        """Return how many training rows have each keyword."""
        found = self.counts.lookup([PHRASE + form for form in forms])
        return [found[PHRASE + form][1] for form in forms]

    def rank(self, document: str, count: int) -> list[tuple[str, float]]:
        """Return the keywords of a document with their confidences, the best first.

        Args:
            document: The whole document.
            count: Maximum number of keywords.
        """
        if self.record.order == "tfidf":
            texts = self.by_tfidf(document, count)
            rates = self.record.hit_rates
            return [(text, rates[min(place, len(rates) - 1)]) for place, text in enumerate(texts)]
        odds = self.log_odds(candidates := find_candidates(document))
        best = sorted(candidates, key=lambda each: -odds[each.form])
        ranked = [(next(iter(each.spellings)), odds[each.form]) for each in best[: max(count, LOOKED_AT)]]
        if self.record.meaning is not None and self.record.meaning.is_used:
            ranked = Meaning(self.record.meaning, self.encoder).look_again(document, ranked)
        return [(text, 1 / (1 + math.exp(-own))) for text, own in ranked[:count]]

    def by_tfidf(self, document: str, count: int, own: Counts | None = None) -> list[str]:
        """Return the keywords of the baseline `TfidfKeywords`; `own`: counts of the document, which are left out."""
        found = ngrams(document)
        counts = self.counts.lookup([NGRAM + form for form in found], own)
        frequencies = {form: counts[NGRAM + form][0] for form in found}
        return best_ngrams(found, frequencies, self.counts.documents - (own is not None), count)

    def save(self, folder: Path) -> None:
        """Write the two files of the source; numbers and hashes only."""
        folder.mkdir(parents=True, exist_ok=True)
        stream = io.BytesIO()
        arrays: dict[str, Any] = {"keys": self.counts.keys, "seen": self.counts.seen, "right": self.counts.right}
        np.savez_compressed(stream, documents=np.array(self.counts.documents), **arrays)
        write_atomically(folder / _COUNTS, stream.getvalue())
        write_atomically(folder / _RANKING, json.dumps(asdict(self.record), indent=2) + "\n")


def load_words(folder: Path, encoder: str | None = None) -> Words | None:
    """Read the source of a column; None if the run has none.

    Args:
        folder: Its folder.
        encoder: The recipe's encoder; None: the installed one.

    Raises:
        ValueError: If a file is damaged, or has other features than this version.
    """
    ranking = folder / _RANKING
    if not ranking.is_file():
        return None
    return replace(_load(folder, ranking.stat().st_mtime_ns), encoder=encoder)


@lru_cache(maxsize=8)
def _load(folder: Path, changed_ns: int) -> Words:
    """Read the source of a column; `changed_ns` is the time of its last change."""
    try:
        record = WordsRecord(**json.loads((folder / _RANKING).read_text("utf-8")))
        if record.meaning is not None:
            record = replace(record, meaning=read_meaning(record.meaning))  # type: ignore[arg-type]
        with np.load(folder / _COUNTS, allow_pickle=False) as arrays:
            counts = Counts(int(arrays["documents"]), arrays["keys"], arrays["seen"], arrays["right"])
    except Exception as error:  # a damaged zip file raises errors of many kinds
        raise ValueError(f"{folder} cannot be read: {error}") from None
    if set(record.weights) != set(WORD_FEATURES):
        raise ValueError(f"the ranking in {folder / _RANKING} has other features: {', '.join(sorted(record.weights))}")
    return Words(counts, record)

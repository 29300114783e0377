"""The words of a document: tf-idf of words, word pairs and character n-grams.

Words and pairs are what a baseline reads (Wang and Manning 2012, ACL P12-2018). Character n-grams within words see
stems, endings and parts of compounds. Chinese, Japanese and Korean documents have no blanks between words, so there
character n-grams across words stand for both.
"""

import json
from collections.abc import Sequence
from pathlib import Path
from typing import Any, ClassVar, Self

import numpy as np
from numpy.typing import NDArray

from papertune.errors import RunError
from papertune.events import SILENT, Listener
from papertune.files import atomic_writer, write_atomically
from papertune.metrics.phrases import is_mostly_cjk
from papertune.sources.source import DAMAGED, Source, Surroundings

# The most frequent terms of a vectorizer; more would make a run large and change nothing.
_MAX_TERMS = 100_000

_WORDS: dict[str, Any] = {"ngram_range": (1, 2), "min_df": 2}
_PARTS_OF_WORDS: dict[str, Any] = {"analyzer": "char_wb", "ngram_range": (3, 5), "min_df": 3}
_CJK_CHARACTERS: dict[str, Any] = {"analyzer": "char", "ngram_range": (1, 3), "min_df": 2}


class Words(Source):
    """Tf-idf features of documents.

    Attributes:
        vectorizers: scikit-learn's vectorizers with their settings; their features stand side by side.
    """

    name: ClassVar[str] = "words"
    cost: ClassVar[int] = 0
    strengths: ClassVar[tuple[float, ...]] = (10.0, 30.0)

    def __init__(self, vectorizers: Sequence[tuple[dict[str, Any], Any]]) -> None:
        self.vectorizers = vectorizers

    @classmethod
    def fit(cls, documents: Sequence[str], surroundings: Surroundings, listener: Listener = SILENT) -> tuple[Self, Any]:
        """Collect the terms of training documents and their document frequencies."""
        from scipy.sparse import csr_matrix, hstack

        all_settings = [_CJK_CHARACTERS] if is_mostly_cjk(documents) else [_WORDS, _PARTS_OF_WORDS]
        vectorizers: list[tuple[dict[str, Any], Any]] = []
        matrices: list[Any] = []
        for settings in all_settings:
            for fewest in (settings["min_df"], 1):
                vectorizer = _vectorizer(settings | {"min_df": fewest, "max_features": _MAX_TERMS})
                try:
                    matrices.append(vectorizer.fit_transform(documents))
                except ValueError:  # no term occurs in enough documents, or there are no terms
                    continue
                vectorizers.append((settings, vectorizer))
                break
        features = hstack(matrices).tocsr() if matrices else csr_matrix((len(documents), 0), dtype=np.float32)
        return cls(vectorizers), features

    def features(self, documents: Sequence[str]) -> Any:
        """Return the tf-idf of documents, sparse float32; the terms of each vectorizer have length 1 together."""
        from scipy.sparse import csr_matrix, hstack

        if not self.vectorizers:
            return csr_matrix((len(documents), 0), dtype=np.float32)
        return hstack([vectorizer.transform(documents) for _, vectorizer in self.vectorizers]).tocsr()

    def save(self, folder: Path) -> None:
        """Write terms.json and frequencies.npz."""
        terms = [
            {"settings": settings, "terms": vectorizer.get_feature_names_out().tolist()}
            for settings, vectorizer in self.vectorizers
        ]
        frequencies = {str(number): vectorizer.idf_ for number, (_, vectorizer) in enumerate(self.vectorizers)}
        write_atomically(folder / "terms.json", json.dumps(terms, ensure_ascii=False))
        with atomic_writer(folder / "frequencies.npz") as stream:
            np.savez_compressed(stream, **frequencies)

    @classmethod
    def load(cls, folder: Path, surroundings: Surroundings) -> Self:
        """Read terms and frequencies."""
        try:
            parts = json.loads((folder / "terms.json").read_text("utf-8"))
            with np.load(folder / "frequencies.npz", allow_pickle=False) as arrays:
                return cls(
                    [
                        (part["settings"], _fitted(part["settings"], part["terms"], arrays[str(number)]))
                        for number, part in enumerate(parts)
                    ]
                )
        except DAMAGED as error:
            raise RunError(f"{folder} cannot be read: {error}. Copy the run again, or train again.") from error


def _vectorizer(settings: dict[str, Any]) -> Any:
    from sklearn.feature_extraction.text import TfidfVectorizer

    ngrams = tuple(settings["ngram_range"])  # a list in JSON
    return TfidfVectorizer(sublinear_tf=True, dtype=np.float32, **{**settings, "ngram_range": ngrams})


def _fitted(settings: dict[str, Any], terms: list[str], idf: NDArray[np.float32]) -> Any:
    vectorizer = _vectorizer({**settings, "min_df": 1, "vocabulary": terms})
    vectorizer.idf_ = idf
    return vectorizer

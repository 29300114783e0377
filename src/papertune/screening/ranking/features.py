"""What the ranker knows of each record. It is computed once, and again when records are added.

With a sentence encoder: the stems of the words, and the encoder's vector with a fifth of their weight. Without one: the
words and word pairs of ELAS u4. docs/lab/log.md has what else was tried.
"""

import hashlib
import re
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from papertune.events import SILENT, Listener
from papertune.metrics.phrases import is_mostly_cjk, stem

# ELAS u4 leaves out terms of more documents than this.
_MAX_SHARE = 0.95
_PAIRS: dict[str, Any] = {"ngram_range": (1, 2)}
# Chinese, Japanese and Korean text has no blanks between words.
_CJK: dict[str, Any] = {"analyzer": "char", "ngram_range": (1, 3)}
VECTOR_WEIGHT = 0.2
WORD = re.compile(r"\b\w\w+\b")  # as in scikit-learn


@dataclass(frozen=True)
class Features:
    """Features of all records.

    Attributes:
        matrix: Sparse float64, shape (records, features): terms, then elements of vectors; each group has length 1,
            times the root of its weight.
        terms: The terms of the first features.
        stemmed: Whether the terms are stems.
        similarity: How similar each record is to the text that the screening looks for, float64, shape (records,);
            None if there is no such text, or it shares no term with any record.
    """

    matrix: Any
    terms: Sequence[str]
    stemmed: bool = False
    similarity: NDArray[np.float64] | None = None

    def __len__(self) -> int:
        return int(self.matrix.shape[0])


def make_features(documents: Sequence[str], query: str = "", vectors: NDArray[np.float32] | None = None) -> Features:
    """Compute the features of documents.

    Args:
        documents: Title and abstract of each record.
        query: What is looked for, such as the criteria; "" if nothing is known.
        vectors: Vector of each document by a sentence encoder, float32, shape (documents, dimensions); None: none.
    """
    from scipy.sparse import csr_matrix, hstack

    cjk = is_mostly_cjk(documents)
    stemmed = vectors is not None and not cjk
    settings = _CJK if cjk else {"analyzer": stems, "min_df": min(2, len(documents))} if stemmed else _PAIRS
    matrix, terms, similarity = _terms(documents, settings, query)
    if vectors is not None:
        centred = vectors.astype(np.float64) - vectors.mean(axis=0, dtype=np.float64)
        centred /= np.maximum(np.linalg.norm(centred, axis=1, keepdims=True), 1e-12)
        matrix = hstack([matrix, csr_matrix(VECTOR_WEIGHT**0.5 * centred)]).tocsr()
    return Features(matrix, terms, stemmed, similarity)


def words_of(document: str) -> list[str]:
    """Return the words of a document, in lower case."""
    return WORD.findall(document.lower())


def stems(document: str) -> list[str]:
    """Return the stems of the words of a document."""
    return [stem(word) for word in words_of(document)]


def embed(documents: Sequence[str], encoder: str, cache: Path | None, listener: Listener = SILENT) -> Any:
    """Return the vectors of documents by a sentence encoder; those in the cache are not computed again.

    Args:
        documents: The texts; later calls may only add to them.
        encoder: "auto" for the installed one if there is one, "none", or a folder.
        cache: Folder for the vectors; None: they are not kept.
        listener: Gets the progress.

    Returns:
        float32, shape (documents, dimensions); None without an encoder.
    """
    if encoder == "none":
        return None
    from papertune.models.sentence_encoder import SentenceEncoder, find_encoder
    from papertune.sources.fitting.kept_rows import KeptRows

    folder = find_encoder(None if encoder == "auto" else encoder)
    if folder is None:
        return None
    if cache is not None:
        cache.mkdir(exist_ok=True)
    model = SentenceEncoder(folder)
    # Other columns as title and abstract make another first document.
    first = hashlib.sha256(documents[0].encode() if documents else b"").hexdigest()
    kept = KeptRows.of(cache, f"encoder-{model.checksum[:16]}-{first[:16]}", model.dim)
    return kept.complete(documents, model.embed, listener)


def _terms(
    documents: Sequence[str], settings: dict[str, Any], query: str
) -> tuple[Any, list[str], NDArray[np.float64] | None]:
    """Return tf-idf, its terms and the similarity to the query; no features if there are no terms."""
    from scipy.sparse import csr_matrix
    from sklearn.feature_extraction.text import TfidfVectorizer

    vectorizer = TfidfVectorizer(sublinear_tf=True, max_df=_MAX_SHARE, **settings)
    try:
        matrix = vectorizer.fit_transform(documents)
    except ValueError:  # scikit-learn raises it for an empty vocabulary, and where few documents share all terms
        return csr_matrix((len(documents), 0)), [], None
    similarity = (matrix @ vectorizer.transform([query]).T).toarray()[:, 0]
    return matrix, vectorizer.get_feature_names_out().tolist(), similarity if similarity.any() else None

"""Counts of the training rows: which phrases and words occur in documents, and which of them are keywords.

Only hashes of phrases and words are kept, so the file holds no text of the training table. Two that share a hash of 64
bits would be counted as one.
"""

from collections import Counter
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from functools import lru_cache
from hashlib import blake2b

import numpy as np
from numpy.typing import NDArray

# The kinds of keys. Phrases, n-grams (those of tfidf.py) and words are counted once a document; endings and neighbours
# once a candidate.
PHRASE, NGRAM, WORD, FIRST, LAST, START, END, BEFORE, AFTER = "pnwflse<>"


@lru_cache(maxsize=1_000_000)
def hash_key(key: str) -> int:
    """Return the 64-bit hash of a key; the same on every machine."""
    return int.from_bytes(blake2b(key.encode("utf-8", "surrogatepass"), digest_size=8).digest(), "little")


@dataclass(frozen=True, eq=False)
class Counts:
    """How often keys occur, and how often as a keyword.

    Attributes:
        documents: Number of documents.
        keys: Hashes of the keys, ascending, uint64, shape (keys,).
        seen: Occurrences of each, uint32, shape (keys,).
        right: Of keywords alone, uint32, shape (keys,).
    """

    documents: int
    keys: NDArray[np.uint64]
    seen: NDArray[np.uint32]
    right: NDArray[np.uint32]

    @classmethod
    def of(cls, seen: Mapping[str, int], right: Mapping[str, int]) -> "Counts":
        """Return the counts of one document."""
        names = seen.keys() | right.keys()
        hashed = {hash_key(name): name for name in names}
        keys = sorted(hashed)
        values = [(seen.get(hashed[key], 0), right.get(hashed[key], 0)) for key in keys]
        table = np.array(values, dtype=np.uint32).reshape(-1, 2)
        return cls(1, np.array(keys, dtype=np.uint64), table[:, 0], table[:, 1])

    @classmethod
    def total(cls, parts: Sequence["Counts"]) -> "Counts":
        """Return the sum of counts."""
        keys = np.concatenate([np.zeros(0, np.uint64), *(part.keys for part in parts)])
        unique, places = np.unique(keys, return_inverse=True)
        sums = np.zeros((2, len(unique)), np.uint32)
        np.add.at(sums[0], places, np.concatenate([np.zeros(0, np.uint32), *(part.seen for part in parts)]))
        np.add.at(sums[1], places, np.concatenate([np.zeros(0, np.uint32), *(part.right for part in parts)]))
        return cls(sum(part.documents for part in parts), unique, sums[0], sums[1])

    def without_rare(self) -> "Counts":
        """Leave out keys that `lookup` treats as unseen."""
        kept = (self.seen > 1) | (self.right > 0)
        return Counts(self.documents, self.keys[kept], self.seen[kept], self.right[kept])

    def lookup(self, names: Iterable[str], own: "Counts | None" = None) -> dict[str, tuple[int, int]]:
        """Return how often keys occur, and how often as a keyword.

        Args:
            names: The keys.
            own: Counts of one of the documents, which are left out.

        Returns:
            The two counts of each key; (0, 0) for one that occurs once and never as a keyword, so that these need not
            be kept.
        """
        listed = list(dict.fromkeys(names))
        hashes = np.array([hash_key(name) for name in listed], dtype=np.uint64)
        found = self._at(hashes)
        if own is not None:
            found = found - own._at(hashes)
        found[:, (found[0] <= 1) & (found[1] <= 0)] = 0
        return dict(zip(listed, zip(*found.tolist(), strict=True), strict=True))

    def _at(self, hashes: NDArray[np.uint64]) -> NDArray[np.int64]:
        """Return the counts of hashes, int64, shape (2, hashes)."""
        found = np.zeros((2, len(hashes)), np.int64)
        if len(self.keys):
            places = np.minimum(np.searchsorted(self.keys, hashes), len(self.keys) - 1)
            known = self.keys[places] == hashes
            found[:, known] = self.seen[places[known]], self.right[places[known]]
        return found


def count_once(kind: str, texts: Iterable[str]) -> Counter[str]:
    """Return the keys of distinct texts, each counted once."""
    return Counter({kind + text: 1 for text in texts})

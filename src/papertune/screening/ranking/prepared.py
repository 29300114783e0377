"""What is computed once for a set of records: features and near duplicates; for many records, in a process of its own.

Sorting two million terms is one call that holds the interpreter's lock for seconds. In this process nobody could save a
decision meanwhile. The result is kept on disk, so a screening that is opened again has it at once.

CACHE/prepared-KEY/   arrays, which are mapped into memory, and groups.json
"""

import hashlib
import json
import shutil
import sys
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, overload

import numpy as np
from filelock import FileLock
from numpy.typing import NDArray

from papertune.evaluation.checks.near_duplicates import match_earlier_rows
from papertune.screening.ranking.apart import (
    document_lines,
    given_documents,
    given_folder,
    run_apart,
    yield_to_readers,
)
from papertune.screening.ranking.features import Features, make_features

# Fewer are computed sooner than a process starts.
_MIN_DOCUMENTS = 1000
# Part of the key: goes up when the same documents make other features.
_FORMAT = 2
_VECTORS, _QUERY = "vectors.npy", "query.json"


@dataclass(frozen=True)
class Prepared:
    """What is computed once.

    Attributes:
        features: The features of all records.
        groups: The records that are nearly the same as each one of them, itself included; others are left out.
        folder: Where they stand on disk; None: they are only in memory.
    """

    features: Features
    groups: dict[int, tuple[int, ...]]
    folder: Path | None = None


def prepare(documents: Sequence[str], query: str, vectors: NDArray[np.float32] | None) -> Prepared:
    """Compute features and near duplicates; the arguments are those of `make_features`."""
    return Prepared(make_features(documents, query, vectors), group(documents))


def prepare_apart(
    documents: Sequence[str],
    query: str,
    vectors: NDArray[np.float32] | None,
    cache: Path,
    stopped: Callable[[], bool] = lambda: False,
) -> Prepared:
    """Do as `prepare` in another process if there are many documents, or read what an earlier one has left.

    Args:
        documents: Title and abstract of each record.
        query: What is looked for, "" if nothing is known.
        vectors: Vector of each document, float32, shape (documents, dimensions); None: none.
        cache: Folder for the results; only the last one is kept.
        stopped: Whether nobody wants the result any more; the process is then killed.

    Raises:
        Stopped: If `stopped` has become true.
        ScreeningError: If the process fails.
    """
    if len(documents) < _MIN_DOCUMENTS:
        return prepare(documents, query, vectors)
    folder = cache / f"prepared-{_key(documents, query, vectors)}"
    if not folder.is_dir():
        with given_folder(cache, documents) as given:
            if vectors is not None:
                np.save(given / _VECTORS, vectors)
            (given / _QUERY).write_text(json.dumps(query))  # it may be longer than an argument of a command
            run_apart("papertune.screening.ranking.prepared", given, [str(folder)], stopped)
    prepared = load_prepared(folder)
    for other in cache.glob("prepared-*/"):
        if other != folder:
            shutil.rmtree(other, ignore_errors=True)
    return prepared


def group(documents: Sequence[str]) -> dict[int, tuple[int, ...]]:
    """Return the documents that are nearly the same as each document that has such others, in ascending order."""
    roots = list(range(len(documents)))
    for match in match_earlier_rows(documents):
        roots[match.row] = roots[match.other]  # an earlier row, whose root is known
    members: dict[int, list[int]] = {}
    for row, root in enumerate(roots):
        members.setdefault(root, []).append(row)
    return {row: tuple(rows) for rows in members.values() if len(rows) > 1 for row in rows}


class _StoredTerms(Sequence[str]):
    """Terms in a file, read one by one: millions of strings in memory slow down each garbage collection."""

    def __init__(self, folder: Path) -> None:
        self._text = np.load(folder / "terms.npy", mmap_mode="r")
        self._ends = np.load(folder / "ends.npy")

    def __len__(self) -> int:
        return len(self._ends)

    @overload
    def __getitem__(self, place: int) -> str: ...
    @overload
    def __getitem__(self, place: slice) -> Sequence[str]: ...
    def __getitem__(self, place: int | slice) -> str | Sequence[str]:
        """Return a term, or some."""
        if isinstance(place, slice):
            return [self[each] for each in range(*place.indices(len(self)))]
        end = int(self._ends[place])
        start = int(self._ends[place - 1]) if place % len(self) else 0
        return bytes(self._text[start:end]).decode()


def _key(documents: Sequence[str], query: str, vectors: NDArray[np.float32] | None) -> str:
    """Return a checksum of all that the result depends on."""
    checksum = hashlib.sha256(json.dumps([_FORMAT, query]).encode())
    for line in document_lines(documents):
        checksum.update(line)
    if vectors is not None:
        checksum.update(np.ascontiguousarray(vectors).data)
    return checksum.hexdigest()[:32]


def _save(prepared: Prepared, folder: Path) -> None:
    """Write the result, whole or not at all."""
    temporary = folder.with_name(f"new-{folder.name}")
    temporary.mkdir()
    features = prepared.features
    terms = [term.encode() for term in features.terms]
    arrays = {
        "data": features.matrix.data,
        "indices": features.matrix.indices,
        "indptr": features.matrix.indptr,
        "shape": np.array(features.matrix.shape),
        "terms": np.frombuffer(b"".join(terms), dtype=np.uint8),
        "ends": np.cumsum([len(term) for term in terms], dtype=np.int64),
        "similarity": np.zeros(0) if features.similarity is None else features.similarity,
    }
    for name, array in arrays.items():
        np.save(temporary / f"{name}.npy", array)
    (temporary / "groups.json").write_text(
        json.dumps({"stemmed": features.stemmed, "groups": sorted(set(prepared.groups.values()))})
    )
    temporary.replace(folder)


def load_prepared(folder: Path) -> Prepared:
    """Return what `prepare_apart` has left in a folder."""
    from scipy.sparse import csr_matrix

    parts: dict[str, Any] = {
        name: np.load(folder / f"{name}.npy", mmap_mode="r") for name in ("data", "indices", "indptr")
    }
    shape = tuple(int(length) for length in np.load(folder / "shape.npy"))
    similarity = np.load(folder / "similarity.npy")
    notes = json.loads((folder / "groups.json").read_text())
    features = Features(
        csr_matrix((parts["data"], parts["indices"], parts["indptr"]), shape=shape, copy=False),
        _StoredTerms(folder),
        notes["stemmed"],
        similarity if len(similarity) else None,
    )
    groups = {record: tuple(members) for members in notes["groups"] for record in members}
    return Prepared(features, groups, folder)


def main(given: Path, folder: Path) -> None:
    """Compute in this process what `prepare_apart` wants.

    Args:
        given: Folder with the documents, what is looked for, and, if there are any, the vectors.
        folder: New folder for the result.
    """
    yield_to_readers()
    # A process whose parent was killed ends its work; the next one waits, and finds it done.
    with FileLock(folder.with_name("prepared.lock")):
        for unfinished in folder.parent.glob("new-prepared-*/"):
            shutil.rmtree(unfinished, ignore_errors=True)
        if not folder.is_dir():
            query = json.loads((given / _QUERY).read_text())
            vectors = np.load(given / _VECTORS) if (given / _VECTORS).exists() else None
            _save(prepare(given_documents(given), query, vectors), folder)


if __name__ == "__main__":
    main(Path(sys.argv[1]), Path(sys.argv[3]))

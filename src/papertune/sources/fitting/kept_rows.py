"""Vectors of documents that are kept while they are made, so that a kill loses the last few only."""

import time
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from papertune.events import SILENT, Listener, Progress

# Documents between two writes.
_PART = 16


@dataclass(frozen=True)
class KeptRows:
    """A file of float32 vectors, one after the other.

    Attributes:
        path: The file; None: nothing is kept.
        dim: Elements of a vector.
    """

    path: Path | None
    dim: int

    @classmethod
    def of(cls, folder: Path | None, name: str, dim: int) -> "KeptRows":
        """Return the file of a kind of vectors in a folder."""
        return cls(None if folder is None else folder / f"{name}.f32", dim)

    def complete(
        self,
        documents: Sequence[str],
        make: Callable[[Sequence[str]], NDArray[np.float32]],
        listener: Listener = SILENT,
    ) -> NDArray[np.float32]:
        """Return the vectors of documents; those that the file has are not made again.

        Args:
            documents: All documents, the same in each call.
            make: Makes the vectors of some of them.
            listener: Gets the progress.

        Returns:
            float32, shape (documents, dim).
        """
        found = np.zeros((len(documents), self.dim), dtype=np.float32)
        done = self._read(found)
        started, before = time.monotonic(), done
        while done < len(documents):
            part = documents[done : done + _PART]
            vectors = make(part)
            found[done : done + len(part)] = vectors
            done += len(part)
            if self.path is not None:
                with self.path.open("ab") as stream:
                    stream.write(np.ascontiguousarray(vectors, dtype=np.float32).tobytes())
            rate = (done - before) / max(time.monotonic() - started, 1e-9)
            listener.progress(Progress("rows", done, len(documents), rate, (len(documents) - done) / rate))
        return found

    def _read(self, found: NDArray[np.float32]) -> int:
        """Fill in the complete vectors of the file, and cut off an incomplete one; return their number."""
        if self.path is None or not self.path.is_file():
            return 0
        size = self.dim * 4
        done = min(self.path.stat().st_size // size, len(found))
        with self.path.open("r+b") as stream:
            found[:done] = np.frombuffer(stream.read(done * size), dtype=np.float32).reshape(done, self.dim)
            stream.truncate(done * size)
        return done

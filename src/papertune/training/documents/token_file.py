"""Token ids of many texts in a memory-mapped file, so that their number costs no memory but 8 bytes a text.

FOLDER/
  tokens.bin    the ids of all texts, one after the other
  starts.npy    where each text begins, and where the last one ends
  tokens.json   the number format and what the writer noted; written last: without it the file is unfinished
"""

import json
from array import array
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from types import TracebackType
from typing import Any

import numpy as np
from numpy.typing import NDArray

from papertune.files import write_atomically

_TOKENS, _STARTS, _NOTES = "tokens.bin", "starts.npy", "tokens.json"


@dataclass(frozen=True)
class TokenFile:
    """A finished token file.

    Attributes:
        tokens: The ids of all texts, unsigned integers, shape (tokens,), read from the disk when they are used.
        starts: Where each text begins in `tokens`, and where the last one ends, int64, shape (texts + 1,).
        notes: What the writer noted.
    """

    tokens: NDArray[Any]
    starts: NDArray[np.int64]
    notes: dict[str, Any]

    @classmethod
    def open(cls, folder: Path) -> "TokenFile | None":
        """Open the token file of a folder; None if there is no finished one."""
        notes = folder / _NOTES
        if not notes.is_file():
            return None
        values = json.loads(notes.read_text("utf-8"))
        starts = np.load(folder / _STARTS)
        tokens = np.memmap(folder / _TOKENS, dtype=values["dtype"], mode="r", shape=(int(starts[-1]),))
        return cls(tokens, starts, values["notes"])

    def __len__(self) -> int:
        return len(self.starts) - 1


class TokenWriter:
    """Writes a token file; an unfinished one in the folder is replaced.

    Args:
        folder: The folder.
        vocabulary: All ids are below this number.
    """

    def __init__(self, folder: Path, vocabulary: int) -> None:
        folder.mkdir(parents=True, exist_ok=True)
        self._folder = folder
        (folder / _NOTES).unlink(missing_ok=True)
        self._dtype = np.min_scalar_type(vocabulary - 1)
        self._file = (folder / _TOKENS).open("wb")
        self._starts = array("q", [0])

    def __enter__(self) -> "TokenWriter":
        return self

    def __exit__(self, kind: type[BaseException] | None, error: BaseException | None, _: TracebackType | None) -> None:
        self._file.close()

    def add(self, ids: Sequence[int]) -> None:
        """Append a text."""
        self._file.write(np.asarray(ids, dtype=self._dtype).tobytes())
        self._starts.append(self._starts[-1] + len(ids))

    def finish(self, notes: dict[str, Any]) -> None:
        """Complete the file.

        Args:
            notes: Any JSON values.
        """
        self._file.close()
        np.save(self._folder / _STARTS, np.asarray(self._starts, dtype=np.int64))
        write_atomically(self._folder / _NOTES, json.dumps({"dtype": self._dtype.name, "notes": notes}))

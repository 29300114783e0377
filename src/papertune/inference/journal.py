"""The journal of a prediction: finished batches, so that a kill costs one batch and never a finished row.

It lies beside the output as OUTPUT.journal, JSON lines:

    {"fingerprint": ..., "batches": 25}          what is predicted, with what
    {"begin": 0, "rows": 8}                      a batch goes into the model
    {"batch": 0, "values": {column: [...]}}      it has come out; flushed to disk before the next one begins

A last line that a kill has cut off is dropped. The values are what the model said, in full precision, so a resumed
prediction writes the same bytes. A lock keeps a second writer out.
"""

import hashlib
import json
import os
from collections.abc import Mapping, Sequence
from contextlib import suppress
from pathlib import Path
from typing import IO, Any

import numpy as np
from filelock import FileLock, Timeout
from numpy.typing import NDArray

from papertune.errors import OutputError
from papertune.kinds.values import BatchValues

_HEADER = b'{"fingerprint": '


def fingerprint(facts: Mapping[str, str | None], table: str, options: Sequence[Any]) -> str:
    """Give what tells a prediction from any other.

    Args:
        facts: Weights, precision and libraries, as `Run.facts` has them.
        table: The checksum of the table.
        options: What else the output depends on, ready for JSON.
    """
    return hashlib.sha256(json.dumps([facts, table, list(options)]).encode()).hexdigest()


class Journal:
    """Remembers the finished batches of one prediction. Use it as a context manager.

    Args:
        output: The file that is predicted into.
        fingerprint: Tells this prediction from any other, see `fingerprint`.
        batches: How many batches there are.

    Attributes:
        path: The journal's file.
        rows_begun: Rows of all batches that have gone into the model.
    """

    def __init__(self, output: Path, fingerprint: str, batches: int) -> None:
        self.path = output.with_name(f"{output.name}.journal")
        # Where in the file the values of each batch are; -1: nowhere yet. They stay there, so memory holds them once.
        self._places: NDArray[np.int64] = np.full(batches, -1, dtype=np.int64)
        self.rows_begun = 0
        self._fingerprint = fingerprint
        self._batches = batches
        self._lock = FileLock(output.with_name(f"{output.name}.lock"))
        self._output = output
        self._stream: IO[bytes] | None = None

    def __enter__(self) -> "Journal":
        """Lock, read what is there, and open for appending.

        Raises:
            OutputError: If another process is at it, or the journal is of another prediction.
        """
        try:
            self._lock.acquire(timeout=0)
        except Timeout:
            raise OutputError(
                f"{self._output} is being written by another papertune. Wait for it, or choose another file."
            ) from None
        except OSError as error:
            raise OutputError(
                f"{self._output.parent} cannot be written: {error.strerror}. Choose another folder."
            ) from None
        try:
            whole = self._read()
            self._stream = self.path.open("r+b" if whole else "w+b")
            self._stream.seek(whole)
            self._stream.truncate()
            if not whole:
                self._append({"fingerprint": self._fingerprint, "batches": self._batches}, durable=True)
        except OSError as error:
            self._give_up()
            raise OutputError(f"{self.path} cannot be written: {error.strerror or error}.") from error
        except BaseException:
            self._give_up()
            raise
        return self

    def __exit__(self, *_: object) -> None:
        """Close and unlock; the journal stays until `remove`."""
        if self._stream is not None:
            with suppress(OSError):  # on a full disk, what `_append` has told already: it tries to write the rest again
                self._stream.close()
        self._lock.release()

    def _give_up(self) -> None:
        Path(self._lock.lock_file).unlink(missing_ok=True)  # nothing has been begun
        self.__exit__()

    def begin(self, batch: int, rows: Sequence[int]) -> None:
        """Note that a batch goes into the model."""
        self.rows_begun += len(rows)
        self._append({"begin": batch, "rows": len(rows)}, durable=False)

    def finish(self, batch: int, values: BatchValues) -> None:
        """Keep what came out of a batch; when this returns it is on disk."""
        self._places[batch] = self._append({"batch": batch, "values": values}, durable=True)

    @property
    def finished(self) -> NDArray[np.bool_]:
        """Which batches are finished, bool, shape (batches,)."""
        return self._places >= 0

    def read(self, batch: int) -> BatchValues:
        """Give the values of a finished batch."""
        assert self._stream is not None
        self._stream.seek(self._places[batch])
        values: BatchValues = json.loads(self._stream.readline())["values"]
        self._stream.seek(0, os.SEEK_END)
        return values

    def remove(self) -> None:
        """Remove the journal and its lock; the output is complete."""
        self.path.unlink(missing_ok=True)
        Path(self._lock.lock_file).unlink(missing_ok=True)

    def _append(self, entry: dict[str, Any], *, durable: bool) -> int:
        """Write a line; give where it begins."""
        assert self._stream is not None
        place = self._stream.tell()
        try:
            self._stream.write(json.dumps(entry, ensure_ascii=False).encode() + b"\n")
            self._stream.flush()
            if durable:
                os.fsync(self._stream.fileno())
        except OSError as error:
            raise OutputError(
                f"{self.path}: {error.strerror or error}. Finished rows are safe in it; "
                "make room, then run the same command."
            ) from error
        return place

    def _read(self) -> int:
        """Take in the finished batches; give the length of the part that is whole, in bytes."""
        if not self.path.exists():
            return 0
        whole = 0
        with self.path.open("rb") as stream:
            for number, line in enumerate(stream):
                if number == 0 and not line.startswith(_HEADER[: len(line)]):
                    raise OutputError(
                        f"{self.path} is no journal of papertune, but has the name that this prediction's must have. "
                        "Move it away, or choose another output."
                    )
                if not line.endswith(b"\n"):
                    break
                try:
                    entry = json.loads(line)
                except ValueError:
                    break
                if number == 0:
                    if entry.get("fingerprint") != self._fingerprint:
                        raise OutputError(
                            f"{self.path} keeps the rows of another prediction (another run, table or option). Finish "
                            "that one with its own command, or delete this file to give its rows up."
                        )
                elif "begin" in entry:
                    self.rows_begun += entry["rows"]
                else:
                    self._places[entry["batch"]] = whole
                whole += len(line)
        return whole

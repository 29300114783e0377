"""The journal of a prediction: its finished batches, so that a kill loses one batch and never a finished row.

It is the file OUTPUT.journal beside the output, JSON lines:

    {"fingerprint": ..., "batches": 25, "facts": {...}}     what is predicted, with which run
    {"begin": 0, "rows": 8}                                 a batch is given to the model
    {"batch": 0, "values": {column: [...]}}                 it is finished; flushed to disk before the next one begins

Each line ends in its checksum, "crc". An incomplete last line is dropped; so is all from a damaged line on, with a
warning, and it is predicted again. The values are the model's, in full precision, so a resumed prediction writes the
same bytes. A lock excludes a second writer.
"""

import hashlib
import json
import os
import warnings
import zlib
from collections.abc import Mapping, Sequence
from contextlib import suppress
from dataclasses import asdict
from pathlib import Path
from typing import IO, TYPE_CHECKING, Any

import numpy as np
from numpy.typing import NDArray

from papertune.errors import OutputError, PapertuneWarning
from papertune.files import lock_now
from papertune.kinds.values import BatchValues
from papertune.run_directory import library_versions

if TYPE_CHECKING:
    from papertune.run import Run

# The precision of a prediction that asks no model.
NO_MODEL = "no model"

# Longer facts are checksums or lists of numbers.
_MAX_SHOWN = 60

_HEADER = b'{"fingerprint": '


def prediction_facts(run: "Run", precision_name: str) -> dict[str, str | None]:
    """Return what two predictions must share to be the same: weights, rankings, precision, libraries."""
    libraries = ["papertune", "torch", "transformers", "tokenizers"]
    if run.recipe.base_bits is not None:
        libraries.append("bitsandbytes")
    if run.joins:
        libraries.append("scikit-learn")
    versions = library_versions()
    weights: dict[str, str | None] = {"the run": run.directory.weights_checksum()}
    if precision_name != NO_MODEL:
        weights["the base model"] = run.base.checksum
    if run.joins:
        joins = {name: asdict(join) for name, join in run.joins.items()}
        weights["the weights of sources"] = json.dumps(joins)
    if any(column.record_field == "rankings" for column in run.recipe.columns.values()):
        # Journals written before keywords had a confidence cannot be read.
        weights["what is kept of ranked keywords"] = "texts and confidences"
    if run.manifest.rankings:  # the journal holds keywords as chosen
        rankings = {name: asdict(ranking) for name, ranking in run.manifest.rankings.items()}
        weights["the ranking of keywords"] = json.dumps(rankings)
    if run.cascades:
        weights["--cascade"] = ", ".join(f"{name} from {each.certainty}" for name, each in run.cascades.items())
        joined = {name: asdict(join) for each in run.cascades.values() for name, join in each.joins.items()}
        weights["the weights of a cascade"] = json.dumps(joined)
    if run.best_of is not None:
        weights |= run.best_of.facts
    return {**weights, "the precision": precision_name, **{name: versions.get(name) for name in libraries}}


def changed_facts(before: Mapping[str, Any], now: Mapping[str, Any]) -> list[str]:
    """Return what differs between two predictions, with both values where people can read them."""
    changed = [key for key in dict.fromkeys([*before, *now]) if before.get(key) != now.get(key)]
    values = {key: [str(each.get(key)) for each in (before, now)] for key in changed}
    return [
        f"{key}: {one} before, now {other}" if max(len(one), len(other)) <= _MAX_SHOWN else f"{key} changed"
        for key, (one, other) in values.items()
    ]


def fingerprint(facts: Mapping[str, str | None], table: str, options: Sequence[Any]) -> str:
    """Return a hash that identifies a prediction.

    Args:
        facts: Weights, precision and libraries, see `prediction_facts`.
        table: The checksum of the table.
        options: Everything else that the output depends on, ready for JSON.
    """
    return hashlib.sha256(json.dumps([facts, table, list(options)]).encode()).hexdigest()


class Journal:
    """Stores the finished batches of one prediction. Use it as a context manager.

    Args:
        output: The output file of the prediction.
        fingerprint: Identifies the prediction, see `fingerprint`.
        batches: Number of batches.
        facts: What the fingerprint was made from, for the message about another prediction.

    Attributes:
        path: The file of the journal.
        rows_begun: Number of rows of all batches that were given to the model.
    """

    def __init__(self, output: Path, fingerprint: str, batches: int, facts: Mapping[str, Any] | None = None) -> None:
        self.path = output.with_name(f"{output.name}.journal")
        # Place of the values of each batch in the file; -1: not finished. Values are read from there when needed.
        self._places: NDArray[np.int64] = np.full(batches, -1, dtype=np.int64)
        self.rows_begun = 0
        self._fingerprint = fingerprint
        self._batches = batches
        self._facts = dict(facts or {})
        self._lock_file = output.with_name(f"{output.name}.lock")
        self._output = output
        self._stream: IO[bytes] | None = None

    def __enter__(self) -> "Journal":
        """Lock and read the journal, and open it for appending.

        Raises:
            OutputError: If another process uses it, or it belongs to another prediction.
        """
        busy = f"{self._output} is being written by another papertune process. Wait for it, or choose another file."
        self._lock = lock_now(self._lock_file, OutputError(busy), self._output.parent)
        try:
            length = self._read()
            self._stream = self.path.open("r+b" if length else "w+b")
            self._stream.seek(length)
            self._stream.truncate()
            if not length:
                header = {"fingerprint": self._fingerprint, "batches": self._batches, "facts": self._facts}
                self._append(header, durable=True)
        except OSError as error:
            self._abandon()
            raise OutputError(f"{self.path} cannot be written: {error.strerror or error}.") from error
        except BaseException:
            self._abandon()
            raise
        return self

    def __exit__(self, *_: object) -> None:
        """Close and unlock; the journal stays until `remove`."""
        if self._stream is not None:
            with suppress(OSError):  # writes buffered bytes again on a full disk, which `_append` has reported
                self._stream.close()
        self._lock.release()

    def _abandon(self) -> None:
        self._lock_file.unlink(missing_ok=True)  # nothing has begun
        self.__exit__()

    def begin(self, batch: int, rows: Sequence[int]) -> None:
        """Record that a batch is given to the model."""
        self.rows_begun += len(rows)
        self._append({"begin": batch, "rows": len(rows)}, durable=False)

    def finish(self, batch: int, values: BatchValues) -> None:
        """Store the values of a batch; they are on disk when this returns."""
        self._places[batch] = self._append({"batch": batch, "values": values}, durable=True)

    @property
    def finished(self) -> NDArray[np.bool_]:
        """Which batches are finished, bool, shape (batches,)."""
        return self._places >= 0

    def read(self, batch: int) -> BatchValues:
        """Return the values of a finished batch."""
        assert self._stream is not None
        self._stream.seek(self._places[batch])
        values: BatchValues = json.loads(self._stream.readline())["values"]
        self._stream.seek(0, os.SEEK_END)
        return values

    def remove(self) -> None:
        """Remove the journal and its lock, when the output is complete."""
        self.path.unlink(missing_ok=True)
        self._lock_file.unlink(missing_ok=True)

    def _append(self, entry: dict[str, Any], *, durable: bool) -> int:
        """Write a line; return its place in the file."""
        assert self._stream is not None
        place = self._stream.tell()
        try:
            self._stream.write(_sealed(entry))
            self._stream.flush()
            if durable:
                os.fsync(self._stream.fileno())
        except OSError as error:
            raise OutputError(
                f"{self.path}: {error.strerror or error}. It keeps all finished rows; make room, then run the same "
                "command."
            ) from error
        return place

    def _read(self) -> int:
        """Read the finished batches; return the length of all complete lines, in bytes."""
        if not self.path.exists():
            return 0
        length = 0
        with self.path.open("rb") as stream:
            for number, line in enumerate(stream):
                if number == 0 and not line.startswith(_HEADER[: len(line)]):
                    raise OutputError(
                        f"{self.path} is not a journal of papertune, but this prediction needs its name. Move it away, "
                        "or choose another output."
                    )
                if not line.endswith(b"\n"):
                    break
                entry = _opened(line)
                if entry is None or (number > 0 and "fingerprint" in entry):
                    self._report_damage(number)
                    break
                if number == 0:
                    if entry.get("fingerprint") != self._fingerprint:
                        # A journal of an earlier papertune has no facts.
                        known = entry.get("facts")
                        changed = changed_facts(known, self._facts) if known else []
                        what = "; ".join(changed) or "another run, table or option"
                        raise OutputError(
                            f"{self.path} keeps the rows of another prediction ({what}). Finish that one with its own "
                            "command, choose another output, or delete this file to discard its rows."
                        )
                elif "begin" in entry:
                    self.rows_begun += entry["rows"]
                else:
                    self._places[entry["batch"]] = length
                length += len(line)
        return length

    def _report_damage(self, number: int) -> None:
        """Report a damaged line; `number` counts from 0."""
        if number == 0:
            raise OutputError(
                f"{self.path} is damaged in its first line. Delete it; its rows are then predicted again."
            )
        warnings.warn(
            f"{self.path}, line {number + 1}: this line is damaged; the rows from there on are predicted again.",
            PapertuneWarning,
            stacklevel=2,
        )


_CRC = ', "crc": '


def _sealed(entry: dict[str, Any]) -> bytes:
    """Return an entry as a line with its checksum."""
    text = json.dumps(entry, ensure_ascii=False).encode()
    return text[:-1] + f"{_CRC}{zlib.crc32(text)}}}\n".encode()


def _opened(line: bytes) -> dict[str, Any] | None:
    """Return the entry of a whole line; None if the line is damaged."""
    begun, _, crc = line.rpartition(_CRC.encode())
    text = begun + b"}"
    if crc != f"{zlib.crc32(text)}}}\n".encode():
        return None
    entry: dict[str, Any] = json.loads(text)
    return entry

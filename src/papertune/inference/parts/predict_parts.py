"""Filling in Parquet files one by one, in memory that depends neither on their number nor on their rows."""

import warnings
from collections import Counter
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

from papertune.errors import OutputError, PapertuneWarning, TableError
from papertune.events import Listener, Progress
from papertune.files import check_place, lock_now, remove_lock
from papertune.inference.cascades import decided_in_words
from papertune.inference.journal import prediction_facts
from papertune.inference.parts.part import Part, unreadable
from papertune.inference.parts.shard import Shard
from papertune.inference.predict import Predicted
from papertune.inference.predict_table import FileOptions, predict_file
from papertune.tables import WRITABLE, read_parquet_rows

if TYPE_CHECKING:
    from papertune.run import Run

# Warnings name the line that calls `Run.predict_parts`.
_CALLER = 6


@dataclass(frozen=True)
class PredictedParts:
    """What a call has done.

    Attributes:
        parts: Number of files of the shard.
        parts_before: Number of them that were finished before.
        rows: Number of their rows.
    """

    parts: int
    parts_before: int
    rows: int


def predict_parts(
    run: "Run", paths: Sequence[Path], folder: Path, shard: Shard, options: FileOptions, listener: Listener
) -> PredictedParts:
    """Fill in the files of a shard, as described in `Run.predict_parts`."""
    mine = shard.share(_checked_paths(paths, folder))
    check_place(folder)
    parts = [Part.open(path, folder) for path in mine]
    folder.mkdir(parents=True, exist_ok=True)
    common = {
        **prediction_facts(run, run.settled_precision(options.precision)),
        "the columns to write": options.columns if isinstance(options.columns, str) else list(options.columns or []),
        "--probabilities": options.probabilities,
    }
    overall = _Overall(listener, sum(part.rows for part in parts))
    before = 0
    for number, part in enumerate(parts, start=1):
        with _locked(part):
            facts = {**common, **part.facts()}
            if part.is_finished(facts, overwrite=options.overwrite):
                before += 1
                part.discard_remains(facts)
                overall.advance(part.rows)
                continue
            listener.message(f"{part.path} ({number} of {len(parts)})")
            _predict_part(run, part, facts, options, overall)
    for text in decided_in_words(overall.decided, overall.answered):
        listener.message(text)
    if before:
        listener.message(f"{before} of {len(parts)} parts were finished before")
    return PredictedParts(len(parts), before, overall.total)


def _predict_part(run: "Run", part: Part, facts: Mapping[str, Any], options: FileOptions, overall: "_Overall") -> None:
    """Fill in one file, continuing with the first piece that is not filled in."""
    part.begin(facts, overwrite=options.overwrite)
    shown: set[str] = set()
    for number, rows in enumerate(part.pieces):
        file = part.piece_file(number)
        if not file.exists() or file.with_name(f"{file.name}.journal").exists():
            with _shown_once(shown, str(file), f"{part.target}, rows {rows.start + 1:,} to {rows.stop:,}"):
                overall.count(predict_file(run, read_parquet_rows(part.path, rows), file, options, overall))
        _check_same_columns(part, number)
        overall.advance(len(rows))
    part.finish(facts)


def _check_same_columns(part: Part, number: int) -> None:
    """Check that a piece has the columns of the first one: some columns are made from what cells contain."""
    import polars as pl

    first, here = (pl.read_parquet_schema(part.piece_file(each)) for each in (0, number))
    if first != here:
        names = sorted(dict(first.items() ^ here.items()))
        rows = part.pieces[number]
        raise TableError(
            f"{part.path}, rows {rows.start + 1:,} to {rows.stop:,}: the output has other columns here than in the "
            f"rows before ({', '.join(names)}). Name the columns to write with --columns."
        )


def _checked_paths(paths: Sequence[Path], folder: Path) -> Sequence[Path]:
    """Check what can be seen of all parts at once, in all shards alike.

    Raises:
        TableError: With each file that is no Parquet file, is not there, or has the name of another one.
        OutputError: If the folder is named like a table, or a part would be replaced by its output.
    """
    if folder.suffix.lower() in WRITABLE:
        raise OutputError(f"{folder}: parts go into a folder, not into a file. Name a folder, such as {folder.stem}.")
    problems = []
    first: dict[str, Path] = {}
    for path in paths:
        if path.suffix.lower() != ".parquet":
            problems.append(f"{path} is no .parquet file; several tables are filled in only as Parquet parts.")
        elif (other := first.setdefault(path.name.lower(), path)) is not path:
            problems.append(f"{path} has the same name as {other}, so their outputs would be the same file.")
        else:
            try:
                path.stat()
            except OSError as error:
                problems.append(unreadable(path, error))
    if problems:
        raise TableError.collect("the parts cannot be filled in", problems)
    inside = [path for path in paths if path.absolute().parent.resolve() == folder.resolve()]
    if inside:
        raise OutputError(f"{inside[0]} lies in {folder}, so it would be replaced. Choose another folder.")
    return paths


@contextmanager
def _locked(part: Part) -> Iterator[None]:
    """Exclude other processes from a part.

    Raises:
        OutputError: If one works on it.
    """
    busy = f"{part.target} is being written by another papertune process. Give each process a shard of its own."
    lock = lock_now(part.target.with_name(f"{part.target.name}.lock"), OutputError(busy), part.target.parent)
    try:
        yield
    finally:
        remove_lock(lock)


@contextmanager
def _shown_once(shown: set[str], file: str, where: str) -> Iterator[None]:
    """Let each warning through once, with the place in the part instead of the file of a piece."""
    with warnings.catch_warnings(record=True) as caught:
        warnings.simplefilter("always")
        try:
            yield
        finally:
            texts = [str(each.message).replace(file, where) for each in caught]
    for warning, text in zip(caught, texts, strict=True):
        if not issubclass(warning.category, PapertuneWarning):
            warnings.warn_explicit(warning.message, warning.category, warning.filename, warning.lineno)
        elif text not in shown:
            shown.add(text)
            warnings.warn(text, PapertuneWarning, stacklevel=_CALLER)


class _Overall:
    """Passes on the progress of a piece as progress of all parts, and what pieces report alike once.

    Args:
        listener: Gets it.
        total: Number of rows of all parts.

    Attributes:
        decided: As in `Predicted`, of all pieces together.
        answered: As in `Predicted`, of all pieces together.
    """

    def __init__(self, listener: Listener, total: int) -> None:
        self.total = total
        self.decided: Counter[str] = Counter()
        self.answered = 0
        self._listener = listener
        self._before = 0
        self._passed_on: set[str] = set()

    def count(self, predicted: Predicted) -> None:
        """Count the rows of a piece that needed no model."""
        self.decided.update(predicted.decided)
        self.answered += predicted.answered

    def advance(self, rows: int) -> None:
        """Count the rows of a piece or part that is finished."""
        self._before += rows

    def message(self, text: str) -> None:
        """Pass on a line of text, unless an earlier piece has reported the same."""
        if text not in self._passed_on:
            self._passed_on.add(text)
            self._listener.message(text)

    def progress(self, step: Progress) -> None:
        """Pass on a batch of rows; the rows of later pieces are estimated at the same rate."""
        later = self.total - self._before - step.total
        left = step.seconds_left + later / max(step.rows_per_s, 1e-9)
        self._listener.progress(Progress("rows", self._before + step.done, self.total, step.rows_per_s, left))

    def metrics(self, step: int, values: Mapping[str, float]) -> None:
        """Pass on numbers."""
        self._listener.metrics(step, values)

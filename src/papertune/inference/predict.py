"""Predicting all rows of a table, with or without a journal."""

import math
import time
from collections.abc import Callable, Generator, Iterable, Iterator, Mapping, Sequence
from concurrent.futures import Future, ThreadPoolExecutor
from contextlib import closing
from dataclasses import dataclass, field

import numpy as np
from numpy.typing import NDArray

from papertune.decoding.overflow import no_numbers
from papertune.events import SILENT, Listener, Progress
from papertune.inference.batches import BatchPredictor
from papertune.inference.journal import Journal
from papertune.inference.plan import Plan, RowPrompts
from papertune.kinds.values import BatchValues, ColumnValues
from papertune.prompts.examples import RowReader
from papertune.recipe import Recipe

# Answers the batches with these numbers, in any order; yields each with its number.
Answering = Callable[[list[int]], Iterable[tuple[int, BatchValues]]]


@dataclass(frozen=True)
class Predicted:
    """The predictions for a table.

    Attributes:
        values: For each column of the recipe the values of all rows, in table order. For a label or labels column these
            are probabilities in the recipe's order, float64, shape (rows, labels), NaN in rows without the question;
            for a keywords column a polars series of text, null in those rows.
        rows: Number of rows of the table.
        rows_begun: Number of rows given to the model, including those of a journal; more than the rows of the table if
            a batch was lost by a kill.
        decided: With a cascade by column the number of rows that were answered without the model here, not by other
            processes.
        answered: The number of rows that were answered here.
    """

    values: dict[str, ColumnValues]
    rows: int
    rows_begun: int
    decided: Mapping[str, int] = field(default_factory=dict)
    answered: int = 0


def predict_rows(
    predictor: BatchPredictor,
    reader: RowReader,
    plan: Plan,
    *,
    journal: Journal | None = None,
    listener: Listener = SILENT,
) -> Predicted:
    """Run a plan, batch by batch.

    Args:
        predictor: Answers a batch.
        reader: Reads the rows.
        plan: The batches, of all rows of the table.
        journal: Stores finished batches; those that it already has are skipped.
        listener: Gets the progress after each batch.

    Raises:
        ModelError: If the model's numbers overflow, or a single prompt does not fit into the memory of a GPU.
    """

    def answering(numbers: list[int]) -> Iterator[tuple[int, BatchValues]]:
        batches = (plan.batches[number] for number in numbers)
        with closing(encode_batches(predictor, reader, batches)) as encoded:
            for number, prompts in zip(numbers, encoded, strict=True):
                rows = plan.batches[number]
                if journal is not None:
                    journal.begin(number, rows)
                yield number, predictor.answer(reader, rows, prompts)

    return collect_rows(answering, predictor.recipe, plan, journal=journal, listener=listener)


def encode_batches(
    predictor: BatchPredictor, reader: RowReader, batches: Iterable[Sequence[int]]
) -> Generator[list[RowPrompts], None, None]:
    """Yield the prompts of batches; with `encodes_ahead` a thread encodes a batch while the one before is answered.

    Tokenizers release Python's global lock, so the model hardly waits.
    """
    if not predictor.encodes_ahead:
        yield from (predictor.encode(reader, rows) for rows in batches)
        return
    with ThreadPoolExecutor(max_workers=1) as thread:
        ahead: Future[list[RowPrompts]] | None = None
        for rows in batches:
            before, ahead = ahead, thread.submit(predictor.encode, reader, rows)
            if before is not None:
                yield before.result()
        if ahead is not None:
            yield ahead.result()


def collect_rows(
    answering: Answering, recipe: Recipe, plan: Plan, *, journal: Journal | None, listener: Listener
) -> Predicted:
    """Answer the batches of a plan that a journal lacks, store them there, and put all values into table order.

    Args:
        answering: Answers batches, and records in the journal which ones it begins.
        recipe: The columns to predict.
        plan: The batches, of all rows of the table.
        journal: Stores finished batches.
        listener: Gets the progress after each batch.

    Raises:
        ModelError: If the model's numbers overflow.
    """
    rows = len(plan.batches.rows)
    collectors = {name: column.collector(name, rows) for name, column in recipe.columns.items()}

    def put(number: int, values: BatchValues) -> None:
        for collector in collectors.values():
            collector.put(plan.batches[number], values)

    finished = np.zeros(len(plan.batches), dtype=np.bool_) if journal is None else journal.finished
    for number in np.flatnonzero(finished).tolist():
        assert journal is not None
        put(number, journal.read(number))
    pace = Pace(plan, listener, finished)
    for number, values in answering(np.flatnonzero(~finished).tolist()):
        _check_finite(values)
        if journal is not None:
            journal.finish(number, values)
        put(number, values)
        pace.finish(number)
    values_by_column = {name: collector.values() for name, collector in collectors.items()}
    return Predicted(values_by_column, rows, journal.rows_begun if journal else rows)


class Pace:
    """Reports the progress of a plan and the time left, if the rest has the same tokens per second.

    Args:
        plan: The plan.
        listener: Gets the progress.
        finished: Batches that were finished before, bool, shape (batches,); None: none.
    """

    def __init__(self, plan: Plan, listener: Listener, finished: NDArray[np.bool_] | None = None) -> None:
        self._plan = plan
        self._listener = listener
        done = np.zeros(len(plan.batches), dtype=np.bool_) if finished is None else finished
        self._rows_before = sum(len(plan.batches[number]) for number in np.flatnonzero(done).tolist())
        self._tokens_left = int(plan.tokens[~done].sum())
        self._begun = time.monotonic()
        self._rows = self._tokens = 0

    def finish(self, number: int) -> None:
        """Report that a batch is finished."""
        self._rows += len(self._plan.batches[number])
        tokens = int(self._plan.tokens[number])
        self._tokens += tokens
        self._tokens_left -= tokens
        seconds = max(time.monotonic() - self._begun, 1e-9)
        left = seconds * self._tokens_left / max(self._tokens, 1)
        done, total = self._rows_before + self._rows, len(self._plan.batches.rows)
        self._listener.progress(Progress("rows", done, total, self._rows / seconds, left))


def _check_finite(values: BatchValues) -> None:
    for name, cells in values.items():
        for cell in cells:
            if isinstance(cell, list) and not all(map(math.isfinite, cell)):
                raise no_numbers(name)

"""All rows of a table through a predictor, with or without a journal."""

import math
import time
from collections.abc import Callable
from dataclasses import dataclass

from papertune.inference.journal import BatchValues, Journal
from papertune.inference.plan import Plan
from papertune.inference.predictor import Predictor, Value, no_numbers
from papertune.tasks import RowReader

# Told after each batch: rows done, rows in all, rows/s so far, seconds left.
Tick = Callable[[int, int, float, float], None]


@dataclass(frozen=True)
class Predicted:
    """What the model said of a table.

    Attributes:
        values: For each column of the recipe a value for each row, in table order.
        rows_begun: Rows that went into the model, those of a journal included; more than the rows of the table where
            a kill cost a batch.
    """

    values: dict[str, list[Value | None]]
    rows_begun: int


def predict_rows(
    predictor: Predictor, reader: RowReader, plan: Plan, *, journal: Journal | None = None, tick: Tick | None = None
) -> Predicted:
    """Run a plan, batch by batch.

    Args:
        predictor: Answers a batch.
        reader: Reads the rows.
        plan: The batches, of all rows of the table.
        journal: Keeps finished batches; those that it has already are not done again.
        tick: Told after each batch.

    Raises:
        ModelError: If the model's numbers overflow.
    """
    rows = sum(len(batch) for batch in plan.batches)
    values: dict[str, list[Value | None]] = {name: [None] * rows for name in predictor.recipe.columns}
    finished = dict(journal.finished) if journal else {}
    todo_tokens = sum(n for number, n in enumerate(plan.tokens) if number not in finished)
    begun, done_rows, new_rows, new_tokens = time.monotonic(), 0, 0, 0
    for number, batch in enumerate(plan.batches):
        answers: BatchValues
        if number in finished:
            answers = finished[number]
        else:
            if journal is not None:
                journal.begin(number, batch)
            answers = predictor.answer(reader, batch)
            _check_finite(answers)
            if journal is not None:
                journal.finish(number, answers)
            new_rows += len(batch)
            new_tokens += plan.tokens[number]
        for name, cells in answers.items():
            for row, cell in zip(batch, cells, strict=True):
                values[name][row] = cell
        done_rows += len(batch)
        if tick is not None and new_rows:
            seconds = time.monotonic() - begun
            tick(done_rows, rows, new_rows / seconds, seconds * (todo_tokens - new_tokens) / max(new_tokens, 1))
    return Predicted(values, journal.rows_begun if journal else rows)


def _check_finite(answers: BatchValues) -> None:
    for name, values in answers.items():
        for value in values:
            if isinstance(value, list) and not all(map(math.isfinite, value)):
                raise no_numbers(name)

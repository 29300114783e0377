"""Simple baselines of a text column."""

import time
from collections.abc import Callable, Sequence

from papertune.evaluation.systems.baselines import majority
from papertune.evaluation.systems.outputs import Fill, SystemOutput, TrainingRows, rows_per_s
from papertune.kinds.predictions import Predictions
from papertune.kinds.text.column import TextColumn
from papertune.kinds.text.sentences import first_sentence, last_sentence, without_shared_beginning


def baselines(column: TextColumn) -> dict[str, Fill]:
    """Return the baselines by the names that reports show, the strongest first."""
    return {
        "first sentence": lambda learned, documents: _sentence(first_sentence, learned, documents),
        "last sentence": lambda learned, documents: _sentence(last_sentence, learned, documents),
        "most frequent answer": lambda learned, documents: _most_frequent(column, learned, documents),
    }


def _sentence(choose: Callable[[str], str], learned: TrainingRows, documents: Sequence[str]) -> SystemOutput:
    started = time.monotonic()
    cells = [choose(text) for text in without_shared_beginning(documents, [*learned.documents, *documents])]
    return SystemOutput(Predictions(cells), rows_per_s(len(documents), started), 0.0, 0)


def _most_frequent(column: TextColumn, learned: TrainingRows, documents: Sequence[str]) -> SystemOutput:
    started = time.monotonic()
    cells = [column.cell_of(answer) for answer in majority(learned.answers, len(documents))]
    return SystemOutput(Predictions(cells), rows_per_s(len(documents), started), 0.0, 0)

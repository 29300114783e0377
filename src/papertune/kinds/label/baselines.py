"""Simple baselines of a label column."""

import time
from collections.abc import Sequence

from papertune.evaluation.systems.baselines import TfidfLogistic, majority
from papertune.evaluation.systems.outputs import Fill, SystemOutput, TrainingRows, rows_per_s
from papertune.kinds.label.column import LabelColumn
from papertune.kinds.predictions import Predictions


def baselines(column: LabelColumn) -> dict[str, Fill]:
    """Return the baselines by the names that reports show, the strongest first."""
    return {
        "TF-IDF + logistic regression": lambda learned, documents: _logistic(column, learned, documents),
        "majority": most_frequent,
    }


def most_frequent(learned: TrainingRows, documents: Sequence[str]) -> SystemOutput:
    """Predict the most frequent cell of the training rows for every document."""
    started = time.monotonic()
    cells = majority(learned.answers, len(documents))
    return SystemOutput(Predictions(cells), rows_per_s(len(documents), started), 0.0, 0)


def _logistic(column: LabelColumn, learned: TrainingRows, documents: Sequence[str]) -> SystemOutput:
    started = time.monotonic()
    model = TfidfLogistic(learned.documents, learned.answers, column.labels)
    trained = time.monotonic()
    cells, probabilities = model.predict(documents)
    rate = rows_per_s(len(documents), trained)
    return SystemOutput(Predictions(cells, probabilities.tolist()), rate, trained - started, model.parameters)

"""Simple baselines of a label column."""

import time
from collections.abc import Sequence

from papertune.evaluation.systems.baselines import TfidfLogistic, majority
from papertune.evaluation.systems.elas_u4 import ElasU4
from papertune.evaluation.systems.outputs import Fill, SystemOutput, TrainingRows, rows_per_s
from papertune.kinds.label.column import LabelColumn
from papertune.kinds.predictions import Predictions


def baselines(column: LabelColumn) -> dict[str, Fill]:
    """Return the baselines by the names that reports show, the strongest first; ELAS u4 needs two labels."""
    systems: dict[str, Fill] = {
        "TF-IDF + logistic regression": lambda learned, documents: _logistic(column, learned, documents)
    }
    if len(column.labels) == 2:
        systems["ELAS u4"] = lambda learned, documents: _elas_u4(column, learned, documents)
    return {**systems, "majority": most_frequent}


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


def _elas_u4(column: LabelColumn, learned: TrainingRows, documents: Sequence[str]) -> SystemOutput:
    """Rank documents by the first label, which is what is looked for, and label them by probability."""
    started = time.monotonic()
    relevant, other = column.labels
    model = ElasU4(learned.documents, [answer == relevant for answer in learned.answers], documents)
    seconds = time.monotonic() - started
    rate = rows_per_s(len(documents), started)  # with the training: both look at all documents
    probabilities = [[float(p), float(1 - p)] for p in model.probabilities]
    cells = [relevant if p >= 0.5 else other for p in model.probabilities]
    note = "ranks as ASReview does; labels by probability"
    return SystemOutput(Predictions(cells, probabilities), rate, seconds, model.parameters, note)

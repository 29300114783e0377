"""Simple baselines of a labels column."""

import time
from collections.abc import Sequence

from papertune.evaluation.systems.multilabel_baselines import TfidfOneVsRest
from papertune.evaluation.systems.outputs import Fill, SystemOutput, TrainingRows, rows_per_s
from papertune.kinds.label.baselines import most_frequent
from papertune.kinds.labels.column import LabelsColumn
from papertune.kinds.labels.matrix import label_cells_of, label_matrix
from papertune.kinds.predictions import Predictions


def baselines(column: LabelsColumn) -> dict[str, Fill]:
    """Return the baselines by the names that reports show, the strongest first."""
    return {
        "TF-IDF + one-vs-rest logistic regression": lambda learned, documents: _one_vs_rest(column, learned, documents),
        "majority": most_frequent,
    }


def _one_vs_rest(column: LabelsColumn, learned: TrainingRows, documents: Sequence[str]) -> SystemOutput:
    started = time.monotonic()
    model = TfidfOneVsRest(learned.documents, label_matrix(learned.answers, column))
    trained = time.monotonic()
    has, probabilities = model.predict(documents)
    rate = rows_per_s(len(documents), trained)
    predictions = Predictions(label_cells_of(has, column), probabilities.tolist())
    return SystemOutput(predictions, rate, trained - started, model.parameters, note="thresholds by cross-validation")

"""The dev score of a model in training: the scores of its columns."""

from collections.abc import Mapping, Sequence
from typing import Any

import torch

from papertune.evaluation.predictions import predictions_of_values, score_predictions
from papertune.events import SILENT, Listener
from papertune.inference.predict import predict_rows
from papertune.inference.predictor import Predictor
from papertune.kinds.base import PredictedTable
from papertune.prompts.examples import RowReader
from papertune.recipe import Recipe
from papertune.tables import Table


class DevScore:
    """Scores a model on dev rows.

    Args:
        tables: The dev tables; the measures are means over them, weighted by rows.
        recipe: The columns.
        tokenizer: The model's tokenizer.
        dtype: Number format of the products.
        listener: Gets the progress after each batch.
    """

    def __init__(
        self, tables: Sequence[Table], recipe: Recipe, tokenizer: Any, dtype: torch.dtype, listener: Listener = SILENT
    ) -> None:
        self._tables = tables
        self._recipe = recipe
        self._tokenizer = tokenizer
        self._dtype = dtype
        self._listener = listener

    def __call__(self, model: Any) -> dict[str, float]:
        """Return the measures of each column, and as "score" the mean of their main scores.

        The main scores are macro F1 of a label column, with two labels the mean of macro F1 and average precision,
        micro F1 of a labels column, F1@5 of keywords, ROUGE-L of free text, and the share of numbers within the
        tolerance.
        """
        from papertune.training.layers.prediction import predicting_copy  # late: others need the means only

        # Weights that several processes share are not all here.
        is_shared = torch.distributed.is_available() and torch.distributed.is_initialized()
        own = None if is_shared else predicting_copy(model, self._dtype)
        predictor = Predictor(model if own is None else own, self._tokenizer, self._recipe)
        device = next(model.parameters()).device.type
        needs_autocast = own is None and self._dtype != torch.float32
        means = RowMeans()
        for table in self._tables:
            reader = RowReader(table, self._recipe)
            plan = predictor.plan(reader, range(len(table)))
            with torch.autocast(device, self._dtype, enabled=needs_autocast):
                values = predict_rows(predictor, reader, plan, listener=self._listener).values
            # Thresholds are chosen again after the training. Until then the best ones for these rows are used, since at
            # 0.5 a good model may never predict a rare label.
            rows = range(len(table))
            predicted = {name: [PredictedTable(each, reader, rows)] for name, each in values.items()}
            recipe = self._recipe.with_best_thresholds(predicted)
            predictions = predictions_of_values(values, recipe)
            for name, scores in score_predictions(predictions, reader, recipe, rows).items():
                measures = {f"{name}_{key}": value for key, value in scores.dev_measures().items()}
                means.add({f"{name}_score": scores.main, **measures}, scores.rows)
        found = means.values()
        main = [found.pop(f"{name}_score") for name in self._recipe.columns if f"{name}_score" in found]
        return {**found, "score": sum(main) / len(main)}


class RowMeans:
    """Means of measures over tables, weighted by rows."""

    def __init__(self) -> None:
        self._sums: dict[str, float] = {}
        self._rows: dict[str, int] = {}

    def add(self, measures: Mapping[str, float], rows: int) -> None:
        """Add the measures of a table with this number of rows."""
        for key, value in measures.items():
            self._sums[key] = self._sums.get(key, 0.0) + value * rows
            self._rows[key] = self._rows.get(key, 0) + rows

    def values(self) -> dict[str, float]:
        """Return the mean of each measure over the tables that have it."""
        return {key: total / self._rows[key] for key, total in self._sums.items()}

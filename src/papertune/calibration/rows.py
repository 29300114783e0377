"""Predictions for dev rows, for calibration, in the precision in which the run predicts by default."""

from collections.abc import Sequence
from copy import copy
from dataclasses import replace
from typing import Any

from papertune.events import SILENT, Listener
from papertune.inference.predict import Pace, predict_rows
from papertune.inference.predictor import Predictor
from papertune.kinds.base import PredictedTable
from papertune.models import PredictionPrecision
from papertune.prompts.examples import RowReader
from papertune.run import Run
from papertune.run_directory import trained_columns
from papertune.tables import Table


def predict_values(
    run: Run,
    tables: Sequence[Table],
    names: Sequence[str],
    listener: Listener = SILENT,
    precision: PredictionPrecision = "auto",
) -> dict[str, list[PredictedTable]]:
    """Predict columns of tables with the model.

    Args:
        run: The run.
        tables: The tables.
        names: The columns.
        listener: Gets progress.
        precision: Number format of the weights.

    Returns:
        For each column the values of each table.
    """
    recipe = run.recipe.only(tuple(names))
    predictor = run.model_predictor(precision)
    found: dict[str, list[PredictedTable]] = {name: [] for name in names}
    for table in tables:
        reader, rows = RowReader(table, recipe), range(len(table))
        values = predict_rows(predictor, reader, predictor.plan(reader, rows), listener=listener).values
        for name in names:
            found[name].append(PredictedTable(values[name], reader, rows))
    return found


def find_candidates(
    run: Run, tables: Sequence[Table], names: Sequence[str], listener: Listener = SILENT
) -> dict[str, list[PredictedTable]]:
    """Find all candidates of columns that choose among several, for the rows with a gold answer.

    Args:
        run: The run.
        tables: The tables.
        names: The columns.
        listener: Gets progress.

    Returns:
        For each column the candidates of each table; none for a column that no model has learned.
    """
    recipe = run.recipe.only(tuple(names))
    learned = trained_columns(recipe)
    unranked = copy(run)  # with a ranking, candidates that cannot be chosen are not looked for
    unranked.manifest = replace(run.manifest, rankings={})
    predictor = unranked.model_predictor() if learned else None
    found: dict[str, list[PredictedTable]] = {name: [] for name in names}
    for table in tables:
        reader = RowReader(table, recipe)
        rows = [
            row
            for row in range(len(table))
            if any(column.has_gold(reader, row, name) for name, column in recipe.columns.items())
        ]
        candidates: dict[str, dict[int, Any]] = {name: {row: [] for row in rows} for name in names}
        if predictor is not None:
            _search(predictor, reader.only(learned), {name: candidates[name] for name in learned}, listener)
        for name in names:
            found[name].append(PredictedTable(list(candidates[name].values()), reader, rows, run.decisions[name]))
    return found


def _search(predictor: Predictor, reader: RowReader, candidates: dict[str, dict[int, Any]], listener: Listener) -> None:
    """Fill in the candidates of rows, by column and row."""
    plan = predictor.plan(reader, list(next(iter(candidates.values()))))
    pace = Pace(plan, listener)
    for number, batch in enumerate(plan.batches):
        cells = predictor.find_candidates(reader, batch)
        for name, found in candidates.items():
            found.update(zip(batch, cells[name], strict=True))
        pace.finish(number)

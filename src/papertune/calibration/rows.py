"""Dev rows through a run's model, for calibration.

They go through it in the precision in which the run predicts by itself, so what is fitted fits what predicts.
"""

from collections.abc import Sequence

from papertune.events import SILENT, Listener
from papertune.inference.predict import Pace, predict_rows
from papertune.inference.predictor import Predictor
from papertune.kinds.base import PredictedTable
from papertune.models import PredictionPrecision
from papertune.prompts.examples import RowReader
from papertune.run import Run
from papertune.tables import Table


def predict_tables(
    run: Run,
    tables: Sequence[Table],
    names: Sequence[str],
    listener: Listener = SILENT,
    precision: PredictionPrecision = "auto",
) -> dict[str, list[PredictedTable]]:
    """Predict columns of tables, or find their candidates.

    Args:
        run: The run.
        tables: The tables.
        names: The columns, all calibrated on candidates or none.
        listener: Gets progress.
        precision: Of the weights.

    Returns:
        By column what was found for each table.
    """
    recipe = run.recipe.only(tuple(names))
    predictor = run.predictor(precision)
    found: dict[str, list[PredictedTable]] = {name: [] for name in names}
    on_candidates = all(column.is_calibrated_on_candidates for column in recipe.columns.values())
    for table in tables:
        reader = RowReader(table, recipe)
        if on_candidates:
            rows = [
                row
                for row in range(len(table))
                if any(column.has_gold(reader, row, name) for name, column in recipe.columns.items())
            ]
            for name, values in _candidates(predictor, reader, rows, listener).items():
                if name in found:
                    found[name].append(PredictedTable(values, reader, rows))
        else:
            plan = predictor.plan(reader, range(len(table)))
            for name, column in predict_rows(predictor, reader, plan, listener=listener).values.items():
                if name in found:
                    found[name].append(PredictedTable(column, reader, range(len(table))))
    return found


def _candidates(
    predictor: Predictor, reader: RowReader, rows: Sequence[int], listener: Listener
) -> dict[str, list[object]]:
    """Return the candidates of some rows, in their order, by column."""
    plan = predictor.plan(reader, rows)
    pace = Pace(plan, listener)
    by_row: dict[str, dict[int, object]] = {}
    for number, batch in enumerate(plan.batches):
        for name, cells in predictor.find_candidates(reader, batch).items():
            by_row.setdefault(name, {}).update(zip(batch, cells, strict=True))
        pace.finish(number)
    return {name: [cells[row] for row in rows] for name, cells in by_row.items()}

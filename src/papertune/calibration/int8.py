"""Whether a run predicts as well in int8 as in float32: found out on its own dev rows, before it is calibrated."""

from collections.abc import Sequence

from papertune.events import SILENT, Listener
from papertune.evaluation.dev_score import RowMeans
from papertune.evaluation.predictions import predictions_of_values, score_predictions
from papertune.inference.predict import predict_rows
from papertune.kinds.labels.thresholds import with_f1_thresholds
from papertune.kinds.values import ColumnValues
from papertune.models import PredictionPrecision
from papertune.prompts.examples import RowReader
from papertune.recipe import Recipe
from papertune.run import Run
from papertune.run_directory import Int8Check
from papertune.tables import Table


def compare_int8(run: Run, tables: Sequence[Table], listener: Listener = SILENT) -> Int8Check:
    """Predict tables in float32 and in int8, and compare the cells that would be written.

    What is calibrated is calibrated afterwards, in the precision that has won. So a labels column that asks for the
    thresholds with the best F1 is scored with those of each precision. All rows go through the model in float32, then
    all in int8: the two are never in memory together.

    Args:
        run: A run whose model is or can be on the CPU.
        tables: Tables with the true columns.
        listener: Gets the progress after each batch.

    Raises:
        ModelError: If the model cannot be put into int8.
    """
    recipe = run.recipe
    labels = changed = 0
    means = RowMeans(), RowMeans()
    full, low = (_predicted(run, tables, precision, listener) for precision in ("fp32", "int8"))
    scored = [with_f1_thresholds(recipe, _with_truth(tables, recipe, values))[0] for values in (full, low)]
    for table, *values in zip(tables, full, low, strict=True):
        reader, rows = RowReader(table, recipe), range(len(table))
        for name, column in recipe.columns.items():
            if column.has_discrete_cells:
                cells = [column.cells(each[name], run.decisions[name]).to_list() for each in values]
                # A row that was not asked has no cell; an empty one is an answer.
                asked = [(cell, other) for cell, other in zip(*cells, strict=True) if cell is not None]
                labels += len(asked)
                changed += sum(1 for cell, other in asked if cell != other)
        for each, thresholds, mean in zip(values, scored, means, strict=True):
            predictions = predictions_of_values(each, thresholds, run.decisions)
            for name, score in score_predictions(predictions, reader, thresholds, rows).items():
                mean.add({name: score.agreement}, score.rows)
    in_full, in_low = (mean.values() for mean in means)
    both = {name: (in_full[name], in_low[name]) for name in in_full}
    return Int8Check(sum(map(len, tables)), labels, changed, both)


def _predicted(
    run: Run, tables: Sequence[Table], precision: PredictionPrecision, listener: Listener
) -> list[dict[str, ColumnValues]]:
    """Return what a run says of each table in a precision, by column."""
    predictor = run.predictor(precision)
    values = []
    for table in tables:
        reader = RowReader(table, run.recipe)
        values.append(
            predict_rows(predictor, reader, predictor.plan(reader, range(len(table))), listener=listener).values
        )
    return values


def _with_truth(
    tables: Sequence[Table], recipe: Recipe, values: Sequence[dict[str, ColumnValues]]
) -> list[tuple[dict[str, ColumnValues], RowReader, int]]:
    return [(each, RowReader(table, recipe), len(table)) for table, each in zip(tables, values, strict=True)]

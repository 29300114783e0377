"""Whether a run predicts as well in int8 as in float32, measured on its dev rows before calibration."""

from collections.abc import Sequence

from papertune.calibration.rows import predict_values
from papertune.evaluation.dev_score import RowMeans
from papertune.events import SILENT, Listener
from papertune.manifest import Int8Check
from papertune.run import Run
from papertune.run_directory import trained_columns
from papertune.tables import Table


def compare_int8(run: Run, tables: Sequence[Table], listener: Listener = SILENT) -> Int8Check:
    """Predict what the model has learned in float32 and in int8, and compare the cells that would be written.

    Calibration comes afterwards, in the precision that is chosen here. A labels column that asks for the thresholds
    with the best F1 is therefore scored with the best thresholds of each precision. All rows go through the model in
    float32, then all in int8: the two are never in memory together.

    Args:
        run: A run whose model is or can be on the CPU.
        tables: Tables with gold columns.
        listener: Gets the progress after each batch.

    Raises:
        ModelError: If the model cannot be converted to int8.
    """
    recipe = run.recipe.only(trained_columns(run.recipe))
    names = list(recipe.columns)
    labels = changed = 0
    means = RowMeans(), RowMeans()
    full, low = (predict_values(run, tables, names, listener, precision) for precision in ("fp32", "int8"))
    scored = [recipe.with_best_thresholds(predicted) for predicted in (full, low)]
    for name, column in recipe.columns.items():
        for pair in zip(full[name], low[name], strict=True):
            if column.has_discrete_cells:
                cells = [column.cells(each.values, run.decisions[name]).to_list() for each in pair]
                # A row that was not asked has no cell; an empty one is an answer.
                asked = [(cell, other) for cell, other in zip(*cells, strict=True) if cell is not None]
                labels += len(asked)
                changed += sum(1 for cell, other in asked if cell != other)
            for each, thresholds, mean in zip(pair, scored, means, strict=True):
                spec = thresholds.columns[name]
                predictions = spec.predictions(each.values, run.decisions[name])
                score = spec.score(predictions, each.reader, name, each.rows)
                if score is not None:
                    mean.add({name: score.agreement}, score.rows)
    in_full, in_low = (mean.values() for mean in means)
    both = {name: (in_full[name], in_low[name]) for name in in_full}
    return Int8Check(sum(map(len, tables)), labels, changed, both)

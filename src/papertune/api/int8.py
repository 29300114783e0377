"""Whether a run predicts as well in int8 as in float32: found out on its own dev rows."""

from collections.abc import Sequence

from papertune.api.run import Run
from papertune.config import LabelColumn, LabelsColumn
from papertune.evaluation.answers import Answers, answers_of_values, main_score, score_answers
from papertune.evaluation.dev_score import RowMeans
from papertune.evaluation.label_scores import LabelScores
from papertune.inference.predict import Tick, predict_rows
from papertune.models import PredictionPrecision
from papertune.runs import Int8Check
from papertune.tables import Table
from papertune.tasks import RowReader


def compare_int8(run: Run, tables: Sequence[Table], tick: Tick | None = None) -> Int8Check:
    """Predict tables in float32 and in int8, and compare the cells that would be written.

    So the run must have its calibration and thresholds already. All rows go through the model in float32, then all in
    int8: the two are never in memory together.

    Args:
        run: A run whose model is or can be on the CPU.
        tables: Tables with the true columns.
        tick: Told after each batch.

    Raises:
        ModelError: If the model cannot be put into int8.
    """
    recipe = run.recipe
    labels = changed = 0
    means = RowMeans(), RowMeans()
    full, low = _answers(run, tables, "fp32", tick), _answers(run, tables, "int8", tick)
    for table, *said in zip(tables, full, low, strict=True):
        scores = [score_answers(answers, RowReader(table, recipe), recipe, range(len(table))) for answers in said]
        for name, column in recipe.columns.items():
            if isinstance(column, LabelColumn | LabelsColumn):
                pairs = zip(said[0][name].cells, said[1][name].cells, said[0][name].probabilities or (), strict=True)
                # A row that is not asked has no probabilities; an empty cell of one that is asked is an answer.
                asked = [(cell, other) for cell, other, likely in pairs if likely]
                labels += len(asked)
                changed += sum(1 for cell, other in asked if cell != other)
        for each, mean in zip(scores, means, strict=True):
            for name, score in each.items():
                mean.add({name: score.accuracy if isinstance(score, LabelScores) else main_score(score)}, score.rows)
    in_full, in_low = (mean.values() for mean in means)
    both = {name: (in_full[name], in_low[name]) for name in in_full}
    return Int8Check(sum(map(len, tables)), labels, changed, both)


def _answers(
    run: Run, tables: Sequence[Table], precision: PredictionPrecision, tick: Tick | None
) -> list[dict[str, Answers]]:
    """Give what a run says of each table in a precision."""
    predictor = run.predictor(precision)
    answers = []
    for table in tables:
        reader = RowReader(table, run.recipe)
        values = predict_rows(predictor, reader, predictor.plan(reader, range(len(table))), tick=tick).values
        answers.append(answers_of_values(values, run.recipe, run.decisions))
    return answers

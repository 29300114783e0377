"""The rows of a report that a person should look at, from the tables and the answers."""

from dataclasses import replace

from papertune.config import LabelColumn, Recipe
from papertune.evaluation.answers import Answers
from papertune.evaluation.label_noise import find_label_noise
from papertune.evaluation.report.data import ColumnReport
from papertune.evaluation.review import confident_mistakes, judged_rows, least_sure
from papertune.tables import Table


def with_rows_to_look_at(
    column: ColumnReport, answers: Answers, scored: Table, learnt: Table | None, recipe: Recipe
) -> ColumnReport:
    """Add a run's mistakes, the rows that it is least sure of and the labels that may be wrong to a label column.

    Args:
        column: What is told about the column so far; of another kind it is given back as it is.
        answers: What the run said, for each row of the scored table.
        scored: The table with the true labels.
        learnt: The table that the run learnt from, if there is one to look at. Doubtful labels are then looked for
            there, where they do harm and there are mostly more rows; otherwise in the scored table.
        recipe: The recipe with the column.
    """
    if not isinstance(recipe.columns[column.name], LabelColumn):
        return column
    rows = judged_rows(answers, scored, recipe, column.name)
    noise = None if learnt is None else find_label_noise(learnt, recipe, column.name)
    return replace(
        column,
        mistakes=confident_mistakes(rows),
        unsure=least_sure(rows),
        noise=noise or find_label_noise(scored, recipe, column.name),
    )

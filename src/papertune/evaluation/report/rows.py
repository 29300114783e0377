"""The rows of a report that a person should look at."""

import random
from collections.abc import Mapping
from dataclasses import replace

from papertune.evaluation.checks.review import confident_errors, row_name, uncertain_rows
from papertune.evaluation.report.data import ColumnReport, SampleRow
from papertune.kinds.predictions import Predictions
from papertune.prompts.examples import RowReader
from papertune.recipe import Recipe
from papertune.tables import Table

# Rows that the report shows with their text.
SAMPLE_ROWS = 8
_SAMPLE_SEED = 0


def with_rows_to_look_at(
    column: ColumnReport, predictions: Predictions, scored: Table, learned: Table | None, recipe: Recipe
) -> ColumnReport:
    """Add confident errors, uncertain rows and likely label errors to the report of a column with labels.

    Args:
        column: The report so far; of a kind without labels it is returned unchanged.
        predictions: The run's predictions, one for each row of the scored table.
        scored: The table with the gold labels.
        learned: The table that the run was trained on, if there is one to look at. Label errors are then looked for
            there, where they do harm and there are mostly more rows; otherwise in the scored table.
        recipe: The recipe with the column.
    """
    name, spec = column.name, recipe.columns[column.name]
    errors = None if learned is None else spec.likely_label_errors(learned, recipe, name)
    return replace(
        column,
        # Two passes, since together there may be millions of labels.
        confident_errors=confident_errors(spec.judged(predictions, scored, recipe, name)),
        uncertain_rows=uncertain_rows(spec.judged(predictions, scored, recipe, name)),
        label_errors=errors or spec.likely_label_errors(scored, recipe, name),
    )


def sample_rows(predictions: Mapping[str, Predictions], given: Table, recipe: Recipe) -> list[SampleRow]:
    """Choose some papers at random, the same ones each time, and put a run's predictions beside the table's cells.

    Args:
        predictions: The run's, by column, one for each row of the table.
        given: The table with the gold columns.
        recipe: The recipe with the columns.
    """
    reader = RowReader(given, recipe)
    rows = sorted(random.Random(_SAMPLE_SEED).sample(range(len(given)), min(SAMPLE_ROWS, len(given))))
    return [
        SampleRow(
            row_name(given, recipe, row),
            reader.document(row),
            [
                recipe.columns[name].sample(each, row, reader, name)
                for name, each in predictions.items()
                # An entry of an instruction file asks one question.
                if not recipe.questions_of(name).keys().isdisjoint(reader.asked(row))
            ],
        )
        for row in rows
    ]

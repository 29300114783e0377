"""The rows of a report that a person should look at, from the tables and the answers."""

import random
from collections.abc import Mapping
from dataclasses import replace

from papertune.evaluation.predictions import Answers, read_keywords
from papertune.evaluation.checks.label_errors import find_label_errors
from papertune.evaluation.checks.review import confident_mistakes, judged_rows, least_sure, row_name
from papertune.evaluation.report.data import ColumnReport, SampleCell, SampleList, SampleRow
from papertune.kinds import Column, LabelColumn, LabelsColumn
from papertune.kinds.keywords.cells import split_keywords
from papertune.kinds.label.cells import read_label
from papertune.kinds.labels.cells import read_labels
from papertune.prompts.examples import RowReader
from papertune.recipe import Recipe
from papertune.tables import Table

# Rows that the report shows with their text.
SAMPLE_ROWS = 8
_SAMPLE_SEED = 0


def with_rows_to_look_at(
    column: ColumnReport, answers: Answers, scored: Table, learnt: Table | None, recipe: Recipe
) -> ColumnReport:
    """Add a run's mistakes, the rows that it is least sure of and labels that may be wrong to a column of labels.

    Args:
        column: What is told about the column so far; of another kind it is given back as it is.
        answers: What the run said, for each row of the scored table.
        scored: The table with the true labels.
        learnt: The table that the run learnt from, if there is one to look at. Doubtful labels are then looked for
            there, where they do harm and there are mostly more rows; otherwise in the scored table.
        recipe: The recipe with the column.
    """
    if not isinstance(recipe.columns[column.name], LabelColumn | LabelsColumn):
        return column
    noise = None if learnt is None else find_label_errors(learnt, recipe, column.name)
    return replace(
        column,
        # Two passes, since together there may be millions of labels.
        mistakes=confident_mistakes(judged_rows(answers, scored, recipe, column.name)),
        unsure=least_sure(judged_rows(answers, scored, recipe, column.name)),
        noise=noise or find_label_errors(scored, recipe, column.name),
    )


def sample_rows(answers: Mapping[str, Answers], given: Table, recipe: Recipe) -> list[SampleRow]:
    """Choose some papers at random, the same ones each time, and put a run's answers beside the table's.

    Args:
        answers: What the run said, by column, a cell for each row of the table.
        given: The table with the true columns.
        recipe: The recipe with the columns.
    """
    reader = RowReader(given, recipe)
    rows = sorted(random.Random(_SAMPLE_SEED).sample(range(len(given)), min(SAMPLE_ROWS, len(given))))
    return [
        SampleRow(
            row_name(given, recipe, row),
            reader.document(row),
            [
                _sample(said, row, reader, name, recipe.columns[name])
                for name, said in answers.items()
                # An entry of an instruction file asks one question.
                if not recipe.questions_of(name).keys().isdisjoint(reader.asked(row))
            ],
        )
        for row in rows
    ]


def _sample(answers: Answers, row: int, reader: RowReader, name: str, column: Column) -> SampleCell | SampleList:
    said = answers.cells[row]
    if isinstance(column, LabelColumn):
        probability = None
        if answers.probabilities is not None and answers.probabilities[row]:
            likely = dict(zip(column.labels, answers.probabilities[row], strict=True))
            probability = likely.get(said, max(likely.values()))
        if answers.withheld is not None and answers.withheld[row]:
            said = ""  # the cell holds what the run would have said
        return SampleCell(name, said, read_label(reader.given(row, name) or "", column.labels) or "", probability)
    if isinstance(column, LabelsColumn):
        has = reader.labels(row, name)
        given = [label for label in column.labels if has.get(label)] if has else None
        return SampleList(name, column.kind, read_labels(said, column) or [], given)
    keywords = split_keywords(reader.given(row, name) or "") or None
    return SampleList(name, column.kind, read_keywords(said, column), keywords)

"""What a system is trained on and what it returns, and the comparison of several systems."""

import time
from collections.abc import Callable, Collection, Mapping, Sequence
from dataclasses import asdict, dataclass, replace
from typing import Any

from papertune.evaluation.predictions import score_predictions
from papertune.evaluation.report import SystemReport, main_measure
from papertune.kinds.predictions import Predictions
from papertune.prompts.examples import RowReader
from papertune.recipe import Recipe
from papertune.tables import Table


@dataclass(frozen=True)
class TrainingRows:
    """Training rows with a gold answer in a column.

    Attributes:
        documents: Their documents.
        answers: Their gold answers: a label, or keywords as text.
    """

    documents: list[str]
    answers: list[str]


@dataclass(frozen=True)
class SystemOutput:
    """The predictions of a system for one column of a table, and what they cost.

    Attributes:
        predictions: One for each row.
        rows_per_s: Rows per second without loading; None if not known.
        training_s: Seconds of training; 0 if it is not trained, None if not known.
        trained_weights: Number of trainable parameters; None if not known.
        note: A remark, such as the number of few-shot examples.
        prompt: The prompt of a prompted model for one row.
    """

    predictions: Predictions
    rows_per_s: float | None = None
    training_s: float | None = None
    trained_weights: int | None = None
    note: str = ""
    prompt: str = ""

    def as_dict(self) -> dict[str, Any]:
        """Return the output as dicts, lists, strings and numbers, ready for JSON."""
        return asdict(self)

    @classmethod
    def from_dict(cls, values: Mapping[str, Any]) -> "SystemOutput":
        """Read the result of `as_dict`."""
        return cls(**{**values, "predictions": Predictions(**values["predictions"])})


class NotMeasured(Exception):
    """A system is not available; the message says why, or what to install."""


# Trains a system on the rows and predicts the documents; raises NotMeasured if it is not available.
Fill = Callable[[TrainingRows, Sequence[str]], SystemOutput]


def rows_with_answers(table: Table, recipe: Recipe, name: str) -> dict[int, str]:
    """Return the gold answers of a column by row, in table order; rows without one are left out."""
    reader = RowReader(table, recipe)
    column = recipe.columns[name]
    cells = ((row, reader.given(row, name)) for row in range(len(table)))
    answers = ((row, column.read_answer(cell)) for row, cell in cells if cell is not None)
    return {row: answer for row, answer in answers if answer is not None}


def training_rows(table: Table, recipe: Recipe, name: str) -> TrainingRows:
    """Read the rows of a checked training table that have a gold answer in a column."""
    reader = RowReader(table, recipe)
    answers = rows_with_answers(table, recipe, name)
    return TrainingRows([reader.document(row) for row in answers], list(answers.values()))


def compare_outputs(
    outputs: Mapping[str, SystemOutput],
    baselines: Collection[str],
    gold: RowReader,
    recipe: Recipe,
    name: str,
    rows: int,
) -> list[SystemReport]:
    """Score the outputs of systems for one column, and compare each row by row with the best baseline.

    For two labels there are two comparisons: by the main score, and by average precision with the baseline that has the
    highest.

    Args:
        outputs: By system, in the order to show them.
        baselines: Which of the systems are baselines.
        gold: Reads the gold cells.
        recipe: The columns.
        name: The column.
        rows: Number of rows of the table with the gold cells.

    Returns:
        The systems; none if the table has no gold cell in this column.
    """
    systems: dict[str, SystemReport] = {}
    for title, output in outputs.items():
        scores = score_predictions({name: output.predictions}, gold, recipe, range(rows))
        if name in scores:
            systems[title] = SystemReport(
                title,
                scores[name],
                note=output.note,
                rows_per_s=output.rows_per_s,
                training_s=output.training_s,
                trained_weights=output.trained_weights,
                prompt=output.prompt,
            )
    simple = [title for title in systems if title in baselines]
    if simple:
        best = max(simple, key=lambda title: main_measure(systems[title])[0])
        for title in systems.keys() - {best}:
            own, other = outputs[title].predictions, outputs[best].predictions
            paired = recipe.columns[name].difference(own, other, gold, name, range(rows))
            systems[title] = replace(systems[title], paired=paired)
    ranking = {title: found for title in systems if (found := systems[title].scores.ranking_score) is not None}
    if simple := [title for title in ranking if title in baselines]:
        best = max(simple, key=lambda title: ranking[title])
        for title in ranking.keys() - {best}:
            own, other = outputs[title].predictions, outputs[best].predictions
            ranked = recipe.columns[name].ranking_difference(own, other, gold, name, range(rows))
            systems[title] = replace(systems[title], paired_average_precision=ranked)
    return list(systems.values())


def rows_per_s(rows: int, started: float) -> float | None:
    """Return rows per second since a time of the monotonic clock; None if no time has passed."""
    seconds = time.monotonic() - started
    return rows / seconds if seconds > 0 else None

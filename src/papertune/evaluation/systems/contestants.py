"""Contestants that need no base model: they learn from the training rows, fill in one column, and say what it cost."""

import time
from collections.abc import Callable, Collection, Mapping, Sequence
from dataclasses import asdict, dataclass, replace
from typing import Any

from papertune.evaluation.predictions import score_predictions
from papertune.evaluation.report import Contestant, main_measure
from papertune.kinds.predictions import Predictions
from papertune.prompts.examples import RowReader
from papertune.recipe import Recipe
from papertune.tables import Table


@dataclass(frozen=True)
class LearntRows:
    """Training rows that have an answer for a column.

    Attributes:
        documents: Their texts.
        answers: What the model would learn to say of them: a label, or keywords as text.
    """

    documents: list[str]
    answers: list[str]


@dataclass(frozen=True)
class Attempt:
    """What a contestant said of one column of a table, and what it cost.

    Attributes:
        predictions: One for each row.
        rows_per_s: Rows that it filled in a second, loading not counted; None if that is not known.
        training_s: Seconds that its training took; 0 if it learns nothing, None if that is not known.
        trained_weights: How many numbers it learnt; None if that is not known.
        note: A remark, such as how many examples were shown.
        prompt: What a prompted model was shown of one row.
    """

    predictions: Predictions
    rows_per_s: float | None = None
    training_s: float | None = None
    trained_weights: int | None = None
    note: str = ""
    prompt: str = ""

    def as_dict(self) -> dict[str, Any]:
        """Give the same as plain dicts, lists, strings and numbers, ready for JSON."""
        return asdict(self)

    @classmethod
    def from_dict(cls, values: Mapping[str, Any]) -> "Attempt":
        """Read what `as_dict` has given."""
        return cls(**{**values, "predictions": Predictions(**values["predictions"])})


class NotMeasured(Exception):
    """A contestant could not take part; the message says why, or what to install."""


# Learns from the rows and fills in the column for the documents; raises NotMeasured if it cannot take part.
Fill = Callable[[LearntRows, Sequence[str]], Attempt]


def rows_with_answers(table: Table, recipe: Recipe, name: str) -> dict[int, str]:
    """Give the rows of a checked table that have an answer for a column, and the answers, in table order."""
    reader = RowReader(table, recipe)
    column = recipe.columns[name]
    cells = ((row, reader.given(row, name)) for row in range(len(table)))
    answers = ((row, column.read_answer(cell)) for row, cell in cells if cell is not None)
    return {row: answer for row, answer in answers if answer is not None}


def learnt_rows(table: Table, recipe: Recipe, name: str) -> LearntRows:
    """Read the rows of a checked training table that have an answer for a column."""
    reader = RowReader(table, recipe)
    answers = rows_with_answers(table, recipe, name)
    return LearntRows([reader.document(row) for row in answers], list(answers.values()))


def compared(
    attempts: Mapping[str, Attempt], baselines: Collection[str], truth: RowReader, recipe: Recipe, name: str, rows: int
) -> list[Contestant]:
    """Score what was said of one column, and compare it row by row with the best baseline.

    For two labels that is done twice: by the main score, and by average precision with the baseline that ranks best.

    Args:
        attempts: By contestant, in the order to show them.
        baselines: Those of the contestants that are baselines.
        truth: Reads the true cells.
        recipe: The columns.
        name: The column.
        rows: Rows of the truth's table.

    Returns:
        The contestants; none if the table has no true cell of this column.
    """
    contestants: dict[str, Contestant] = {}
    for title, attempt in attempts.items():
        scores = score_predictions({name: attempt.predictions}, truth, recipe, range(rows))
        if name in scores:
            contestants[title] = Contestant(
                title,
                scores[name],
                note=attempt.note,
                rows_per_s=attempt.rows_per_s,
                training_s=attempt.training_s,
                trained_weights=attempt.trained_weights,
                prompt=attempt.prompt,
            )
    plain = [title for title in contestants if title in baselines]
    if plain:
        best = max(plain, key=lambda title: main_measure(contestants[title])[0])
        for title in contestants.keys() - {best}:
            mine, other = attempts[title].predictions, attempts[best].predictions
            paired = recipe.columns[name].difference(mine, other, truth, name, range(rows))
            contestants[title] = replace(contestants[title], paired=paired)
    ranking = {title: found for title in contestants if (found := contestants[title].scores.ranking_score) is not None}
    if plain := [title for title in ranking if title in baselines]:
        best = max(plain, key=lambda title: ranking[title])
        for title in ranking.keys() - {best}:
            mine, other = attempts[title].predictions, attempts[best].predictions
            ranked = recipe.columns[name].ranking_difference(mine, other, truth, name, range(rows))
            contestants[title] = replace(contestants[title], paired_average_precision=ranked)
    return list(contestants.values())


def rows_per_s(rows: int, begun: float) -> float | None:
    """Give the rows that were done in a second since a moment of the monotonic clock; None if no time has passed."""
    seconds = time.monotonic() - begun
    return rows / seconds if seconds > 0 else None

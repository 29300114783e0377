"""Judgements of single answers: a column such as Keywords_good, which says whether the cell of Keywords is good."""

from collections.abc import Collection
from dataclasses import dataclass

from papertune.errors import TableError, quoted
from papertune.preferences.asking import Asked
from papertune.preferences.corrections import written_answers
from papertune.preferences.entries import Thumb
from papertune.preferences.matching import Key, Rows
from papertune.recipe import Recipe

# 1.0: pandas turns whole numbers beside empty cells into floats.
_GOOD = ("yes", "true", "1", "1.0")
_BAD = ("no", "false", "0", "0.0")


def judgement_column(name: str) -> str:
    """Return the name of the column that judges another one."""
    return f"{name}_good"


@dataclass(frozen=True)
class Judgements:
    """The judgements of one column.

    Attributes:
        thumbs: The judged answers.
        line: What to report.
    """

    thumbs: list[Thumb]
    line: str


def count_judgements(rows: Rows, name: str) -> int:
    """Return how many cells of a column are judged; 0 without a column of judgements."""
    title = judgement_column(name)
    return sum(1 for cell in rows.table.frame[title] if cell.strip()) if title in rows.table.columns else 0


def read_judgements(
    judged: Rows, filled: Rows, asked: Asked, recipe: Recipe, name: str, changed: Collection[Key]
) -> Judgements:
    """Return the judged answers of one column.

    Args:
        judged: Has the judgements.
        filled: What the run has written, and what is judged.
        asked: Knows the documents.
        recipe: The recipe.
        name: The column, whose answers are generated.
        changed: The keys of cells that were also corrected.

    Raises:
        TableError: With every judgement that is none, or is good of a cell that was corrected.
    """
    title = judgement_column(name)
    column = recipe.questions[name]
    answers = written_answers(filled, name, column)
    problems: list[str] = []
    thumbs: list[Thumb] = []
    empty = 0
    for key, row in judged.by_key.items():
        text = judged.table.frame[title][row].strip().casefold()
        if not text or key not in answers:
            continue
        place = judged.table.where(row, title)
        answer = answers[key]
        if text not in (*_GOOD, *_BAD):
            problems.append(
                f"{place}: {quoted(judged.table.frame[title][row])} is no judgement. Write yes, no, 1, 0, true or "
                "false, or leave the cell empty."
            )
        elif text in _GOOD and key in changed:
            problems.append(
                f"{place}: the cell was corrected and is called good, but what was predicted is judged. Write no, or "
                "leave the cell empty."
            )
        elif key not in asked:
            problems.append(asked.unknown(place))
        elif answer is None:
            empty += 1
        else:
            fields = asked.fields(key, name)
            thumbs += [
                Thumb(**fields, answer=each, good=text in _GOOD, source="human")
                for each in column.single_answers(answer)
            ]
    if problems:
        raise TableError.collect(f"{judged.table.source}: judgements cannot be read", problems)
    count = sum(thumb.good for thumb in thumbs)
    line = f"{title}: {count:,} good, {len(thumbs) - count:,} bad"
    return Judgements(thumbs, f"{line}, {empty:,} of empty cells, which have no answer" if empty else line)

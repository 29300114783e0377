"""Reads preferences from any table in the layout of LLaMA-Factory, and checks them against a recipe.

    {"instruction": QUESTION, "input": DOCUMENT, "chosen": BETTER, "rejected": OTHER}
    {"instruction": QUESTION, "input": DOCUMENT, "output": ANSWER, "kto_tag": true}

The columns `column`, `paper`, `tier` and `source` may stand beside them; `prefer` writes them. Conversations have their
messages instead of instruction and input, and a message each as chosen and rejected.
"""

from collections.abc import Callable, Sequence
from dataclasses import replace
from typing import Any, TypeVar

from papertune.errors import TableError, quoted
from papertune.preferences.entries import SOURCES, Entry, Pair, Thumb
from papertune.prompts.examples import RowReader
from papertune.recipe import Recipe
from papertune.suggest import did_you_mean
from papertune.tables import Table, TableSource, read_table
from papertune.tables.cells import JSON_MISSING, JSON_NULL, JSON_TEXT, text_frame
from papertune.tables.conversations import BARE, message_text

E = TypeVar("E", bound=Entry)


class _Invalid(Exception):
    """A row that is not a preference.

    Args:
        column: Where the mistake is.
        text: What is wrong and what to do.
    """

    def __init__(self, column: str, text: str) -> None:
        super().__init__(text)
        self.column = column


def read_pairs(source: TableSource, recipe: Recipe) -> list[Pair]:
    """Read pairs of answers, in the order of the file.

    Args:
        source: A file, an entry of a `dataset_info.json` with `"ranking": true`, or another table.
        recipe: Has the questions.

    Raises:
        TableError: With every row that is not a pair: the two answers are equal, `chosen` is empty, or the question is
            not one of the recipe's or its column has no preferences.
    """
    table = read_table(source)
    if not {"chosen", "rejected"} <= set(table.columns) and "kto_tag" in table.columns:
        raise TableError(
            f"{table.source} has no chosen and rejected, but kto_tag: it judges single answers. "
            "Give a file with pairs of answers, or learn from this one with the stage kto."
        )
    return _entries(_checked(table, ("chosen", "rejected"), "Pairs of answers", recipe), recipe, _pair)


def read_thumbs(source: TableSource, recipe: Recipe) -> list[Thumb]:
    """Read answers that were judged by themselves, in the order of the file.

    Args:
        source: A file, an entry of a `dataset_info.json` with `kto_tag` among its columns, or another table.
        recipe: Has the questions.

    Raises:
        TableError: With every row that is not such an answer: its `kto_tag` is not true or false, or the question is
            not one of the recipe's or its column has no preferences.
    """
    table = read_table(source)
    if "kto_tag" not in table.columns and {"chosen", "rejected"} <= set(table.columns):
        raise TableError(
            f"{table.source} has no kto_tag, but chosen and rejected: it has pairs of answers. Give a file that judges "
            "single answers, or learn from this one with the stage dpo."
        )
    return _entries(_checked(table, ("output", "kto_tag"), "Judged answers", recipe), recipe, _thumb)


def _checked(table: Table, needed: Sequence[str], what: str, recipe: Recipe) -> Table:
    """Return a table with its optional columns, and those that the recipe asks, if it has the others."""
    for name in ("instruction", *needed):
        if name not in table.columns:
            raise TableError(
                f"{table.source} has no column {quoted(name)}.{did_you_mean(name, table.columns)} {what} have "
                f"instruction, input, {' and '.join(needed)}; it has {', '.join(table.columns)}."
            )
    missing = [name for name in ("input", "column", "paper", "tier", "source") if name not in table.columns]
    added = text_frame({name: [""] * len(table) for name in missing}).get_columns()
    own = {column.question_column for column in recipe.questions.values()} - {None, *table.columns, *missing}
    added += [table.frame["instruction"].alias(str(name)) for name in own]
    return replace(table, frame=table.frame.with_columns(added))


def _entries(table: Table, recipe: Recipe, make: Callable[[Table, int, dict[str, Any]], E]) -> list[E]:
    """Make an entry of each row.

    Args:
        table: Has the optional columns too.
        recipe: Has the questions.
        make: Makes the entry of a row, given what all entries have; raises `_Invalid`.

    Raises:
        TableError: With every row that is not one.
    """
    reader = RowReader(table, recipe)
    entries: list[E] = []
    problems: list[str] = []
    for row in range(len(table)):
        try:
            entries.append(make(table, row, _asked(table, reader, row)))
        except _Invalid as invalid:
            problems.append(f"{table.where(row, invalid.column)}: {invalid}")
    if problems:
        raise TableError.collect(f"{table.source}: preferences cannot be read", problems)
    return entries


def _asked(table: Table, reader: RowReader, row: int) -> dict[str, Any]:
    """Return the fields that all entries have.

    Raises:
        _Invalid: If the row does not ask a question of the recipe, or one whose column has no preferences.
    """
    recipe = reader.recipe
    cell: dict[str, str] = table.frame.row(row, named=True)
    named = cell["column"]
    if named and named not in recipe.questions:
        raise _Invalid(
            "column",
            f"the recipe has no column {quoted(named)}.{did_you_mean(named, recipe.questions)} Its columns are "
            f"{', '.join(recipe.columns)}. Correct the column, or use the recipe that the preferences were made with.",
        )
    own = [name for name, column in recipe.questions.items() if column.question_column is not None]
    found = reader.asked(row) or ([named] if named in own else own if len(own) == 1 else [])
    if not found or (named and named != found[0]):
        whose = f"the question of {named}" if named else "a question of the recipe"
        expected = [named] if named else list(recipe.questions)
        raise _Invalid(
            "instruction",
            f"{quoted(cell['instruction'])} is not {whose} "
            f"({' | '.join(recipe.questions[name].question for name in expected)}). Set the question of its column to "
            "this text.",
        )
    if reason := recipe.columns[recipe.owners[found[0]]].why_no_feedback:
        raise _Invalid("instruction", f"{found[0]} has no preferences: {reason}. Remove these.")
    try:
        prompt = reader.prompt(row, found[0])
    except ValueError:
        raise _Invalid("history", "not a list of [question, answer] pairs. Correct or empty the cell.") from None
    return {
        "column": found[0],
        "instruction": cell["instruction"],
        "input": cell["input"],
        "paper": cell["paper"],
        "system": prompt.system,
        "history": prompt.history,
        "source": cell["source"] if cell["source"] in SOURCES else "file",
    }


def _pair(table: Table, row: int, asked: dict[str, Any]) -> Pair:
    if "output" in table.derived and table.frame["output"][row]:
        raise _Invalid(
            "chosen",
            "the conversation has an answer to its last question already. Remove that message, since chosen and "
            "rejected are the answers.",
        )
    chosen, rejected = (_answer(table, row, name) for name in ("chosen", "rejected"))
    if not chosen.strip():
        raise _Invalid("chosen", "the better answer is empty. Fill it in, or remove the pair.")
    if chosen.split() == rejected.split():
        raise _Invalid(
            "rejected", f"both answers are {quoted(chosen)}, so none is better. Correct one, or remove the pair."
        )
    return Pair(**asked, chosen=chosen, rejected=rejected, tier=table.frame["tier"][row])


def _thumb(table: Table, row: int, asked: dict[str, Any]) -> Thumb:
    tag: str = table.frame["kto_tag"][row]
    if tag not in ("true", "false"):
        raise _Invalid("kto_tag", f"{quoted(tag)} is neither true nor false. Correct it, or remove the entry.")
    answer = _answer(table, row, "output")
    if not answer.strip():
        raise _Invalid("output", "there is no answer that could be good or bad. Fill it in, or remove the entry.")
    return Thumb(**asked, answer=answer, good=tag == "true")


def _answer(table: Table, row: int, name: str) -> str:
    """Return an answer, which may also stand in a message.

    Raises:
        _Invalid: If it is neither text nor a message of the assistant.
    """
    cell: str = table.frame[name][row]
    form = table.forms[name][row] if name in table.forms else JSON_TEXT
    if form in (JSON_NULL, JSON_MISSING):
        raise _Invalid(name, "there is no answer. Write it, or remove the entry.")
    if form == JSON_TEXT or not cell.startswith(("{", "[")):
        return cell
    tags = next((each for each in BARE if f'"{each.role}"' in cell), BARE[0])
    try:
        return message_text(cell, tags)
    except ValueError as error:
        raise _Invalid(name, f"{error}. Write the answer as text or as one message of the assistant.") from None

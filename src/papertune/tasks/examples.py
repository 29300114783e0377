"""From rows to examples: what the model is shown, what it is asked, what it should say."""

import json
from collections.abc import Iterator, Mapping
from dataclasses import dataclass

from papertune.config import (
    Column,
    KeywordsColumn,
    LabelColumn,
    Layout,
    Recipe,
    render_template,
    template_columns,
)
from papertune.tables import Table
from papertune.tasks.keywords import join_keywords, keywords_as_text, split_keywords
from papertune.tasks.labels import read_label

Turn = tuple[str, str]


@dataclass(frozen=True, slots=True)
class Prompt:
    """What stands before an answer; only `document` is ever shortened.

    Attributes:
        before: Text before the document.
        document: The row's document.
        after: Text after the document.
        history: Earlier rounds of the conversation, (question, answer) each.
    """

    before: str
    document: str
    after: str
    history: tuple[Turn, ...] = ()


@dataclass(frozen=True, slots=True)
class Example:
    """A prompt and the answer that is to be learnt, of one row and one column.

    Attributes:
        row: Index of the row in its table, from 0.
        column: Name of the column that the answer is for.
        prompt: What the model is shown.
        answer: What it should say, as text.
    """

    row: int
    column: str
    prompt: Prompt
    answer: str


def make_prompt(layout: Layout, document: str, question: str, history: tuple[Turn, ...] = ()) -> Prompt:
    """Put a document and a question together; the one place that training and prediction both go through."""
    if layout == "question-first":
        return Prompt(question, document, "", history)
    return Prompt("", document, f"\n\n{question}", history)


class RowReader:
    """Reads documents, and the answers that a table gives, by row.

    Two shapes of table are read: one with the columns that the recipe names, and the tutorial's instruction files,
    where `input` is the document, `instruction` the question and `output` the answer.
    """

    def __init__(self, table: Table, recipe: Recipe) -> None:
        self._recipe = recipe
        self._instructions = table.is_instructions
        names = ["input"] if self._instructions else template_columns(recipe.table.document)
        self._cells = {name: table.frame[name] for name in names if name in table.columns}
        self._questions = {column.question.strip(): name for name, column in recipe.columns.items()}
        self._table = table

    def document(self, row: int) -> str:
        """Give the document of a row."""
        if self._instructions:
            return self._cells["input"][row] if "input" in self._cells else ""
        cells: Mapping[str, str] = {name: cells[row] for name, cells in self._cells.items()}
        return render_template(self._recipe.table.document, cells)

    def asked(self, row: int) -> list[str]:
        """Give the names of the recipe's columns that a row asks for: all, or the one of an instruction file's row."""
        if not self._instructions:
            return list(self._recipe.columns)
        name = self._questions.get(self._table.frame["instruction"][row].strip())
        return [] if name is None else [name]

    def prompt(self, row: int, column: str) -> Prompt:
        """Give the prompt of a row for a column."""
        question = self._recipe.columns[column].question
        return make_prompt(self._recipe.layout, self.document(row), question, self.history(row))

    def history(self, row: int) -> tuple[Turn, ...]:
        """Give the earlier rounds of a row; only instruction files have any.

        Raises:
            ValueError: If the cell is not a list of pairs.
        """
        if not self._instructions or "history" not in self._table.columns:
            return ()
        cell = self._table.frame["history"][row]
        turns = json.loads(cell) if cell.strip() else []
        if not isinstance(turns, list) or not all(_is_turn(turn) for turn in turns):
            raise ValueError("history is not a list of [question, answer] pairs")
        return tuple((question, answer) for question, answer in turns)

    def given(self, row: int, column: str) -> str | None:
        """Give the cell that the table has for a column, or None where it has no such column."""
        if self._instructions:
            known = "output" in self._table.columns and self.asked(row) == [column]
            return self._table.frame["output"][row] if known else None
        return self._table.frame[column][row] if column in self._table.columns else None


def _is_turn(turn: object) -> bool:
    return isinstance(turn, list) and len(turn) == 2 and all(isinstance(text, str) for text in turn)


def answer_text(cell: str, column: Column) -> str | None:
    """Give the text that the model should say for a cell, or None where the cell has nothing to learn."""
    if isinstance(column, LabelColumn):
        return read_label(cell, column.labels)
    keywords = split_keywords(cell)
    if isinstance(column, KeywordsColumn):
        return join_keywords(keywords, column.separator) or None
    return keywords_as_text(keywords) or None


def training_examples(table: Table, recipe: Recipe) -> Iterator[Example]:
    """Give the examples of a checked table, row by row, the recipe's columns in order.

    Columns that the table lacks and cells with nothing to learn give no example.
    """
    reader = RowReader(table, recipe)
    for row in range(len(table)):
        for name in reader.asked(row):
            cell = reader.given(row, name)
            answer = None if cell is None else answer_text(cell, recipe.columns[name])
            if answer is not None:
                yield Example(row, name, reader.prompt(row, name), answer)

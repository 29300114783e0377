"""From rows to examples: what the model is shown, what it is asked, what it should say."""

import json
from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass

from papertune.recipe import Layout, Recipe
from papertune.tables import Table
from papertune.templates import render_template, template_columns

Turn = tuple[str, str]


@dataclass(frozen=True, slots=True)
class Prompt:
    """What stands before an answer; only `document` is ever truncated.

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
    """A prompt and the answer to learn, of one row and one question.

    Attributes:
        row: Index of the row in its table, from 0.
        column: Name of the question in `Recipe.questions`: the column that the answer is for, or one of its labels.
        prompt: What the model is shown.
        answer: What it should say, as text.
        share: How much of an example it is, so that columns count the same: one over the labels of a labels column.
    """

    row: int
    column: str
    prompt: Prompt
    answer: str
    share: float = 1.0


def make_prompt(layout: Layout, document: str, question: str, history: tuple[Turn, ...] = ()) -> Prompt:
    """Put a document and a question together; the one place that training and prediction both go through."""
    if layout == "question-first":
        return Prompt(question, document, "", history)
    return Prompt("", document, f"\n\n{question}", history)


class RowReader:
    """Reads documents, and the answers that a table gives, by row.

    Two shapes of table are read: one with the columns that the recipe names, and the tutorial's instruction files,
    where `input` is the document, `instruction` the question and `output` the answer. Of a labels column the questions
    are about one label each.
    """

    def __init__(self, table: Table, recipe: Recipe) -> None:
        self._recipe = recipe
        self._instructions = table.is_instructions
        names = ["input"] if self._instructions else template_columns(recipe.table.document)
        self._cells = {name: table.frame[name] for name in names if name in table.columns}
        self._asked = recipe.questions
        self._questions = {column.question.strip(): name for name, column in self._asked.items()}
        self._owners = {question: name for name in recipe.columns for question in recipe.questions_of(name)}
        self._table = table
        self._resolved: dict[str, Mapping[str, str]] = {}

    @property
    def is_instructions(self) -> bool:
        """Whether the table is an instruction file, each of whose rows asks one question."""
        return self._instructions

    def document(self, row: int) -> str:
        """Return the document of a row."""
        if self._instructions:
            return self._cells["input"][row] if "input" in self._cells else ""
        cells: Mapping[str, str] = {name: cells[row] for name, cells in self._cells.items()}
        return render_template(self._recipe.table.document, cells)

    def asked(self, row: int) -> list[str]:
        """Return the recipe's questions that a row asks: all, or the one of an instruction file's row."""
        if not self._instructions:
            return list(self._asked)
        name = self._questions.get(self._table.frame["instruction"][row].strip())
        return [] if name is None else [name]

    def prompt(self, row: int, name: str) -> Prompt:
        """Return the prompt of a row for one of the recipe's questions."""
        question = self._asked[name].question
        return make_prompt(self._recipe.layout, self.document(row), question, self.history(row))

    def history(self, row: int) -> tuple[Turn, ...]:
        """Return the earlier rounds of a row; only instruction files have any.

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

    def given(self, row: int, name: str) -> str | None:
        """Return the table's cell for a column, or its gold answer to one of the recipe's questions.

        None is returned where the table lacks the column, the row does not ask the question, or the cell is invalid.
        """
        column = name if name in self._recipe.columns else self._owners[name]
        if self._instructions:
            known = "output" in self._table.columns and self.asked(row) == [name]
            return self._cell(row, column, "output") if known else None
        if column not in self._table.columns:
            return None
        cell = self._cell(row, column, column)
        return cell if column == name else self._recipe.columns[column].gold_of_question(cell, name, column)

    def _cell(self, row: int, column: str, title: str) -> str:
        """Return a cell of a recipe's column, as all cells of that column show that it is to be read."""
        cell: str = self._table.frame[title][row]
        if column not in self._resolved:
            cells = self._table.frame[title]
            if self._instructions:
                cells = cells.gather([each for each in range(len(cells)) if self.asked(each) == [column]])
            self._resolved[column] = self._recipe.columns[column].resolve_cells(cells)
        return self._resolved[column].get(cell, cell)


def examples_by_document(examples: Iterable[Example]) -> Iterator[list[Example]]:
    """Yield groups of examples: a new one where the document changes, or a column comes again.

    The questions of a table's row follow each other, and so they do in an instruction file that is made of one.
    """
    group: list[Example] = []
    for example in examples:
        if group and (
            example.prompt.document != group[0].prompt.document or example.column in {each.column for each in group}
        ):
            yield group
            group = []
        group.append(example)
    if group:
        yield group


def _is_turn(turn: object) -> bool:
    return isinstance(turn, list) and len(turn) == 2 and all(isinstance(text, str) for text in turn)


def training_examples(table: Table, recipe: Recipe) -> Iterator[Example]:
    """Yield the examples of a checked table, row by row, the recipe's questions in order.

    Columns that the table lacks and cells with nothing to learn have no example. An empty cell of a labels column has
    something to learn: a no for each label.
    """
    reader = RowReader(table, recipe)
    columns = recipe.questions
    shares = {question: 1 / len(asked) for asked in map(recipe.questions_of, recipe.columns) for question in asked}
    for row in range(len(table)):
        for name in reader.asked(row):
            cell = reader.given(row, name)
            answer = None if cell is None else columns[name].read_answer(cell)
            if answer is not None:
                yield Example(row, name, reader.prompt(row, name), answer, shares[name])

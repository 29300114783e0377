"""From rows of a table to prompts and examples."""

import json
from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass

from papertune.prompts.documents import clean_column
from papertune.recipe import Layout, Recipe
from papertune.tables import Table
from papertune.templates import render_template, template_columns

Turn = tuple[str, str]

# The columns of an instruction file that a prompt is made from.
_ENTRY = ("instruction", "input", "history", "system")


@dataclass(frozen=True, slots=True)
class Prompt:
    """The text before an answer, of which only `document` is ever truncated.

    Attributes:
        before: Text before the document.
        document: The row's document.
        after: Text after the document.
        history: Earlier rounds of the conversation, (question, answer) each.
        system: The system message; "" for none.
        drops_history: Whether the oldest rounds are dropped before the document is truncated.
    """

    before: str
    document: str
    after: str
    history: tuple[Turn, ...] = ()
    system: str = ""
    drops_history: bool = False


@dataclass(frozen=True, slots=True)
class Example:
    """A prompt and the answer to learn, for one row and one question.

    Attributes:
        row: Index of the row in its table, from 0.
        column: Name of the question in `Recipe.questions`.
        prompt: The prompt.
        answer: The answer, as text.
        share: Its weight, so that all columns count the same: 1 / labels for a labels column, else 1.
    """

    row: int
    column: str
    prompt: Prompt
    answer: str
    share: float = 1.0


def make_prompt(
    layout: Layout, document: str, question: str, history: tuple[Turn, ...] = (), system: str = ""
) -> Prompt:
    """Make the prompt of a document and a question, for training and prediction alike."""
    if layout == "question-first":
        return Prompt(question, document, "", history, system)
    return Prompt("", document, f"\n\n{question}", history, system)


def make_own_prompt(
    layout: Layout, document: str, question: str, history: tuple[Turn, ...] = (), system: str = ""
) -> Prompt:
    """Make the prompt of a document and the row's own question; either may be empty.

    A question before the document is truncated together with it, since it can be a whole text itself.
    """
    if layout == "question-first" or not document or not question:
        text = "\n".join(part for part in (question, document) if part)
        return Prompt("", text, "", history, system, drops_history=True)
    return Prompt("", document, f"\n\n{question}", history, system, drops_history=True)


def reads_entries(table: Table, recipe: Recipe) -> bool:
    """Whether a table is read as an instruction file.

    Its entries may have only an instruction if the recipe uses the question of each row.
    """
    own = any(column.question_column == "instruction" for column in recipe.questions.values())
    return table.is_instructions or (own and "instruction" in table.columns)


def prompt_columns(table: Table, recipe: Recipe) -> list[str]:
    """Return the columns of a table whose text is in the prompts."""
    names = list(_ENTRY) if reads_entries(table, recipe) else template_columns(recipe.table.document)
    names += [each.question_column for each in recipe.questions.values() if each.question_column]
    return [name for name in dict.fromkeys(names) if name in table.columns]


class RowReader:
    """Reads documents, questions and gold cells by row.

    A table has the columns that the recipe names, or it is an instruction file, with the document as `input`, the
    question as `instruction` and the answer as `output`. The cells of a table are put into its documents without the
    marks of their sources; the text of an instruction file is read as it is. Each question of a labels column is about
    one label. A column may also take its question from a column of the table.
    """

    def __init__(self, table: Table, recipe: Recipe) -> None:
        self._recipe = recipe
        self._instructions = reads_entries(table, recipe)
        names = ["input"] if self._instructions else template_columns(recipe.table.document)
        is_cleaned = recipe.table.clean and not self._instructions
        self._cells = {
            name: clean_column(table, name) if is_cleaned else table.frame[name]
            for name in names
            if name in table.columns
        }
        self._asked = recipe.questions
        self._questions = {column.question.strip(): name for name, column in self._asked.items()}
        own = {name: column.question_column for name, column in self._asked.items()}
        self._own = {name: asks for name, asks in own.items() if asks in table.columns}
        # The question for entries whose instruction is not the question of a column.
        entry_question = next((name for name, asks in self._own.items() if asks == "instruction"), None)
        self._entry_question = entry_question if self._instructions else None
        self._owners = recipe.owners
        self._table = table
        self._resolved: dict[str, Mapping[str, str]] = {}

    @property
    def recipe(self) -> Recipe:
        """The recipe whose questions are read."""
        return self._recipe

    def only(self, columns: tuple[str, ...]) -> "RowReader":
        """Return a reader of the same table for some of the recipe's columns."""
        return self if columns == tuple(self._recipe.columns) else RowReader(self._table, self._recipe.only(columns))

    @property
    def is_instructions(self) -> bool:
        """Whether the table is an instruction file, whose rows ask one question each."""
        return self._instructions

    def document(self, row: int) -> str:
        """Return the document of a row; for an entry with its own question, all of its text."""
        if self._instructions:
            entry = self.input(row)
            if self._entry_question is None or not self.asks_own_question(row):
                return entry
            prompt = make_own_prompt(self._recipe.layout, entry, self.question(row, self._entry_question))
            return prompt.document + prompt.after
        return self.input(row)

    def is_empty(self, row: int) -> bool:
        """Whether all cells of a row's document are empty."""
        return not any(cells[row].strip() for cells in self._cells.values())

    def input(self, row: int) -> str:
        """Return the document of a row without its own question."""
        if self._instructions:
            return self._cells["input"][row] if "input" in self._cells else ""
        cells: Mapping[str, str] = {name: cells[row] for name, cells in self._cells.items()}
        return render_template(self._recipe.table.document, cells)

    def asked(self, row: int) -> list[str]:
        """Return the questions of the recipe that a row asks: all, or the one of an instruction entry."""
        if not self._instructions:
            return list(self._asked)
        name = self._questions.get(self._table.frame["instruction"][row].strip(), self._entry_question)
        return [] if name is None else [name]

    def asks_own_question(self, row: int) -> bool:
        """Whether a row is an instruction entry with its own question."""
        return self._entry_question is not None and self.asked(row) == [self._entry_question]

    def prompt(self, row: int, name: str) -> Prompt:
        """Return the prompt of a row for one of the recipe's questions."""
        make = make_own_prompt if name in self._own else make_prompt
        question = self.question(row, name)
        return make(self._recipe.layout, self.input(row), question, self.history(row), self._system(row))

    def earlier_turns(self, row: int, name: str) -> Iterator[tuple[Prompt, str]]:
        """Yield the prompts and answers of a row's earlier rounds, if it asks its own question."""
        history = self.history(row) if name in self._own else ()
        for number, (question, answer) in enumerate(history):
            yield Prompt("", question, "", history[:number], self._system(row), drops_history=True), answer

    def question(self, row: int, name: str) -> str:
        """Return the text of one of the recipe's questions for a row."""
        text: str = self._table.frame[self._own[name]][row] if name in self._own else self._asked[name].question
        return text

    def _system(self, row: int) -> str:
        if not self._instructions or "system" not in self._table.columns:
            return ""
        text: str = self._table.frame["system"][row]
        return text if text.strip() else ""

    def history(self, row: int) -> tuple[Turn, ...]:
        """Return the earlier rounds of a row; only instruction files have any.

        Raises:
            ValueError: If the cell is not a list of pairs.
        """
        if not self._instructions or "history" not in self._table.columns:
            return ()
        cell = self._table.frame["history"][row]
        try:
            turns = json.loads(cell) if cell.strip() else []
        except RecursionError:
            turns = None
        if not isinstance(turns, list) or not all(_is_turn(turn) for turn in turns):
            raise ValueError("history is not a list of [question, answer] pairs")
        return tuple((question, answer) for question, answer in turns)

    def given(self, row: int, name: str) -> str | None:
        """Return the table's cell for a column, or its gold answer to one of the recipe's questions.

        Returns None if the table lacks the column, the row does not ask the question, or the cell is invalid.
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
        """Return a cell of a recipe's column, resolved with all cells of the column in view."""
        cells = self._table.frame[title]
        if column not in self._resolved:
            rows = range(len(cells))
            own = (cells[each] for each in rows if not self._instructions or self.asked(each) == [column])
            self._resolved[column] = self._recipe.columns[column].resolve_cells(own)
        cell: str = cells[row]
        return self._resolved[column].get(cell, cell)


def examples_by_document(examples: Iterable[Example]) -> Iterator[list[Example]]:
    """Yield groups of consecutive examples with the same document and different questions.

    The questions about a row of a table are consecutive, also in an instruction file made from it.
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


def training_examples(table: Table, recipe: Recipe, *, learn_history: bool = False) -> Iterator[Example]:
    """Yield the examples of a checked table, row by row, the recipe's questions in order.

    With `learn_history` the earlier answers of a conversation come first, each as an example of its own. There is no
    example for a column that the table lacks or for a cell with nothing to learn. An empty cell of a labels column is
    a no for each label.
    """
    reader = RowReader(table, recipe)
    columns = recipe.questions
    shares = {question: 1 / len(asked) for asked in map(recipe.questions_of, recipe.columns) for question in asked}
    for row in range(len(table)):
        for name in reader.asked(row):
            for prompt, text in reader.earlier_turns(row, name) if learn_history else ():
                if (answer := columns[name].read_answer(text)) is not None:
                    yield Example(row, name, prompt, answer, shares[name])
            cell = reader.given(row, name)
            answer = None if cell is None else columns[name].read_answer(cell)
            if answer is not None:
                yield Example(row, name, reader.prompt(row, name), answer, shares[name])

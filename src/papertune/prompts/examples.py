"""From rows to examples: what the model is shown, what it is asked, what it should say."""

import json
from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass

from papertune.kinds import Column, KeywordsColumn, LabelColumn, LabelsColumn
from papertune.kinds.keywords.cells import join_keywords, keywords_as_text, split_keywords
from papertune.kinds.label.cells import read_label
from papertune.kinds.labels.cells import join_labels, read_labels
from papertune.recipe import Layout, Recipe
from papertune.tables import Table
from papertune.templates import render_template, template_columns

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
    """A prompt and the answer that is to be learnt, of one row and one question.

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
        self._labels = {
            question: (name, label)
            for name, column in recipe.columns.items()
            if isinstance(column, LabelsColumn)
            for question, label in zip(recipe.questions_of(name), column.labels, strict=True)
        }
        self._table = table

    def document(self, row: int) -> str:
        """Give the document of a row."""
        if self._instructions:
            return self._cells["input"][row] if "input" in self._cells else ""
        cells: Mapping[str, str] = {name: cells[row] for name, cells in self._cells.items()}
        return render_template(self._recipe.table.document, cells)

    def asked(self, row: int) -> list[str]:
        """Give the names of the recipe's questions that a row asks: all, or the one of an instruction file's row."""
        if not self._instructions:
            return list(self._asked)
        name = self._questions.get(self._table.frame["instruction"][row].strip())
        return [] if name is None else [name]

    def prompt(self, row: int, name: str) -> Prompt:
        """Give the prompt of a row for one of the recipe's questions."""
        question = self._asked[name].question
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
        """Give the cell that the table has for a column, or None where it has no such column.

        Of a question about a label it is the yes or no that the labels in the column's cell amount to, and None where
        something in the cell is no label.
        """
        if self._instructions:
            known = "output" in self._table.columns and self.asked(row) == [column]
            return self._table.frame["output"][row] if known else None
        if column in self._labels:
            name, label = self._labels[column]
            return self._has(row, name, label) if name in self._table.columns else None
        return self._table.frame[column][row] if column in self._table.columns else None

    def labels(self, row: int, column: str) -> dict[str, bool]:
        """Give whether a row has each label of a labels column, as far as the table says: all, one or none of them."""
        spec = self._recipe.columns[column]
        assert isinstance(spec, LabelsColumn)
        if not self._instructions:
            named = read_labels(self._table.frame[column][row], spec) if column in self._table.columns else None
            return {} if named is None else {label: label in named for label in spec.labels}
        found: dict[str, bool] = {}
        for question in self.asked(row):
            name, label = self._labels.get(question, ("", ""))
            answer = None if name != column else read_label(self.given(row, question) or "", spec.answers)
            if answer is not None:
                found[label] = answer == spec.answers[0]
        return found

    def _has(self, row: int, name: str, label: str) -> str | None:
        column = self._recipe.columns[name]
        assert isinstance(column, LabelsColumn)
        labels = read_labels(self._table.frame[name][row], column)
        yes, no = column.answers
        return None if labels is None else yes if label in labels else no


def examples_by_document(examples: Iterable[Example]) -> Iterator[list[Example]]:
    """Part examples where the document changes, or a column comes again.

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


def answer_text(cell: str, column: Column) -> str | None:
    """Give a cell in the words of the recipe, or None where it says nothing.

    It is what the model should say, but for a labels column, where it is asked about each label. There an empty cell
    says that the row has none, and gives "".
    """
    if isinstance(column, LabelColumn):
        return read_label(cell, column.labels)
    if isinstance(column, LabelsColumn):
        labels = read_labels(cell, column)
        return None if labels is None else join_labels(labels, column)
    keywords = split_keywords(cell)
    if isinstance(column, KeywordsColumn):
        return join_keywords(keywords, column.separator) or None
    return keywords_as_text(keywords) or None


def training_examples(table: Table, recipe: Recipe) -> Iterator[Example]:
    """Give the examples of a checked table, row by row, the recipe's questions in order.

    Columns that the table lacks and cells with nothing to learn give no example. An empty cell of a labels column has
    something to learn: a no for each label.
    """
    reader = RowReader(table, recipe)
    columns = recipe.questions
    shares = {question: 1 / len(asked) for asked in map(recipe.questions_of, recipe.columns) for question in asked}
    for row in range(len(table)):
        for name in reader.asked(row):
            cell = reader.given(row, name)
            answer = None if cell is None else answer_text(cell, columns[name])
            if answer is not None:
                yield Example(row, name, reader.prompt(row, name), answer, shares[name])

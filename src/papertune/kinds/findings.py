"""The findings of a check of a table, and the tools with which a column kind checks its cells."""

from collections import Counter
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Literal

from papertune.errors import Sentence, TableError, coded, quoted, said_as
from papertune.tables import Table
from papertune.tables.problems import Places

if TYPE_CHECKING:
    from papertune.prompts.examples import RowReader

Purpose = Literal["train", "predict", "score"]

# What a row without a gold answer is not, by purpose.
_NOT_DONE = {"train": "learned", "score": "scored", "predict": "predicted"}


@dataclass(frozen=True)
class Finding:
    """A sentence about a table or a recipe.

    Attributes:
        level: "error": nothing can begin before it is corrected; "warning": the work can go on; "note": a fact.
        text: The sentence; it names the place.
        row: Position in the table of the first row that it is about, from 0; None: not about a row.
        column: The column of that cell; None: not about a column.
    """

    level: Literal["error", "warning", "note"]
    text: str
    row: int | None = None
    column: str | None = None


@dataclass
class _Same:
    """The rows with the same problem: the first place, the position among all problems, the numbers of the rows."""

    first: str
    position: int
    places: Places = field(default_factory=Places)


@dataclass
class Findings:
    """The findings of a check.

    Attributes:
        problems: Errors, a sentence each.
        warnings: Warnings, a sentence each with the count and the first row.
        label_counts: For each column with labels, the number of rows with each label; "" stands for none.
        facts: Other facts, a line each.
    """

    problems: list[str] = field(default_factory=list)
    warnings: list[str] = field(default_factory=list)
    label_counts: dict[str, Counter[str]] = field(default_factory=dict)
    facts: list[str] = field(default_factory=list)
    _same: "dict[tuple[str, str | None, str], _Same]" = field(default_factory=dict, repr=False)
    _problem_cells: dict[int, tuple[int, str | None]] = field(default_factory=dict, repr=False)
    _warning_cells: dict[int, tuple[int, str | None]] = field(default_factory=dict, repr=False)

    def problem(self, table: Table, row: int, column: str | None, text: str) -> None:
        """Report a problem of a row; the same text for many rows of a column is one problem.

        Args:
            table: The table.
            row: Position in the table, from 0.
            column: Name of the cell's column, if a cell is meant.
            text: What is wrong and what to do; whole sentences.
        """
        known = self._same.get((table.source, column, text))
        if known is None:
            known = self._same[table.source, column, text] = _Same(table.where(row, column), len(self.problems))
            self.add_problem("", row, column)
        known.places.add(f"{table.number(row):,}")
        whole = f"{known.first}: {text}{known.places.others()}"
        code, params = coded(text)
        before = coded(self.problems[known.position])[1]
        place = before or {"number": table.number(row), **({} if column is None else {"column": column})}
        self.problems[known.position] = Sentence(whole, code, **{**place, **params, "count": known.places.count})

    def add_problem(self, text: str, row: int | None = None, column: str | None = None) -> None:
        """Add a problem whose sentence names its place.

        Args:
            text: The sentence.
            row: Position in the table of the first row that it is about.
            column: The column of that cell.
        """
        if row is not None:
            self._problem_cells[len(self.problems)] = row, column
        self.problems.append(text)

    def add_warning(self, text: str, row: int | None = None, column: str | None = None) -> None:
        """Add a warning whose sentence names its place, as `add_problem` adds a problem."""
        if row is not None:
            self._warning_cells[len(self.warnings)] = row, column
        self.warnings.append(text)

    def all(self) -> list[Finding]:
        """Return problems and warnings with the cells that they are about."""
        nowhere = (None, None)
        return [
            *(Finding("error", text, *self._problem_cells.get(n, nowhere)) for n, text in enumerate(self.problems)),
            *(Finding("warning", text, *self._warning_cells.get(n, nowhere)) for n, text in enumerate(self.warnings)),
        ]

    def raise_problems(self, table: Table) -> None:
        """Raise a TableError with all problems, if there are any."""
        if self.problems:
            raise TableError.collect(f"{table.source} does not fit the recipe", self.problems)


@dataclass(frozen=True)
class GoldCheck:
    """The check of one column's cells in one table.

    Attributes:
        table: The table.
        reader: Reads it with the recipe.
        name: The column's name.
        purpose: "train" or "score".
        labels: For a kind with a question for each label, the label of each question.
        findings: Where problems and warnings go.
    """

    table: Table
    reader: "RowReader"
    name: str
    purpose: Purpose
    labels: Mapping[str, str]
    findings: Findings

    @property
    def shown(self) -> str:
        """The column that messages name: `output` in an instruction file."""
        return "output" if self.table.is_instructions else self.name

    @property
    def is_there(self) -> bool:
        """Whether the table has anything for the column."""
        return self.table.is_instructions or self.name in self.table.columns

    def cells(self) -> Iterator[tuple[int, str]]:
        """Yield the rows that have a cell for the column, and the cell."""
        if not self.is_there:
            return
        for row in range(len(self.table)):
            cell = self.reader.given(row, self.name)
            if cell is not None:
                yield row, cell

    def problem(self, row: int, text: str) -> None:
        """Report a problem of a row."""
        self.findings.problem(self.table, row, self.shown, text)

    def warn(self, what: str, rows: Sequence[int]) -> None:
        """Report several rows in one warning; nothing if there are none.

        Args:
            what: A sentence in which {} stands for "3 cells are", such as "{} empty; not scored".
            rows: The rows.
        """
        count_in_warning(self.findings, self.table, self.shown, what, iter(rows))

    def warn_of_empty(self, what: str, rows: Sequence[int]) -> None:
        """Warn of rows without a gold answer, which are not learned or scored."""
        self.warn(said_as(f"{{}} {what}; not {_NOT_DONE[self.purpose]}", what), rows)

    def count_labels(self, labels: Sequence[str], counts: Counter[str]) -> None:
        """Record the counts of labels, and warn of labels that cannot be learned."""
        self.findings.label_counts[self.name] = counts
        unseen = [label for label in labels if not counts[label]]
        if self.purpose == "train" and unseen and sum(counts.values()):
            shown = ", ".join(repr(label) for label in unseen)
            text = (
                f"{self.table.source}, column {quoted(self.name)}: no row has the label {shown}; it cannot be learned."
            )
            self.findings.warnings.append(Sentence(text, "label_without_rows", column=self.name, labels=shown))


def count_in_warning(findings: Findings, table: Table, column: str, what: str, rows: Iterator[int]) -> None:
    """Add a warning with the count of rows and the first one; nothing without rows."""
    first = next(rows, None)
    if first is not None:
        count = 1 + sum(1 for _ in rows)
        cells = "1 cell is" if count == 1 else f"{count:,} cells are"
        counted = what.replace("{}", cells, 1)  # not format(): a name in the sentence may have braces
        text = f"{table.where(first, column)}: {counted} (this is the first)."
        code, params = coded(what)
        said = Sentence(text, code, **{**params, "number": table.number(first), "column": column, "count": count})
        findings.add_warning(said, first, column)


def shorten(text: str) -> str:
    """Return at most 60 characters of a cell, for a message."""
    return text if len(text) <= 60 else text[:57] + "..."

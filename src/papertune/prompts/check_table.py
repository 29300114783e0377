"""Does a table fit a recipe? Everything that can be wrong, found in one go."""

from collections import Counter
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, field
from typing import Literal

from papertune.errors import TableError
from papertune.kinds import LabelColumn, LabelsColumn
from papertune.kinds.keywords.cells import split_keywords
from papertune.kinds.label.cells import read_label
from papertune.kinds.labels.cells import split_labels
from papertune.prompts.examples import RowReader
from papertune.recipe import Recipe
from papertune.suggest import did_you_mean
from papertune.tables import Table
from papertune.templates import template_columns

Purpose = Literal["train", "predict", "score"]

# What is not done with a row without keywords, by purpose.
_UNDONE = {"train": "learnt", "score": "scored"}

# Longer than any abstract; what stands here is a whole paper, or two rows run together.
LONG_DOCUMENT_CHARS = 50_000


@dataclass
class Findings:
    """What a check has found.

    Attributes:
        problems: What stops the work, a sentence each.
        warnings: What should be known, a sentence each with the count and the first row.
        label_counts: For each label or labels column of the table, how many rows have each label; "" stands for none.
    """

    problems: list[str] = field(default_factory=list)
    warnings: list[str] = field(default_factory=list)
    label_counts: dict[str, Counter[str]] = field(default_factory=dict)

    def raise_problems(self, table: Table) -> None:
        """Raise a TableError with all problems, if there are any."""
        if self.problems:
            raise TableError.collect(f"{table.source} does not fit the recipe", self.problems)


def check_table(table: Table, recipe: Recipe, purpose: Purpose = "train") -> Findings:
    """Check a table against a recipe, for training, for prediction, or to score predictions by it.

    Args:
        table: The table.
        recipe: The recipe.
        purpose: For "train" and "score" the recipe's columns are read, and at least one must be there. For "score" the
            cells of a label column may be empty.

    Returns:
        All problems and warnings.
    """
    findings = Findings()
    if table.is_instructions:
        _check_instructions(table, recipe, purpose, findings)
    else:
        _check_columns(table, recipe, purpose, findings)
        _check_ids(table, recipe, findings)
    _check_documents(table, recipe, findings)
    if purpose != "predict":
        for name, column in recipe.columns.items():
            if isinstance(column, LabelColumn):
                _check_labels(table, recipe, name, column, purpose, findings)
            elif isinstance(column, LabelsColumn):
                _check_label_sets(table, recipe, name, column, purpose, findings)
            else:
                _check_keywords(table, recipe, name, purpose, findings)
    return findings


def _check_columns(table: Table, recipe: Recipe, purpose: Purpose, findings: Findings) -> None:
    needed = {name: "table.document" for name in template_columns(recipe.table.document)}
    if recipe.table.id is not None:
        needed[recipe.table.id] = "table.id"
    for name, key in needed.items():
        if name not in table.columns:
            hint = did_you_mean(name, table.columns) or f" It has: {', '.join(table.columns)}."
            findings.problems.append(f'{table.source} has no column "{name}", which {key} names.{hint}')
    if purpose != "predict":
        missing = [name for name in recipe.columns if name not in table.columns]
        if len(missing) == len(recipe.columns):
            findings.problems.append(
                f"{table.source} has none of the columns to {'learn' if purpose == 'train' else 'score'} "
                f"({', '.join(missing)}). It has: {', '.join(table.columns)}. Name the recipe's [columns] as the table "
                "does."
            )
        else:
            how = "learnt from this table" if purpose == "train" else "scored"
            findings.warnings += [
                f'{table.source} has no column "{name}"; it is not {how}.{did_you_mean(name, table.columns)}'
                for name in missing
            ]


def _check_instructions(table: Table, recipe: Recipe, purpose: Purpose, findings: Findings) -> None:
    if purpose != "predict" and "output" not in table.columns:
        nothing = "nothing to learn" if purpose == "train" else "nothing to score"
        findings.problems.append(f"{table.source}: its entries have no output, so there is {nothing}.")
    reader = RowReader(table, recipe)
    questions = " | ".join(column.question for column in recipe.questions.values())
    for row in range(len(table)):
        if not reader.asked(row):
            asked = table.frame["instruction"][row]
            findings.problems.append(
                f"{table.where(row, 'instruction')}: {_short(asked)!r} is not a question of the recipe ({questions}). "
                "Set the question of its column to this text."
            )
        try:
            reader.history(row)
        except ValueError:
            findings.problems.append(
                f"{table.where(row, 'history')}: not a list of [question, answer] pairs. Correct or empty the cell."
            )


def _check_ids(table: Table, recipe: Recipe, findings: Findings) -> None:
    if recipe.table.id is None or recipe.table.id not in table.columns:
        return
    cells = table.frame[recipe.table.id]
    first: dict[str, int] = {}  # of repeated ids only: those of a large table take much memory
    for row, (value, repeated) in enumerate(zip(cells, cells.is_duplicated(), strict=True)):
        if not value.strip():
            findings.problems.append(f"{table.where(row, recipe.table.id)} is empty. Give the row an id.")
        elif value in first:
            findings.problems.append(
                f'{table.where(row, recipe.table.id)}: the id "{value}" stands already at {table.where(first[value])}. '
                "Make ids unique, or leave table.id out of the recipe."
            )
        elif repeated:
            first[value] = row


def _check_documents(table: Table, recipe: Recipe, findings: Findings) -> None:
    names = ["input"] if table.is_instructions else template_columns(recipe.table.document)
    for name in (name for name in names if name in table.columns):
        cells = table.frame[name]
        _count(findings, table, name, "{} empty", (r for r, cell in enumerate(cells) if not cell.strip()))
        long = f"{{}} longer than {LONG_DOCUMENT_CHARS:,} characters; only the beginning is read"
        lengths = cells.str.len_chars()
        _count(findings, table, name, long, (r for r, n in enumerate(lengths) if n > LONG_DOCUMENT_CHARS))
    # In an instruction file each paper stands once for each question.
    if names[0] in table.columns and not table.is_instructions:
        repeated = table.frame[names[0]].is_duplicated() & (table.frame[names[0]] != "")
        _count(findings, table, names[0], "{} the same as in another row", (r for r, d in enumerate(repeated) if d))


def _check_labels(
    table: Table, recipe: Recipe, name: str, column: LabelColumn, purpose: Purpose, findings: Findings
) -> None:
    if not table.is_instructions and name not in table.columns:
        return
    reader = RowReader(table, recipe)
    counts: Counter[str] = Counter()
    repaired: list[int] = []
    empty: list[int] = []
    shown = "output" if table.is_instructions else name
    for row in range(len(table)):
        cell = reader.given(row, name)
        if cell is None:
            continue
        label = read_label(cell, column.labels)
        if purpose == "score" and not cell.strip():
            empty.append(row)
            continue
        if label is None:
            findings.problems.append(f"{table.where(row, shown)}: {_wrong_label(cell, column.labels, name)}")
            continue
        counts[label] += 1
        if cell != label:
            repaired.append(row)
    _count(findings, table, shown, "{} read as a label after tidying (blanks, or 1.0 for 1)", iter(repaired))
    _count(findings, table, shown, "{} empty; not scored", iter(empty))
    _count_labels(findings, table, name, column.labels, purpose, counts)


def _check_label_sets(
    table: Table, recipe: Recipe, name: str, column: LabelsColumn, purpose: Purpose, findings: Findings
) -> None:
    if table.is_instructions:
        _check_label_answers(table, recipe, name, column, purpose, findings)
        return
    if name not in table.columns:
        return
    cells = table.frame[name]
    counts: Counter[str] = Counter()
    repaired: list[int] = []
    for row, cell in enumerate(cells):
        parts = split_labels(cell, column)
        wrong = [part for part in dict.fromkeys(parts) if part not in column.labels]
        findings.problems += [f"{table.where(row, name)}: {_wrong_label(part, column.labels, name)}" for part in wrong]
        # In the order of the cell: a set would be in another one each time.
        counts.update([part for part in dict.fromkeys(parts) if part not in wrong] or ([] if wrong else [""]))
        if len(parts) != len({*parts}):
            repaired.append(row)
    _count(findings, table, name, "{} naming a label twice; it counts once", iter(repaired))
    if len(table) and counts[""] == len(table):
        findings.problems.append(
            f'{table.source}, column "{name}": every cell is empty, which says that no row has any of the labels. '
            "Fill the column in, or take it out of the table."
        )
    _count_labels(findings, table, name, column.labels, purpose, counts)


def _check_label_answers(
    table: Table, recipe: Recipe, name: str, column: LabelsColumn, purpose: Purpose, findings: Findings
) -> None:
    """Check the entries of an instruction file that ask about a label each."""
    reader = RowReader(table, recipe)
    asked = dict(zip(recipe.questions_of(name), column.labels, strict=True))
    counts: Counter[str] = Counter()
    for row in range(len(table)):
        for question in reader.asked(row):
            cell = reader.given(row, question) if question in asked else None
            answer = None if cell is None else read_label(cell, column.answers)
            if answer == column.answers[0]:
                counts[asked[question]] += 1
            elif cell is not None and answer is None:
                findings.problems.append(
                    f'{table.where(row, "output")}: "{_short(cell)}" is neither "{column.answers[0]}" nor '
                    f'"{column.answers[1]}". Correct the cell, or set columns.{name}.answers.'
                )
    _count_labels(findings, table, name, column.labels, purpose, counts)


def _count_labels(
    findings: Findings, table: Table, name: str, labels: Sequence[str], purpose: Purpose, counts: Counter[str]
) -> None:
    findings.label_counts[name] = counts
    unseen = [label for label in labels if not counts[label]]
    if purpose == "train" and unseen and sum(counts.values()):
        findings.warnings.append(
            f'{table.source}, column "{name}": no row has the label {", ".join(repr(label) for label in unseen)}; '
            "it cannot be learnt."
        )


def _wrong_label(cell: str, labels: Sequence[str], name: str) -> str:
    if not cell.strip():
        return "the cell is empty. Fill it in, or take the row out."
    shown = ", ".join(labels[:5]) + (", ..." if len(labels) > 5 else "")
    known = f"one of the {len(labels)} labels" if len(labels) > 1 else "the label"
    hint = did_you_mean(cell, labels)
    return (
        f'"{_short(cell)}" is not {known} ({shown}).{hint} Correct the cell, or add the label to columns.{name}.labels.'
    )


def _check_keywords(table: Table, recipe: Recipe, name: str, purpose: Purpose, findings: Findings) -> None:
    if not table.is_instructions and name not in table.columns:
        return
    reader = RowReader(table, recipe)
    given = ((row, reader.given(row, name)) for row in range(len(table)))
    empty = (row for row, cell in given if cell is not None and not split_keywords(cell))
    _count(findings, table, name, f"{{}} without keywords; not {_UNDONE[purpose]}", empty)


def _count(findings: Findings, table: Table, column: str, what: str, rows: Iterator[int]) -> None:
    first = next(rows, None)
    if first is not None:
        count = 1 + sum(1 for _ in rows)
        cells = "1 cell is" if count == 1 else f"{count:,} cells are"
        findings.warnings.append(f"{table.where(first, column)}: {what.format(cells)} (this is the first).")


def _short(text: str) -> str:
    return text if len(text) <= 60 else text[:57] + "..."

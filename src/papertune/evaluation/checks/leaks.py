"""Leaks, which make scores too good: scored papers that were trained on, and columns whose surface predicts a label."""

from collections.abc import Iterator, Sequence
from dataclasses import dataclass, replace

from papertune.errors import Sentence, quoted
from papertune.evaluation.checks.near_duplicates import match_documents, match_earlier_rows
from papertune.evaluation.checks.review import row_name
from papertune.evaluation.checks.shortcuts import SurfaceFeature, find_surface_feature
from papertune.kinds.findings import Finding, Purpose
from papertune.prompts.examples import RowReader
from papertune.recipe import Recipe
from papertune.tables import Table
from papertune.templates import template_columns

# The harm of repeated documents.
_OF_REPEATS: dict[Purpose, str] = {
    "train": "Dev or test rows split from this table may then be copies of training rows",
    "predict": "Each of them is predicted, perhaps not alike",
    "score": "Each of them is scored",
}


@dataclass(frozen=True)
class DuplicatePair:
    """A paper that stands in two tables, exactly or nearly.

    Attributes:
        id: Id of the row in the scored table.
        other_id: Id of the row in the other table.
        document: Text of the first row.
        other_document: Text of the second row.
        similarity: Resemblance of the two texts, from 0 to 1; see `near_duplicates`.
        exact: Whether the texts differ in nothing but case, blanks and punctuation.
        is_dev: Whether the other row is a dev row and not a training row.
    """

    id: str
    other_id: str
    document: str
    other_document: str
    similarity: float
    exact: bool
    is_dev: bool = False


@dataclass(frozen=True)
class Shortcut:
    """A column whose surface alone predicts a label column, or one label of a labels column.

    Attributes:
        label_column: The label column or labels column.
        column: The column that predicts it.
        in_document: Whether the model reads that column.
        feature: The feature of its cells that predicts the label.
        label: The label of a labels column; "" for a label column.
    """

    label_column: str
    column: str
    in_document: bool
    feature: SurfaceFeature
    label: str = ""

    def __str__(self) -> str:
        """Return the warning of the report and of `papertune check`."""
        advice = (
            "The model reads this column, so its scores may say little about papers of another source. Remove this "
            "from the cells, or the column from table.document."
            if self.in_document
            else "The model does not read this column; do not add it to table.document."
        )
        predicted = f"label {quoted(self.label)} of {self.label_column}" if self.label else self.label_column
        return (
            f"column {quoted(self.column)}: its {self.feature.name} alone predicts {predicted} with accuracy "
            f"{self.feature.accuracy:.3f}; the most frequent {'answer' if self.label else 'label'} has "
            f"{self.feature.majority:.3f}. "
            f"{self.feature.split} {advice}"
        )


@dataclass(frozen=True)
class Leaks:
    """The leaks of an evaluation.

    Attributes:
        learnt_from: Name of the training table; "" if it is not known.
        duplicates: Scored rows that are also training rows, the most similar first; then those that are also dev rows.
        shortcuts: Columns that predict a label, the most accurate first.
        dev: Name of the dev table; "" if there is none.
    """

    learnt_from: str
    duplicates: Sequence[DuplicatePair]
    shortcuts: Sequence[Shortcut]
    dev: str = ""


def find_leaks(scored: Table, train: Table | None, recipe: Recipe, dev: Table | None = None) -> Leaks:
    """Look for scored papers that are also training or dev rows, and for columns that predict a label.

    Args:
        scored: The table that a run is scored on.
        train: The training table, if known. Shortcuts are then looked for in it, since it usually has more rows;
            otherwise in the scored table.
        recipe: The run's recipe.
        dev: The dev table, if it is a table of its own.
    """
    duplicates = [] if train is None else find_duplicates(scored, train, recipe)
    if dev is not None:
        duplicates += [replace(pair, is_dev=True) for pair in find_duplicates(scored, dev, recipe)]
    return Leaks(
        "" if train is None else train.source,
        duplicates,
        find_shortcuts(scored if train is None else train, recipe),
        "" if dev is None else dev.source,
    )


def find_duplicates(scored: Table, other: Table, recipe: Recipe) -> list[DuplicatePair]:
    """Return the rows of a table whose document also stands in another table, the most similar first."""
    readers = RowReader(scored, recipe), RowReader(other, recipe)
    pairs = [
        DuplicatePair(
            row_name(scored, recipe, match.row),
            row_name(other, recipe, match.other),
            readers[0].document(match.row),
            readers[1].document(match.other),
            match.similarity,
            match.exact,
        )
        for match in match_documents(_texts(scored, recipe), _texts(other, recipe))
    ]
    return sorted(pairs, key=lambda pair: (not pair.exact, -pair.similarity))


def find_shortcuts(table: Table, recipe: Recipe) -> list[Shortcut]:
    """Return the columns of a table whose surface alone predicts a label, the most accurate first.

    All columns are examined except those that the recipe fills in; of an instruction file only the input. In a labels
    column, each of the `MAX_LABELS_CHECKED` most frequent labels is predicted by itself.
    """
    reader = RowReader(table, recipe)
    in_document = _document_columns(table, recipe)
    found: list[Shortcut] = []
    examined = in_document if table.is_instructions else table.columns
    others = [other for other in examined if other not in recipe.columns]
    for name in recipe.columns:
        for label, gold in recipe.columns[name].shortcut_questions(table, reader, name):
            for other in others:
                feature = find_surface_feature([table.frame[other][row] for row in gold], list(gold.values()))
                if feature is not None:
                    found.append(Shortcut(name, other, other in in_document, feature, label))
    return sorted(found, key=lambda shortcut: -shortcut.feature.accuracy)


def leak_warnings(table: Table, recipe: Recipe, purpose: Purpose = "train") -> Iterator[Finding]:
    """Yield a warning for repeated documents, and for each shortcut of a training table in a column that is read.

    A shortcut in another column does no harm; the report names it too.
    """
    own = any(column.question_column for column in recipe.questions.values())
    if own or not table.is_instructions:  # there each paper stands once for each question
        # Several questions about one document are no copies; near ones take seconds in a large table.
        matches = match_earlier_rows(_texts(table, recipe), near=purpose == "train" and not own)
        if matches:
            first = matches[0]
            count = "1 row repeats" if len(matches) == 1 else f"{len(matches):,} rows repeat"
            text = (
                f"{table.where(first.row)}: the document is {'' if first.exact else 'nearly '}that of "
                f"{table.where(first.other)}; {count} an earlier one. {_OF_REPEATS[purpose]}: keep one of each."
            )
            number, other = table.number(first.row), table.number(first.other)
            said = Sentence(text, "repeated_documents", number=number, other=other, count=len(matches))
            yield Finding("warning", said, first.row)
    for shortcut in find_shortcuts(table, recipe) if purpose == "train" else ():
        if shortcut.in_document:
            text = f"{table.source}, {shortcut}"
            said = Sentence(text, "shortcut", column=shortcut.label_column, other=shortcut.column)
            yield Finding("warning", said)


def _document_columns(table: Table, recipe: Recipe) -> list[str]:
    names = ["input"] if table.is_instructions else template_columns(recipe.table.document)
    own = [column.question_column for column in recipe.questions.values()]
    names += [name for name in own if name is not None and name not in names]
    if table.is_instructions and any(own):
        names.append("history")
    return [name for name in names if name in table.columns]


def _texts(table: Table, recipe: Recipe) -> list[str]:
    """Return the cells of each document, without the template's own words, which all documents share."""
    columns = [table.frame[name] for name in _document_columns(table, recipe)]
    return ["\n".join(cells) for cells in zip(*columns, strict=True)] if columns else [""] * len(table)

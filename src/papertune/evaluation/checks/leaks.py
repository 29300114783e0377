"""What makes scores better than they should be: papers that stand in both tables, and columns that tell the label."""

from collections.abc import Iterator, Sequence
from dataclasses import dataclass, replace

from papertune.evaluation.checks.near_duplicates import match_documents, match_earlier_rows
from papertune.evaluation.checks.review import row_name
from papertune.evaluation.checks.shortcuts import SurfaceFeature, find_surface_feature
from papertune.prompts.examples import RowReader
from papertune.recipe import Recipe
from papertune.tables import Table
from papertune.templates import template_columns


@dataclass(frozen=True)
class DuplicatePair:
    """The same paper, or nearly, in two tables.

    Attributes:
        id: Of the row of the scored table.
        other_id: Of the row of the table that was learnt from.
        document: Text of the former.
        other_document: Text of the latter.
        similarity: The share of their runs of four words that they have in common, from 0 to 1.
        exact: Whether they are the same but for case, blanks and punctuation.
        is_dev: Whether the other table is that of the dev rows, by which a run is chosen and calibrated.
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
    """A column whose surface alone predicts a label column, or whether a paper has a label of a labels column.

    Attributes:
        label_column: The label column or labels column.
        column: The column whose cells tell it.
        in_document: Whether the model reads that column.
        feature: What of the cells tells it.
        label: The label of a labels column; "" of a label column.
    """

    label_column: str
    column: str
    in_document: bool
    feature: SurfaceFeature
    label: str = ""

    def __str__(self) -> str:
        """Say it in sentences."""
        advice = (
            "The model reads this column, so its scores may say little about papers of another source. Remove this "
            "from the cells, or the column from table.document."
            if self.in_document
            else "The model does not read this column; leave it out of table.document."
        )
        told = f'label "{self.label}" of {self.label_column}' if self.label else self.label_column
        return (
            f'column "{self.column}": its {self.feature.name} alone predicts {told} with accuracy '
            f"{self.feature.accuracy:.3f}; the most frequent {'answer' if self.label else 'label'} has "
            f"{self.feature.majority:.3f}. "
            f"{self.feature.split} {advice}"
        )


@dataclass(frozen=True)
class Leaks:
    """What was found.

    Attributes:
        learnt_from: Name of the table that was learnt from; "" if it was not there to look at.
        duplicates: Rows of the scored table that stand in the table that was learnt from too, the most alike first,
            then those that stand in the table of dev rows.
        shortcuts: Columns that tell a label, the most accurate first.
        dev: Name of the table of dev rows; "" if there was none to look at.
    """

    learnt_from: str
    duplicates: Sequence[DuplicatePair]
    shortcuts: Sequence[Shortcut]
    dev: str = ""


def find_leaks(scored: Table, learnt: Table | None, recipe: Recipe, dev: Table | None = None) -> Leaks:
    """Look for papers of the scored table that were learnt from or chosen by, and for columns that tell a label.

    Args:
        scored: The table that a run is scored on.
        learnt: The table that it learnt from, if there is one to look at. Columns are then looked at in this table,
            which mostly has more rows, and otherwise in the scored one.
        recipe: The run's recipe.
        dev: The table by which a run was chosen and calibrated, if it is another one.
    """
    duplicates = [] if learnt is None else find_duplicates(scored, learnt, recipe)
    if dev is not None:
        duplicates += [replace(pair, is_dev=True) for pair in find_duplicates(scored, dev, recipe)]
    return Leaks(
        "" if learnt is None else learnt.source,
        duplicates,
        find_shortcuts(scored if learnt is None else learnt, recipe),
        "" if dev is None else dev.source,
    )


def find_duplicates(scored: Table, learnt: Table, recipe: Recipe) -> list[DuplicatePair]:
    """Give the rows of a table whose document stands in another table too, exactly or nearly, the most alike first."""
    readers = RowReader(scored, recipe), RowReader(learnt, recipe)
    pairs = [
        DuplicatePair(
            row_name(scored, recipe, match.row),
            row_name(learnt, recipe, match.other),
            readers[0].document(match.row),
            readers[1].document(match.other),
            match.similarity,
            match.exact,
        )
        for match in match_documents(_texts(scored, recipe), _texts(learnt, recipe))
    ]
    return sorted(pairs, key=lambda pair: (not pair.exact, -pair.similarity))


def find_shortcuts(table: Table, recipe: Recipe) -> list[Shortcut]:
    """Give the columns of a table whose surface alone predicts a label column, the most accurate first.

    Every column is looked at but those that the recipe fills in: those of the document, and those that the model does
    not read. Of an instruction file only the input is. Of a labels column each of the `LABELS_LOOKED_AT` most frequent
    labels is a question of its own, whether a paper has it or not.
    """
    reader = RowReader(table, recipe)
    in_document = _document_columns(table, recipe)
    found: list[Shortcut] = []
    looked_at = in_document if table.is_instructions else table.columns
    others = [other for other in looked_at if other not in recipe.columns]
    for name in recipe.columns:
        for label, known in recipe.columns[name].shortcut_questions(table, reader, name):
            for other in others:
                feature = find_surface_feature([table.frame[other][row] for row in known], list(known.values()))
                if feature is not None:
                    found.append(Shortcut(name, other, other in in_document, feature, label))
    return sorted(found, key=lambda shortcut: -shortcut.feature.accuracy)


def leak_warnings(table: Table, recipe: Recipe) -> Iterator[str]:
    """Give what should be known of a table before a run learns from it, a warning each.

    A column that the model does not read does no harm; the report still names it.
    """
    if not table.is_instructions:  # where each paper stands once for each question
        matches = match_earlier_rows(_texts(table, recipe))
        if matches:
            first = matches[0]
            count = "1 row repeats" if len(matches) == 1 else f"{len(matches):,} rows repeat"
            yield (
                f"{table.where(first.row)}: the document is {'' if first.exact else 'nearly '}that of "
                f"{table.where(first.other)}; {count} an earlier one. Rows kept apart for development or testing may "
                "then have been learnt from: leave one of each."
            )
    for shortcut in find_shortcuts(table, recipe):
        if shortcut.in_document:
            yield f"{table.source}, {shortcut}"


def _document_columns(table: Table, recipe: Recipe) -> list[str]:
    names = ["input"] if table.is_instructions else template_columns(recipe.table.document)
    return [name for name in names if name in table.columns]


def _texts(table: Table, recipe: Recipe) -> list[str]:
    """Give what each document is filled with, without the words of the template, which all documents share."""
    columns = [table.frame[name] for name in _document_columns(table, recipe)]
    return ["\n".join(cells) for cells in zip(*columns, strict=True)] if columns else [""] * len(table)

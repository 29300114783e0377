"""From what the model said to the columns of the output table."""

import re
from collections.abc import Iterator, Mapping, Sequence
from typing import Literal

import numpy as np
import polars as pl
from numpy.typing import NDArray

from papertune.errors import TableError
from papertune.kinds.label.decision import Decision
from papertune.kinds.keywords.ranking import read_ranked
from papertune.kinds.values import ColumnValues, each_text, text_series
from papertune.kinds import KeywordsColumn, LabelColumn, LabelsColumn, RankedKeywordsColumn
from papertune.kinds.keywords.cells import join_keywords, split_keywords
from papertune.kinds.labels.cells import join_labels
from papertune.kinds.output_names import ROW, confidence_column, given_column, probability_columns, set_column
from papertune.recipe import Recipe
from papertune.suggest import did_you_mean
from papertune.tables import Table

# Control characters and noncharacters: a model can say them, but tables cannot hold them.
_UNWRITABLE = re.compile("[\x00-\x08\x0b\x0c\x0e-\x1f\x7f-\x9f\ufffe\uffff]")


def choose_columns(
    columns: Sequence[str] | Literal["all"] | None, table: Table, recipe: Recipe, *, probabilities: bool
) -> list[str]:
    """Give the output's columns, in order.

    Args:
        columns: Names; "all": the table's columns, then the run's; None: the id and the run's columns.
        table: The table that is filled in.
        recipe: The run's recipe.
        probabilities: Whether probabilities of labels and how sure keywords are is wanted.

    Raises:
        TableError: If a name is in neither the table nor the run.
    """
    given = {given_column(name): name for name in recipe.columns if name in table.columns}
    filled = [name for column in recipe.columns for name in _filled(column, recipe, probabilities=probabilities)]
    identity = recipe.table.id if recipe.table.id in table.columns else ROW
    if columns is None:
        return [identity or ROW, *filled, *given]
    if columns == "all":
        # A column of an earlier prediction gives way to what is filled in now under its name.
        kept = [name for name in table.columns if name not in {*recipe.columns, *filled, *given}]
        return [*kept, *filled, *given]
    if isinstance(columns, str):
        columns = [columns]
    if not columns:
        raise TableError("--columns: no column is named. Name some, or leave it out.")
    known = [*table.columns, *filled, *given, ROW]
    for name in columns:
        if name not in known:
            hint = did_you_mean(name, known) or f" There are: {', '.join(dict.fromkeys(known))}."
            raise TableError(f'--columns: "{name}" is neither in {table.source} nor filled in by the run.{hint}')
    # Probabilities are asked for apart from the columns; a set is one of them.
    unnamed = {*recipe.columns, *map(set_column, recipe.columns), *columns}
    extra = [name for name in filled if name not in unnamed]
    return [*dict.fromkeys(columns), *extra]


def answering(recipe: Recipe, columns: Sequence[str]) -> Recipe:
    """Give the recipe with just the columns that the output shows, so that no other question costs time.

    Args:
        recipe: The run's recipe.
        columns: Names of the output's columns, from `choose_columns`.

    Raises:
        TableError: If the output shows none.
    """
    needed = [n for n in recipe.columns if not {*_filled(n, recipe, probabilities=True)}.isdisjoint(columns)]
    if not needed:
        raise TableError(f"--columns names none of the columns that the run fills in ({', '.join(recipe.columns)}).")
    return recipe.only(tuple(needed))


def build_output(
    table: Table,
    recipe: Recipe,
    values: Mapping[str, ColumnValues],
    columns: Sequence[str],
    decisions: Mapping[str, Decision],
) -> pl.DataFrame:
    """Put the output together, in table order.

    Args:
        table: The table.
        recipe: The run's recipe.
        values: What the model said; a column that is missing, or a row of it, is left empty.
        columns: Names of the output's columns, from `choose_columns`.
        decisions: How each label column is answered.
    """
    series: dict[str, pl.Series] = {}
    for name, column in recipe.columns.items():
        if name not in values:
            filled = _filled(name, recipe, probabilities=True)
            series |= {
                title: pl.repeat("", len(table), eager=True).alias(title) for title in filled if title in columns
            }
        elif isinstance(column, LabelColumn):
            series |= _label_series(name, column, values[name], columns, decisions[name])
        elif isinstance(column, LabelsColumn):
            series[name] = label_set_cells(values[name], column).fill_null("").alias(name)
            series |= _probability_series(name, column, _probabilities(values[name]), columns)
        else:
            series[name] = keyword_cells(values[name], column).fill_null("").alias(name)
            if isinstance(column, RankedKeywordsColumn) and (title := confidence_column(name)) in columns:
                series[title] = confidence_cells(values[name], column).fill_null("").alias(title)
        if name in table.columns:
            series[given_column(name)] = table.frame[name].alias(given_column(name))
    if ROW not in table.columns:
        series[ROW] = pl.int_range(1, len(table) + 1, eager=True).cast(pl.String).alias(ROW)
    return pl.DataFrame([series[name] if name in series else table.frame[name] for name in columns])


def label_cells(values: ColumnValues, column: LabelColumn, decision: Decision) -> pl.Series:
    """Give the label of each row that the decision chooses.

    Returns:
        Text; "" where it is not sure enough, null where the row does not ask for it.
    """
    calibrated = decision.calibrated(_probabilities(values))
    cells = decision.chosen(calibrated)
    cells[decision.withheld(calibrated)] = len(column.labels)
    cells[np.isnan(calibrated[:, 0])] = len(column.labels) + 1
    return pl.Series([*column.labels, "", None], dtype=pl.String).gather(cells)


def set_cells(values: ColumnValues, column: LabelColumn, decision: Decision) -> pl.Series:
    """Give the labels of each row that cannot be ruled out, the likeliest first, parted by semicolons.

    Returns:
        Text; null where the row does not ask for the column.
    """
    probabilities = _probabilities(values)
    sets = decision.sets(probabilities)
    likeliest_first = np.argsort(-probabilities, axis=1, kind="stable")

    def cells() -> Iterator[str | None]:
        for row, order in enumerate(likeliest_first):
            asked = not np.isnan(probabilities[row, 0])
            yield "; ".join(column.labels[label] for label in order if sets[row, label]) if asked else None

    return text_series("", cells())


def likeliest_rows(values: ColumnValues, decision: Decision) -> NDArray[np.int64]:
    """Give the rows by the probability of a column's first label, the highest first; int64, shape (rows,).

    Equals, and rows that do not ask for the column, which are the last, stay in table order.
    """
    probabilities = _probabilities(values)
    # Isotonic regression makes neighbours equal; the model's own probability still tells them apart.
    return np.lexsort((-probabilities[:, 0], -decision.calibrated(probabilities)[:, 0]))


def label_set_cells(values: ColumnValues, column: LabelsColumn) -> pl.Series:
    """Give the labels of each row whose probability reaches their threshold, in the recipe's order.

    Returns:
        Text; "" where no label's does, null where the row asks for none of them.
    """
    probabilities = _probabilities(values)
    thresholds = label_thresholds(column)

    def cell(row: NDArray[np.float64]) -> str | None:
        reached = np.flatnonzero(row >= thresholds)  # NaN reaches nothing
        return None if np.isnan(row).all() else join_labels((column.labels[n] for n in reached), column)

    return text_series("", map(cell, probabilities))


def label_thresholds(column: LabelsColumn) -> NDArray[np.float64]:
    """Give the threshold of each label, in the recipe's order, float64, shape (labels,); 0.5 where none is chosen."""
    given = column.thresholds
    if isinstance(given, dict):
        return np.array([given[label] for label in column.labels])
    return np.full(len(column.labels), 0.5 if given == "f1" else given)


def keyword_cell(value: str, column: KeywordsColumn | RankedKeywordsColumn) -> str:
    """Clean the model's keyword list."""
    if isinstance(column, RankedKeywordsColumn):
        return join_keywords((keyword for keyword, _ in _clean_ranked(value)), column.output_separator)
    return join_keywords(split_keywords(_UNWRITABLE.sub(" ", value)), column.output_separator)


def _clean_ranked(value: str) -> list[tuple[str, float]]:
    """Clean ranked keywords, each with its confidence."""
    clean = (
        (" ".join(_UNWRITABLE.sub(" ", keyword).split()), confidence) for keyword, confidence in read_ranked(value)
    )
    return [(keyword, confidence) for keyword, confidence in clean if keyword]


def keyword_cells(values: ColumnValues, column: KeywordsColumn | RankedKeywordsColumn) -> pl.Series:
    """Clean the model's keyword lists; null where the row does not ask for one."""
    assert isinstance(values, pl.Series)
    return text_series("", (None if text is None else keyword_cell(text, column) for text in each_text(values)))


def confidence_cells(values: ColumnValues, column: RankedKeywordsColumn) -> pl.Series:
    """Give how sure each ranked keyword is, in the order of the keywords; null where the row does not ask for any."""
    assert isinstance(values, pl.Series)

    def cell(value: str) -> str:
        return join_keywords((f"{sure:.6f}" for _, sure in _clean_ranked(value)), column.output_separator)

    return text_series("", (None if value is None else cell(value) for value in each_text(values)))


def empty_cells(
    values: Mapping[str, ColumnValues], recipe: Recipe, decisions: Mapping[str, Decision]
) -> dict[str, int]:
    """Count the cells that stayed empty though they were asked for, by column; columns without any are left out.

    A row without any of the labels of a labels column has been answered.
    """
    counts: dict[str, int] = {}
    for name, column in recipe.columns.items():
        if name in values and not isinstance(column, LabelsColumn):
            said = values[name]
            if isinstance(column, LabelColumn):
                cells = label_cells(said, column, decisions[name])
            else:
                cells = keyword_cells(said, column)
            counts[name] = int((cells == "").sum())
    return {name: count for name, count in counts.items() if count}


def _filled(name: str, recipe: Recipe, *, probabilities: bool) -> list[str]:
    column = recipe.columns[name]
    if not isinstance(column, LabelColumn | LabelsColumn):
        sure = [confidence_column(name)] if isinstance(column, RankedKeywordsColumn) and probabilities else []
        return [name, *sure]
    sets = [set_column(name)] if isinstance(column, LabelColumn) and column.coverage is not None else []
    return [name, *sets, *(probability_columns(name, column) if probabilities else [])]


def _label_series(
    name: str, column: LabelColumn, values: ColumnValues, columns: Sequence[str], decision: Decision
) -> dict[str, pl.Series]:
    series = {name: label_cells(values, column, decision).fill_null("").alias(name)}
    if set_column(name) in columns:
        series[set_column(name)] = set_cells(values, column, decision).fill_null("").alias(set_column(name))
    return series | _probability_series(name, column, decision.calibrated(_probabilities(values)), columns)


def _probability_series(
    name: str, column: LabelColumn | LabelsColumn, probabilities: NDArray[np.float64], columns: Sequence[str]
) -> dict[str, pl.Series]:
    # Rounded to what a person reads; the journal keeps all digits.
    return {
        title: text_series(title, ("" if p != p else f"{p:.6f}" for p in likely))
        for title, likely in zip(probability_columns(name, column), probabilities.T, strict=True)
        if title in columns
    }


def _probabilities(values: ColumnValues) -> NDArray[np.float64]:
    assert isinstance(values, np.ndarray)
    return values

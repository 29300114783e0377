"""From the values that a model gives to the columns of the output table."""

from collections.abc import Mapping, Sequence
from typing import Any, Literal

import polars as pl

from papertune.errors import TableError
from papertune.kinds.output_names import ROW, given_column
from papertune.kinds.values import ColumnValues
from papertune.prompts.examples import reads_entries
from papertune.recipe import Recipe
from papertune.suggest import did_you_mean
from papertune.tables import Table
from papertune.tables.cells import JSON_MISSING


def choose_columns(
    columns: Sequence[str] | Literal["all"] | None, table: Table, recipe: Recipe, *, probabilities: bool
) -> list[str]:
    """Return the output's columns, in order.

    Args:
        columns: Names; "all": the table's columns, then the run's; None: the id and the run's columns.
        table: The table that is filled in.
        recipe: The run's recipe.
        probabilities: Whether probabilities of labels and confidences of other answers are wanted.

    Raises:
        TableError: If a name is in neither the table nor the run.
    """
    is_entries = asks_own_questions(table, recipe)
    given = {given_column(name): name for name in own_columns(table, recipe)}
    if is_entries:  # an empty output is usual in a file of questions
        given = {title: name for title, name in given.items() if (table.frame[name] != "").any()}
    filled = [name for column in recipe.columns for name in _filled(column, recipe, probabilities=probabilities)]
    identity = recipe.table.id if recipe.table.id in table.columns else ROW
    if columns is None and not is_entries:
        return [identity or ROW, *filled, *given]
    if columns is None or columns == "all":
        # Columns of an earlier prediction give way, also where they are not filled in now: they belong to its answers.
        old = {title for name in recipe.columns for title in _filled(name, recipe, probabilities=True)}
        old |= {*given, *table.derived}
        if is_entries:
            old -= {*filled}
        kept = [name for name in table.columns if name not in old]
        return list(dict.fromkeys([*kept, *filled, *given]))
    if isinstance(columns, str):
        columns = [columns]
    if not columns:
        raise TableError("--columns: no column is named. Name some, or leave it out.")
    known = [*table.columns, *filled, *given, ROW]
    for name in columns:
        if name not in known:
            hint = did_you_mean(name, known) or f" There are: {', '.join(dict.fromkeys(known))}."
            raise TableError(f'--columns: "{name}" is neither in {table.source} nor filled in by the run.{hint}')
    # Probabilities are asked for apart from the columns.
    beside = [each for name, column in recipe.columns.items() for each in column.output_columns(name)]
    optional = {each.title for each in beside if each.is_optional}
    extra = [name for name in filled if name in optional and name not in columns]
    return [*dict.fromkeys(columns), *extra]


def own_columns(table: Table, recipe: Recipe) -> list[str]:
    """Return the recipe's columns for which a table has cells of its own; the one of entries is their output."""
    names = ["output"] if reads_entries(table, recipe) else table.columns
    return [name for name in recipe.columns if name in names and name in table.columns]


def asks_own_questions(table: Table, recipe: Recipe) -> bool:
    """Whether a table is an instruction file whose entries ask their own questions; it is written as it was read."""
    own = any(column.question_column == "instruction" for column in recipe.questions.values())
    return own and reads_entries(table, recipe)


def predicting(recipe: Recipe, columns: Sequence[str]) -> Recipe:
    """Return the recipe with just the columns that the output shows, so that no other question costs time.

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
    decisions: Mapping[str, Any],
) -> pl.DataFrame:
    """Put the output together, in table order.

    Args:
        table: The table.
        recipe: The run's recipe.
        values: The model's values; a column that is missing, or a row of it, is left empty.
        columns: Names of the output's columns, from `choose_columns`.
        decisions: How each column is predicted.
    """
    series: dict[str, pl.Series] = {}
    for name, column in recipe.columns.items():
        if name in values:
            series[name] = column.cells(values[name], decisions[name]).fill_null("").alias(name)
            for title, cells in column.output(name, values[name], decisions[name], columns):
                series[title] = cells.fill_null("").alias(title)
        else:
            filled = _filled(name, recipe, probabilities=True)
            series |= {
                title: pl.repeat("", len(table), eager=True).alias(title) for title in filled if title in columns
            }
    for name in own_columns(table, recipe):
        series[given_column(name)] = table.frame[name].alias(given_column(name))
    if ROW not in table.columns:
        series[ROW] = pl.int_range(1, len(table) + 1, eager=True).cast(pl.String).alias(ROW)
    return pl.DataFrame([series[name] if name in series else table.frame[name] for name in columns])


def output_forms(table: Table, recipe: Recipe, columns: Sequence[str]) -> dict[str, bytes]:
    """Return what the table's own cells are in a JSON output of entries: what they were in a JSON source.

    An entry without an answer of its own gets none beside the prediction.
    """
    if not asks_own_questions(table, recipe):
        return {}
    filled = {name for column in recipe.columns for name in _filled(column, recipe, probabilities=True)}
    forms = {name: table.forms[name] for name in columns if name in table.forms and name not in filled}
    for name in own_columns(table, recipe):
        if (title := given_column(name)) in columns:
            known = table.forms.get(name, bytes(len(table)))
            empty = table.frame[name] == ""
            forms[title] = bytes(JSON_MISSING if no else form for no, form in zip(empty, known, strict=True))
    return forms


def empty_cells(values: Mapping[str, ColumnValues], recipe: Recipe, decisions: Mapping[str, Any]) -> dict[str, int]:
    """Count the cells that stayed empty though they were asked for, by column; columns without any are left out."""
    counts: dict[str, int] = {}
    for name, column in recipe.columns.items():
        if name in values and column.reason_for_empty(decisions[name]):
            counts[name] = int((column.cells(values[name], decisions[name]) == "").sum())
    return {name: count for name, count in counts.items() if count}


def _filled(name: str, recipe: Recipe, *, probabilities: bool) -> list[str]:
    beside = recipe.columns[name].output_columns(name)
    return [name, *(each.title for each in beside if probabilities or not each.is_optional)]

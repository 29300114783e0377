"""The own cells of a table that `predict` has filled in.

`predict` writes its answers under the name of a column, and the cells that the table had there as `NAME_given`. Where
such a file is read as a table, these cells are the column again: they are learned and scored, and they stay
`NAME_given` when the table is filled in once more.
"""

import warnings
from collections.abc import Iterable, Sequence
from dataclasses import replace
from typing import Any

from papertune.errors import PapertuneWarning, quoted
from papertune.kinds.output_names import given_column
from papertune.prompts.examples import reads_entries
from papertune.recipe import Recipe
from papertune.tables import Table, read_table
from papertune.templates import template_columns

# Warnings name the caller of the pipeline that opens the table.
_CALLER = 5


def open_table(source: Any, recipe: Recipe) -> Table:
    """Read a table, with its own cells in the recipe's columns.

    Args:
        source: As for `read_table`.
        recipe: Names the columns.

    Raises:
        TableError: If the source cannot be read as a table.
    """
    table = read_table(source)
    filled = filled_columns(table, recipe)
    if answered := [name for name in filled if name in table.columns]:
        own = _named(map(given_column, answered))
        warnings.warn(
            f"{table.source} was filled in before: its own cells of {_named(answered)} are in {own} and are used; the "
            f"answers of the earlier prediction are left out. To keep those instead, remove {own}.",
            PapertuneWarning,
            stacklevel=_CALLER,
        )
    return with_given_cells(table, filled)


def filled_columns(table: Table, recipe: Recipe) -> list[str]:
    """Return the recipe's columns whose own cells the table has under another name, as `predict` writes them."""
    if reads_entries(table, recipe):
        return ["output"] if "output" in recipe.columns and given_column("output") in table.columns else []
    # What the model reads is no output.
    read = {recipe.table.id, *template_columns(recipe.table.document)}
    read |= {column.question_column for column in recipe.questions.values()}
    return [name for name in recipe.columns if (title := given_column(name)) in table.columns and title not in read]


def with_given_cells(table: Table, names: Sequence[str]) -> Table:
    """Return a table with its own cells in some columns that were filled in.

    Args:
        table: Has a column `NAME_given` for each name.
        names: Columns that were filled in.
    """
    if not names:
        return table
    titles = {given_column(name): name for name in names}
    own = [table.frame[title].alias(name) for title, name in titles.items()]
    forms = {title: cells for title, cells in table.forms.items() if title not in titles and title not in names}
    forms |= {name: table.forms[title] for title, name in titles.items() if title in table.forms}
    return replace(table, frame=table.frame.with_columns(own).drop(*titles), forms=forms)


def _named(names: Iterable[str]) -> str:
    return ", ".join(map(quoted, names))

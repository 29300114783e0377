"""Documents and labels of a table for a simulation."""

from collections.abc import Collection

import numpy as np
from numpy.typing import NDArray

from papertune.errors import RecipeError, ScreeningError, quoted
from papertune.screening.records import no_records
from papertune.screening.settings import settings_for
from papertune.tables import Table, read_table
from papertune.templates import template_columns

_INCLUDE = ("included", "1")


def labelled_documents(
    source: str, recipe: str | None, label: str | None, include: Collection[str]
) -> tuple[list[str], NDArray[np.bool_]]:
    """Return the documents of a table and whether each is relevant.

    Args:
        source: The table.
        recipe: Recipe whose document and first label column are used; None: title and abstract.
        label: The label column; None: that of the recipe, or "label".
        include: Values that mean include; empty: the first label of the recipe, or "included" and "1".

    Raises:
        PapertuneError: If a column is missing, a cell is empty, or no cell means include.
    """
    table = read_table(source)
    if recipe is None:
        settings = settings_for(table, "simulation")
        records = no_records()
        records.add(table, settings, 0, {})
        documents, column, values = records.documents(), label or "label", set(include) or set(_INCLUDE)
    else:
        documents, column, values = _by_recipe(table, recipe, label, include)
    cells = [cell.strip() for cell in table.column(column)]
    if empty := [row for row, cell in enumerate(cells) if not cell]:
        raise ScreeningError(
            f"{table.where(empty[0], column)}: the cell is empty, as are {len(empty) - 1:,} others. A simulation needs "
            "all labels: fill them in, or leave these rows out."
        )
    relevant = np.array([cell in values for cell in cells], dtype=bool)
    if not relevant.any():
        shown = ", ".join(quoted(cell) for cell in list(dict.fromkeys(cells))[:10])
        raise ScreeningError(
            f"{table.source}, column {quoted(column)}: no cell is {' or '.join(map(quoted, sorted(values)))}. The "
            f"cells are {shown}. Name the value that means include with --include."
        )
    return documents, relevant


def _by_recipe(
    table: Table, recipe: str, label: str | None, include: Collection[str]
) -> tuple[list[str], str, set[str]]:
    from papertune.prompts.examples import RowReader
    from papertune.recipe import load_recipe

    loaded = load_recipe(recipe)
    columns = [name for name, column in loaded.columns.items() if column.is_ranked_by_first_label]
    if not columns:
        raise RecipeError(f"{recipe} has no label column. Name one with --label and leave out the recipe.")
    for name in template_columns(loaded.table.document):
        table.column(name)
    chosen = label or columns[0]
    first = loaded.questions[chosen].joined_labels[:1] if chosen in columns else _INCLUDE
    reader = RowReader(table, loaded)
    return [reader.document(row) for row in range(len(table))], chosen, set(include) or set(first)

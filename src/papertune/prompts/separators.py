"""The separators of list cells, decided for all training rows of a column together."""

from collections.abc import Iterator, Sequence

from papertune.errors import Sentence
from papertune.kinds.separators import sign_in_words
from papertune.prompts.examples import RowReader
from papertune.recipe import Recipe
from papertune.tables import Table


def with_clear_separators(recipe: Recipe, tables: Sequence[Table]) -> tuple[Recipe, list[str]]:
    """Return the recipe with `input_separator` where the cells of a column clearly show it, and what to report.

    The recipe is kept in the run, so that later tables are read in the same way.
    """
    settings: dict[str, dict[str, str]] = {}
    messages: list[str] = []
    for name, column in recipe.columns.items():
        separator = column.clear_separator(_gold_cells(tables, recipe, name))
        if separator is not None:
            settings[name] = {"input_separator": separator}
            text = (
                f'column "{name}": cells are split at {sign_in_words(separator)}, as most of them show; set '
                f'columns.{name}.input_separator to it, or to what separates instead, such as ";".'
            )
            messages.append(Sentence(text, "split_at", column=name, separator=separator))
    return recipe.with_settings(settings), messages


def _gold_cells(tables: Sequence[Table], recipe: Recipe, name: str) -> Iterator[str]:
    for table in tables:
        reader = RowReader(table, recipe)
        for row in range(len(table)):
            if (cell := reader.given(row, name)) is not None:
                yield cell

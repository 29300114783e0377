"""What was asked about the rows of a table."""

import warnings
from collections.abc import Sequence
from typing import Any

from papertune.errors import PapertuneWarning, TableError
from papertune.preferences.matching import Key, Rows, index_rows
from papertune.prompts.check_table import check_table
from papertune.prompts.examples import RowReader, reads_entries
from papertune.recipe import Recipe
from papertune.tables import Table
from papertune.templates import template_columns


class Asked:
    """Finds the document and the questions of a row by its key.

    Args:
        rows: The table with the documents, by the keys of the other tables.
        recipe: Has the questions.

    Raises:
        TableError: If the table does not fit the recipe.
    """

    def __init__(self, rows: Rows, recipe: Recipe) -> None:
        findings = check_table(rows.table, recipe, "predict")
        findings.raise_problems(rows.table)
        for warning in findings.warnings:
            warnings.warn(warning, PapertuneWarning, stacklevel=4)
        self._rows = rows
        self._reader = RowReader(rows.table, recipe)

    def __contains__(self, key: Key) -> bool:
        return key in self._rows.by_key

    def unknown(self, place: str) -> str:
        """Return the problem of a row that the table with the documents lacks, given the row's place."""
        return f"{place}: its document is not in {self._rows.table.source}. Give the table that was predicted."

    def document(self, key: Key) -> str:
        """Return the document of a row."""
        return self._reader.document(self._rows.by_key[key])

    def text(self, key: Key) -> str:
        """Return the cells of a row's document, a line each, without the text of the template."""
        row = self._rows.by_key[key]
        if self._reader.is_instructions:
            return self._reader.input(row)
        names = template_columns(self._reader.recipe.table.document)
        return "\n".join(self._rows.table.frame[name][row] for name in names)

    def fields(self, key: Key, column: str) -> dict[str, Any]:
        """Return what an entry of preferences has about a row and a question."""
        row = self._rows.by_key[key]
        prompt = self._reader.prompt(row, column)
        return {
            "column": column,
            "instruction": self._reader.question(row, column),
            "input": self._reader.input(row),
            "paper": self._rows.paper(key),
            "system": prompt.system,
            "history": prompt.history,
        }


def find_documents(tables: Sequence[Rows], documents: Table | None, recipe: Recipe) -> Asked:
    """Return what was asked about the rows of tables.

    Args:
        tables: The tables by key, the one that is preferred first.
        documents: The table with the documents; None: one of `tables` has them.
        recipe: Has the questions.

    Raises:
        TableError: If no table has the documents, or one that has them does not fit.
    """
    if documents is None:
        found = next((rows for rows in tables if _has_documents(rows.table, recipe)), None)
        if found is None:
            missing = [name for name in template_columns(recipe.table.document) if name not in tables[0].table.columns]
            columns = f"column {missing[0]}" if len(missing) == 1 else f"columns {', '.join(missing)}"
            raise TableError(
                f"{tables[0].table.source} has no {columns}, so the documents are not known. Add the table that was "
                "predicted: --documents TABLE."
            )
        return Asked(found, recipe)
    return Asked(index_rows(documents, tables[0].names), recipe)


def _has_documents(table: Table, recipe: Recipe) -> bool:
    needed = set(template_columns(recipe.table.document))
    return reads_entries(table, recipe) or needed <= set(table.columns)

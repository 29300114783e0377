"""Finds the rows of several tables that belong together."""

from collections.abc import Sequence
from dataclasses import dataclass

from papertune.errors import TableError, quoted
from papertune.kinds.output_names import ROW
from papertune.prompts.examples import reads_entries
from papertune.recipe import Recipe
from papertune.tables import Table
from papertune.templates import template_columns

# What makes an entry of an instruction file.
_ENTRY = ("instruction", "input", "system", "history")
Key = tuple[str, ...]


@dataclass(frozen=True)
class Rows:
    """The rows of a table by what names them.

    Attributes:
        table: The table.
        names: The columns that name a row: the id, `row`, or all that is asked in an entry of an instruction file;
            none: its place does.
        by_key: The row of each key, from 0.
    """

    table: Table
    names: tuple[str, ...]
    by_key: dict[Key, int]

    def paper(self, key: Key) -> str:
        """Return what files call a row: its id, or its number from 1."""
        return key[0] if len(self.names) == 1 else str(self.by_key[key] + 1)


def rows_by_key(tables: Sequence[Table], recipe: Recipe) -> list[Rows]:
    """Return the rows of tables by the columns that name them in all of these tables, or else by their place.

    Args:
        tables: The tables; a single one needs no such columns, since its rows have numbers.
        recipe: Names the id column.

    Raises:
        TableError: If the tables have no such columns in common and not the same documents in the same order, or a key
            is empty or occurs twice.
    """
    names = _key_columns(tables, recipe)
    return [index_rows(table, names) for table in tables]


def index_rows(table: Table, names: tuple[str, ...]) -> Rows:
    """Return the rows of a table by the columns that name them; without names, or without a column `row`, by number.

    Raises:
        TableError: If one of the columns is missing, or a key is empty or occurs twice.
    """
    if not names or (names == (ROW,) and ROW not in table.columns):
        return Rows(table, names, {(str(row + 1),): row for row in range(len(table))})
    for name in names:
        table.column(name)  # raises if it is missing
    rows: dict[Key, int] = {}
    problems: list[str] = []
    for row, key in enumerate(table.frame.select(names).iter_rows()):
        if not any(part.strip() for part in key):
            problems.append(f"{table.where(row, names[0])} is empty. Give the row an id, or remove it.")
        elif key in rows:
            problems.append(
                f"{table.where(row, names[0])}: {quoted(key[0])} is already at {table.where(rows[key])}. Make ids "
                "unique, or remove one of the rows."
            )
        else:
            rows[key] = row
    if problems:
        raise TableError.collect(f"{table.source}: rows cannot be matched", problems)
    return Rows(table, names, rows)


def _key_columns(tables: Sequence[Table], recipe: Recipe) -> tuple[str, ...]:
    identity = recipe.table.id
    for name in (identity, ROW):
        if name is not None and all(name in table.columns for table in tables):
            return (name,)
    if len(tables) == 1:
        return (ROW,)
    if all(reads_entries(table, recipe) for table in tables):
        return tuple(name for name in _ENTRY if all(name in table.columns for table in tables))
    if _have_same_documents(tables, recipe):
        return ()  # not `row`, which one of them may have: with the numbers of another order
    lacking = min(tables, key=lambda table: (identity in table.columns) + (ROW in table.columns))
    columns = f'no column "{ROW}"' if identity is None else f'neither the id column "{identity}" nor "{ROW}"'
    raise TableError(
        f"{lacking.source} has {columns}, so its rows cannot be matched. Keep the columns that predict has written, or "
        "name the id in table.id."
    )


def _have_same_documents(tables: Sequence[Table], recipe: Recipe) -> bool:
    """Whether each row of a table has the document of the same row in the others, so that its place names it."""
    names = template_columns(recipe.table.document)
    if not all(name in table.columns for table in tables for name in names):
        return False
    first = tables[0].frame.select(names)
    return all(table.frame.select(names).equals(first) for table in tables[1:])


def common_rows(first: Rows, second: Rows) -> tuple[list[Key], list[str]]:
    """Return the keys that two tables have in common, in the order of the first, and what to report of the others.

    Raises:
        TableError: If there are none.
    """
    common = [key for key in first.by_key if key in second.by_key]
    if not common:
        one, other = (next(iter(rows.by_key))[0] for rows in (first, second))
        raise TableError(
            f"{first.table.source} and {second.table.source} have no row in common: {quoted(first.names[0])} is "
            f"{quoted(one)} in the first row of one and {quoted(other)} in that of the other. If a spreadsheet program "
            "has changed the ids, such as 0012 to 12, import that column as text."
        )
    lines = []
    for rows, others in ((first, second), (second, first)):
        only = [rows.by_key[key] for key in rows.by_key if key not in others.by_key]
        if only:
            are = "1 row is" if len(only) == 1 else f"{len(only):,} rows are"
            lines.append(f"{rows.table.where(only[0])}: {are} not in {others.table.source}; left out")
    return common, lines

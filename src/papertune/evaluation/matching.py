"""Which row of a table each row of its predictions belongs to.

Predictions need not be in the order of the table: `predict --sort-by` writes them in another one. Rows are matched by
the recipe's id, else by the column `row`, else by the text that the model has read. Only where a file has none of these
is the order trusted, with a warning.
"""

import re
import warnings
from collections import defaultdict
from collections.abc import Sequence

from papertune.errors import PapertuneWarning, TableError, quoted
from papertune.events import SILENT, Listener
from papertune.kinds.output_names import ROW, given_column
from papertune.prompts.examples import prompt_columns
from papertune.recipe import Recipe
from papertune.tables import Table

# Programs turn whole numbers into floats.
_ROW_NUMBER = re.compile(r"\s*0*([1-9]\d*)(?:\.0+)?\s*", re.ASCII)
_NUMBER_KEY = re.compile(r"\s*0*(\d+)(?:\.0+)?\s*", re.ASCII)
_PREDICT_AGAIN = "Give the file that `papertune predict` has written for this table."


def match_rows(predicted: Table, gold: Table, recipe: Recipe, listener: Listener = SILENT) -> Table:
    """Return a predicted table in the order of the table that it was predicted for.

    Args:
        predicted: What `predict` has written. Rows that the other table lacks are left out.
        gold: The table with the gold columns.
        recipe: The run's recipe.
        listener: Gets a message about rows that are left out.

    Raises:
        TableError: If a row of the table has no prediction, or rows cannot be told apart.
    """
    rows = _matching_rows(predicted, gold, recipe)
    if rows is None:
        if len(predicted) != len(gold):
            raise TableError(
                f"{predicted.source} has {len(predicted):,} rows, but {gold.source} has {len(gold):,}. {_PREDICT_AGAIN}"
            )
        _warn_of_order(predicted, gold, recipe)
        return predicted
    if more := sorted({*range(len(predicted))} - {*rows}):
        count = "1 row is" if len(more) == 1 else f"{len(more):,} rows are"
        listener.message(f"{predicted.where(more[0])}: {count} not in {gold.source} and not scored (this is the first)")
    return predicted.take(rows)


def _matching_rows(predicted: Table, gold: Table, recipe: Recipe) -> list[int] | None:
    """Return for each row of a table its predicted row; None if nothing says which that is."""
    key = recipe.table.id
    if key is not None and key not in predicted.columns:
        _check_spelling(predicted, key)
    if key is not None and key in predicted.columns and key in gold.columns:
        return _rows_with_keys(predicted, gold, key, "id")
    if ROW in predicted.columns and ROW in gold.columns and predicted.identifies(ROW) and gold.identifies(ROW):
        return _rows_with_keys(predicted, gold, ROW, "number")
    if ROW in predicted.columns and ROW not in gold.columns:
        return _numbered_rows(predicted, gold)
    read = prompt_columns(gold, recipe)
    return _rows_with_text(predicted, gold, read) if {*read} <= {*predicted.columns} and read else None


def _check_spelling(predicted: Table, key: str) -> None:
    """Check that no column is the id column in another case: then its rows need not be in the order of the table."""
    for name in predicted.columns:
        if name.strip().casefold() == key.strip().casefold():
            raise TableError(
                f"{predicted.source} has no column {quoted(key)}, which table.id names, but {quoted(name)}. Rename it."
            )


def _rows_with_numbers(where: dict[str, int], gold: Table, key: str) -> list[int] | None:
    """Return for each row of a table the predicted row with the same number: `7`, `7.0` and `007` are one.

    Args:
        where: The predicted row of each key.
        gold: The table.
        key: The column.

    Returns:
        The rows; None if a key has none, or two keys of a table are one number.
    """
    numbered = {_as_number(cell): row for cell, row in where.items()}
    keys = [_as_number(cell) for cell in gold.frame[key]]
    if len(numbered) < len(where) or len({*keys}) < len(keys) or not {*keys} <= numbered.keys():
        return None
    return [numbered[each] for each in keys]


def _as_number(key: str) -> str:
    match = _NUMBER_KEY.fullmatch(key)
    return match[1] if match else key


def rows_by_key(table: Table, key: str) -> dict[str, int]:
    """Return the row of each cell of a column.

    Raises:
        TableError: If two cells are the same.
    """
    rows: dict[str, int] = {}
    for row, value in enumerate(table.frame[key]):
        if value in rows:
            raise TableError(
                f"{table.where(row, key)}: the id {quoted(value)} is already at {table.where(rows[value])}. Make ids "
                "unique."
            )
        rows[value] = row
    return rows


def _rows_with_keys(predicted: Table, gold: Table, key: str, what: str) -> list[int]:
    """Return for each row of a table the predicted row with the same cell in a column."""
    where = rows_by_key(predicted, key)
    missing = [row for row, value in enumerate(gold.frame[key]) if value not in where]
    if missing:
        if (rows := _rows_with_numbers(where, gold, key)) is not None:
            warnings.warn(
                f"{predicted.where(rows[missing[0]], key)}: {len(missing):,} of {len(gold):,} {what}s are not written "
                f"as in {gold.source} (this is the first), and are matched as numbers. A spreadsheet may have changed "
                "them.",
                PapertuneWarning,
                stacklevel=4,
            )
            return rows
        value = gold.frame[key][missing[0]]
        count = f" ({len(missing):,} rows have none there)" if len(missing) > 1 else ""
        raise TableError(f"{predicted.source} has no row with the {what} {quoted(value)}{count}. {_PREDICT_AGAIN}")
    return [where[value] for value in gold.frame[key]]


def _numbered_rows(predicted: Table, gold: Table) -> list[int]:
    """Return for each row of a table the predicted row with its number, counted from 1."""
    rows: dict[int, int] = {}
    for row, cell in enumerate(predicted.frame[ROW]):
        number = _ROW_NUMBER.fullmatch(cell)
        if number is None or not 1 <= int(number[1]) <= len(gold):
            raise TableError(
                f"{predicted.where(row, ROW)}: {quoted(cell)} is not the number of a row of {gold.source}, which has "
                f"{len(gold):,}. {_PREDICT_AGAIN}"
            )
        if (first := rows.setdefault(int(number[1]), row)) != row:
            raise TableError(
                f"{predicted.where(row, ROW)}: row {number[1]} is already at {predicted.where(first)}. {_PREDICT_AGAIN}"
            )
    if missing := [number for number in range(1, len(gold) + 1) if number not in rows]:
        raise TableError(
            f"{predicted.source} has {len(predicted):,} rows, but {gold.source} has {len(gold):,}: there is no "
            f"prediction for row {missing[0]}. {_PREDICT_AGAIN}"
        )
    return [rows[number] for number in range(1, len(gold) + 1)]


def _rows_with_text(predicted: Table, gold: Table, names: Sequence[str]) -> list[int]:
    """Return for each row of a table the predicted row with the same text; equal texts in the order of the rows."""
    where: dict[tuple[str, ...], list[int]] = defaultdict(list)
    for row, text in reversed(list(enumerate(_texts(predicted, names)))):
        where[text].append(row)
    matched: list[int] = []
    for row, text in enumerate(_texts(gold, names)):
        if not where.get(text):
            raise TableError(
                f"{gold.where(row)}: {predicted.source} has no row with this {' and '.join(map(quoted, names))}, and "
                f'neither an id nor the column "{ROW}". {_PREDICT_AGAIN}'
            )
        matched.append(where[text].pop())
    return matched


def _texts(table: Table, names: Sequence[str]) -> list[tuple[str, ...]]:
    # Formats keep line breaks in different ways.
    columns = [[" ".join(cell.split()) for cell in table.column(name)] for name in names]
    return list(zip(*columns, strict=True))


def _warn_of_order(predicted: Table, gold: Table, recipe: Recipe) -> None:
    for name in recipe.columns:
        title = given_column(name)
        if title in predicted.columns and name in gold.columns:
            pairs = zip(predicted.frame[title], gold.frame[name], strict=True)
            if different := [row for row, (one, other) in enumerate(pairs) if one.strip() != other.strip()]:
                raise TableError(
                    f"{predicted.where(different[0], title)}: {quoted(predicted.frame[title][different[0]])} is not "
                    f"the cell of {gold.where(different[0], name)}, so the rows are in another order "
                    f"or the cells have changed. Predict again with {quoted(recipe.table.id or ROW)} among --columns."
                )
    warnings.warn(
        f'{predicted.source} has no id, no column "{ROW}" and not the documents, so its rows are taken to be in the '
        f"order of {gold.source}. If they are not, predict again with {quoted(recipe.table.id or ROW)} among "
        "--columns.",
        PapertuneWarning,
        stacklevel=4,
    )

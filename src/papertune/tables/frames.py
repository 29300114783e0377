"""Converts tables in memory to text: data frames of polars and pandas, and lists of dicts."""

from collections.abc import Sequence
from typing import TYPE_CHECKING, Any

from papertune.errors import quoted
from papertune.tables.cells import RowsToFrame, text_cells, text_series
from papertune.tables.formats.json_files import add_row, problems_of_objects
from papertune.tables.problems import Problems, check_names

if TYPE_CHECKING:
    import polars as pl


def polars_to_text(frame: "pl.DataFrame", source: str, first_row: int = 0) -> "pl.DataFrame":
    """Convert every column of a polars frame to text; text columns are not copied.

    Args:
        frame: Columns of any type.
        source: What messages call the frame, or the file that it comes from.
        first_row: Number of rows of the file before the frame.

    Raises:
        TableError: If column names are invalid, or values have no text form.
    """
    check_names(frame.columns, source)
    problems = _problems_of_values(source)
    columns = []
    for series in frame.get_columns():
        texts, bad = text_series(series)
        for row, reason in bad:
            problems.add(f"row {first_row + row + 1}, column {quoted(series.name)}", f"the value {reason}")
        columns.append(texts)
    problems.raise_if_any()
    return frame.clear().select() if not columns else type(frame)(columns)


def pandas_to_text(frame: Any, source: str) -> "pl.DataFrame":
    """Convert every column of a pandas frame to text; its index is left out.

    Args:
        frame: A `pandas.DataFrame`.
        source: What messages call it.

    Raises:
        TableError: If column names are invalid, or values have no text form.
    """
    import polars as pl

    names = [str(name) for name in frame.columns]
    check_names(names, source)
    problems = _problems_of_values(source)
    columns = []
    for position, name in enumerate(names):
        values = frame.iloc[:, position]
        if getattr(values.dtype, "kind", "O") in "iuf" and type(values.dtype).__module__.startswith("numpy"):
            columns.append(text_series(pl.Series(name, values.to_numpy()))[0])
            continue
        cells, bad = text_cells(values.astype(object).tolist())
        for row, reason in bad:
            problems.add(f"row {row + 1}, column {quoted(name)}", f"the value {reason}")
        columns.append(pl.Series(name, cells, dtype=pl.String))
    problems.raise_if_any()
    return pl.DataFrame(columns)


def rows_to_text(rows: Sequence[object], source: str) -> RowsToFrame:
    """Convert a list of dicts to rows of text; a column that a dict lacks is "" there.

    Args:
        rows: Dicts from column names to values.
        source: What messages call the list.

    Raises:
        TableError: With every row that is not a dict or has values without a text form.
    """
    problems = problems_of_objects(source)
    collected = RowsToFrame(source)
    for number, row in enumerate(rows, start=1):
        add_row(row, collected, f"row {number}", problems)
    problems.raise_if_any()
    return collected


def _problems_of_values(source: str) -> Problems:
    return Problems(source, "values cannot be written as text", "Convert them to text or numbers first.")

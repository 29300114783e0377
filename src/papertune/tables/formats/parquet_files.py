"""Reads Parquet files with polars, whole or some rows of them."""

from pathlib import Path
from typing import TYPE_CHECKING

from papertune.errors import TableError
from papertune.tables.frames import polars_to_text
from papertune.tables.limits.parquet import check_parquet, check_texts, group_rows

if TYPE_CHECKING:
    import polars as pl


def read_parquet(path: Path, source: str) -> "pl.DataFrame":
    """Read a whole file as text.

    Args:
        path: The file.
        source: What messages call it.

    Raises:
        TableError: If it is damaged, or unpacks to far more than a table of its size.
    """
    with path.open("rb") as file:
        check_parquet(file, path.stat().st_size, source)
    return _read(path, source)


def read_group_rows(path: Path, source: str) -> list[int]:
    """Check a file as `read_parquet` does, and return the number of rows of each of its row groups.

    Args:
        path: The file.
        source: What messages call it.

    Raises:
        TableError: If it is damaged, or unpacks to far more than a table of its size.
    """
    size = path.stat().st_size
    with path.open("rb") as file:
        check_parquet(file, size, source)
        return group_rows(file, size, source)


def read_rows(path: Path, source: str, rows: range) -> "pl.DataFrame":
    """Read some rows of a file that `read_group_rows` has checked, as text; other row groups are not unpacked.

    Args:
        path: The file.
        source: What messages call it.
        rows: The rows, from 0.

    Raises:
        TableError: If it is damaged, or unpacks to far more than a table of its size.
    """
    return _read(path, source, rows)


def _read(path: Path, source: str, rows: range | None = None) -> "pl.DataFrame":
    import polars as pl

    try:
        # A path like "x[1].parquet" or "label=1/x.parquet" is just a path.
        scan = pl.scan_parquet(path, glob=False, hive_partitioning=False)
        frame = (scan if rows is None else scan.slice(rows.start, len(rows))).collect()
        check_texts(frame, path.stat().st_size, source)
    except pl.exceptions.DuplicateError as error:
        raise TableError(f"{source}: {error}. Give every column a name of its own.") from None
    # polars panics at some damage.
    except (pl.exceptions.PolarsError, pl.exceptions.PanicException) as error:
        reason = str(error).partition("\n")[0]
        raise TableError(f"{source} is not a valid Parquet file ({reason}). Export it again.") from None
    return polars_to_text(frame, source, first_row=0 if rows is None else rows.start)

"""Limits against files that take far more memory than their size suggests, by damage or on purpose.

A table of 1,000,000 rows and 200 columns is far within them.
"""

from papertune.errors import TableError

# As in Excel. Text formats have no limit of their own.
MAX_COLUMNS = 16_384
# Cells of a table of which most are not in the file: a row or an object lacks them.
MAX_LACKING_CELLS = 10_000_000
# Fewer filled cells than one in this number: the file is no table.
MAX_CELLS_PER_FILLED = 20
# What a file may unpack to: this much, and this many times its size. Text compresses to a third or a tenth.
MAX_SMALL_UNPACKED_BYTES = 100_000_000
MAX_UNPACKING = 100

REFUSED = "It is damaged, or not a table. Export the table again."


def check_columns(columns: int, source: str) -> None:
    """Check the number of columns.

    Raises:
        TableError: If there are too many.
    """
    if columns > MAX_COLUMNS:
        raise TableError(
            f"{source} has {columns:,} columns, and a table has at most {MAX_COLUMNS:,}. Check its delimiter and line "
            "breaks, or choose columns."
        )


def is_filled(rows: int, columns: int, filled: int) -> bool:
    """Whether the cells that a file has are enough for its rows and columns."""
    return rows * columns <= max(MAX_LACKING_CELLS, MAX_CELLS_PER_FILLED * filled)


def check_filled(rows: int, columns: int, filled: int, source: str, remedy: str) -> None:
    """Check that cells are not spread over a table that is almost empty: it would take memory for each empty cell.

    Args:
        rows: Number of rows of the table, or a bound.
        columns: Number of its columns, or a bound.
        filled: Number of the cells that the file has.
        source: What messages call the file.
        remedy: What to do; a whole sentence.

    Raises:
        TableError: If they are.
    """
    if not is_filled(rows, columns, filled):
        raise TableError(f"{source}: {filled:,} cells are spread over {rows:,} rows and {columns:,} columns. {remedy}")


def max_unpacked(file_bytes: int) -> int:
    """Return what a compressed file may unpack to, in bytes."""
    return MAX_SMALL_UNPACKED_BYTES + MAX_UNPACKING * file_bytes

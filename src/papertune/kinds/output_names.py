"""Names of columns that papertune writes for any kind of column."""

# Numbers the rows of a table that has no id column.
ROW = "row"


def given_column(name: str) -> str:
    """Return the name of the column that keeps the table's own cells."""
    return f"{name}_given"

"""Tables of papers: reading any common format as text, and writing it.

`import papertune.tables` is cheap: polars and the libraries of the formats are imported when they are used.
"""

from papertune.tables.reading import SUFFIXES, TableSource, read_parquet_rows, read_table
from papertune.tables.table import Table
from papertune.tables.writing import WRITABLE, check_output, write_table

__all__ = [
    "SUFFIXES",
    "WRITABLE",
    "Table",
    "TableSource",
    "check_output",
    "read_parquet_rows",
    "read_table",
    "write_table",
]

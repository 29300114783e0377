"""Tables of papers: read from any common format into text, and written back."""

from papertune.tables.reading import SUFFIXES, read_table
from papertune.tables.table import Table
from papertune.tables.writing import WRITABLE, check_output, write_table

__all__ = ["SUFFIXES", "WRITABLE", "Table", "check_output", "read_table", "write_table"]

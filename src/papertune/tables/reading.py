"""Reads a table from wherever it is."""
import csv
from pathlib import Path
from typing import TYPE_CHECKING, Any

from papertune.errors import TableError
from papertune.tables.table import Table

SUFFIXES = (".csv", ".tsv", ".jsonl", ".json", ".parquet", ".xlsx", ".ris", ".nbib", ".txt")

def read_table(source: Any) -> Table:
    """Placeholder, being deepened."""
    import polars as pl
    if isinstance(source, Table):
        return source
    if isinstance(source, pl.DataFrame):
        return Table(source.with_columns(pl.all().cast(pl.String).fill_null("")), "data frame")
    if isinstance(source, list):
        return Table(pl.DataFrame([{k: "" if v is None else str(v) for k, v in r.items()} for r in source]), "list of rows")
    if not Path(source).exists():
        raise TableError(f"{source}: there is no such file.")
    with Path(source).open(encoding="utf-8-sig", newline="") as file:
        rows = list(csv.reader(file, delimiter="\t" if str(source).endswith(".tsv") else ","))
    return Table(pl.DataFrame({n: list(c) for n, c in zip(rows[0], zip(*rows[1:]))}), str(source), "row {} below the header")

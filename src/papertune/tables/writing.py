"""Writes tables."""
from pathlib import Path
from typing import TYPE_CHECKING

from papertune.errors import OutputError

if TYPE_CHECKING:
    import polars as pl

WRITABLE = (".csv", ".tsv", ".jsonl", ".parquet", ".xlsx")

def check_output(path: Path, *, overwrite: bool) -> None:
    """Placeholder, being deepened."""
    if Path(path).exists() and not overwrite:
        raise OutputError(f"{path} exists. Use --overwrite.")

def write_table(frame: "pl.DataFrame", path: Path, *, overwrite: bool = False) -> None:
    """Placeholder, being deepened."""
    check_output(path, overwrite=overwrite)
    frame.write_csv(path, separator="\t" if Path(path).suffix == ".tsv" else ",")

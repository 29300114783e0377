"""Reads a table from a file, by its suffix, from standard input or from memory."""

import io
import re
import sys
from collections.abc import Callable, Sequence
from dataclasses import replace
from pathlib import Path
from typing import TYPE_CHECKING, Any, BinaryIO, TypeAlias

from papertune.errors import Sentence, TableError, quoted
from papertune.suggest import did_you_mean
from papertune.tables import conversations, dataset_info, frames
from papertune.tables.decisions import with_decisions
from papertune.tables.formats import csv_files, json_files, parquet_files, reference_files, xlsx_files
from papertune.tables.formats.delimiters import has_fields
from papertune.tables.formats.encodings import XLSX_SIGNATURE, open_text
from papertune.tables.problems import Problems
from papertune.tables.table import Table

if TYPE_CHECKING:
    import pandas as pd
    import polars as pl

TableSource: TypeAlias = "str | Path | Table | pl.DataFrame | pd.DataFrame | Sequence[dict[str, Any]]"

STANDARD_INPUT = "standard input"

# What to do with files that people have and that are not read.
_CONVERTING = {
    ".bib": " From BibTeX, export .ris or .csv in your reference manager.",
    ".enl": " Export an EndNote library as .ris, or as .enw (Refer/BibIX).",
    ".ods": " Save the sheet as .xlsx or .csv.",
    ".xlsb": " Save the sheet as .xlsx or .csv.",
    ".xml": " Export the references as .ris, .nbib or .csv.",
}


def read_table(source: TableSource) -> Table:
    """Read a table; every cell is the text that the source has.

    Args:
        source: A path (its suffix is the format, see `SUFFIXES`), "-" for JSON lines from standard input,
            "FOLDER/dataset_info.json:NAME" for an entry of such a register, a data frame of polars or pandas, or a
            list of dicts.

    Returns:
        At least one row and one column.

    Raises:
        TableError: If the source cannot be read as a table; problems of the same kind are reported together.
    """
    import polars as pl

    pandas = sys.modules.get("pandas")  # a caller with a pandas frame has imported it
    if isinstance(source, Table):
        return source
    if isinstance(source, str) and source == "-":
        table = _read_json_lines(io.BytesIO(sys.stdin.buffer.read()), STANDARD_INPUT)
    elif isinstance(source, str | Path):
        table = _read_path(str(source))
    elif isinstance(source, pl.DataFrame):
        table = Table(frames.polars_to_text(source, "data frame"), "data frame")
    elif pandas is not None and isinstance(source, pandas.DataFrame):
        table = Table(frames.pandas_to_text(source, "data frame"), "data frame")
    elif isinstance(source, Sequence) and not isinstance(source, bytes):
        rows = frames.rows_to_text(source, "list of rows")
        table = Table(rows.frame(), "list of rows", forms=rows.forms())
    else:
        hint = " Put a single row into a list: [row]." if isinstance(source, dict) else ""
        raise TableError(
            f"a table cannot be made from the type {type(source).__name__}. Pass a path, a data frame of polars or "
            f"pandas, or a list of dicts.{hint}"
        )
    return _completed(table)


def read_parquet_rows(path: Path, rows: range) -> Table:
    """Read some rows of a Parquet file as a table whose messages count the rows of the file.

    Args:
        path: A file that `parquet_files.read_group_rows` has checked.
        rows: The rows, from 0.

    Raises:
        TableError: If they cannot be read as a table.
    """
    frame = parquet_files.read_rows(path, str(path), rows)
    return _completed(Table(frame, str(path), numbers=range(rows.start + 1, rows.stop + 1)))


def _completed(table: Table) -> Table:
    """Return a table from any source with the columns that are made from others of its columns."""
    table = with_decisions(_checked(table))
    tags = conversations.find_tags(table)
    return table if tags is None else conversations.read_conversations(table, tags)


def _checked(table: Table) -> Table:
    """Check that a table from any source has rows, columns and no NUL characters."""
    if not len(table):
        what = "has a header but no rows" if table.columns else "has no rows"
        text = f"{table.source} {what}. Give a table with at least one row."
        raise TableError(Sentence(text, "no_rows", table=table.source))
    if not table.columns:
        raise TableError(f"{table.source} has rows but no columns. Give each row its cells.")
    problems = Problems(
        table.source,
        "cells have NUL characters",
        "Remove them; they often come from a file in UTF-16 without its byte order mark, or from a damaged one.",
    )
    for name in table.columns:
        for row in table.frame[name].str.contains("\0", literal=True).arg_true().to_list():
            problems.add(table.place(row, name), "the cell has a NUL character")
    problems.raise_if_any()
    # One chunk per column: this moves no text, while choosing rows from many chunks would copy all of it.
    return replace(table, frame=table.frame.rechunk())


def _read_path(source: str) -> Table:
    try:
        register, colon, entry = source.rpartition(":")
        if colon and register.lower().endswith(".json") and not Path(source).exists():
            return _read_json(Path(register), register, entry)
        path = Path(source)
        reader = READERS.get(path.suffix.lower())
        if reader is None or not path.is_file():
            raise _not_a_table(path, source)
        return reader(path, source)
    except PermissionError:
        raise TableError(f"{source} cannot be read: permission denied. Change its permissions, or copy it.") from None
    except OSError as error:
        raise TableError(f"{source} cannot be read: {error.strerror or error}. Check the path and the disk.") from None


def _not_a_table(path: Path, source: str) -> TableError:
    """Explain why a path is not a table that can be read."""
    known = ", ".join(SUFFIXES)
    if path.is_dir():
        inside = sorted(child.name for child in path.iterdir() if child.suffix.lower() in READERS)
        there = f" Tables in it: {', '.join(inside[:5])}." if inside else ""
        return TableError(f"{source} is a folder. Name the table's file in it.{there}")
    if path.exists() and path.is_file():
        what = f"the unknown suffix {quoted(path.suffix)}" if path.suffix else "no suffix"
        return TableError(f"{source} has {what}. The known suffixes are {known}.{_CONVERTING.get(path.suffix, '')}")
    if path.exists():
        return TableError(f"{source} is not an ordinary file. Copy its content into one.")
    if "://" in source:
        return TableError(f"{source} is an address, not a file. Download the table first.")
    siblings = [child.name for child in path.parent.iterdir()] if path.parent.is_dir() else []
    folder = "" if path.parent.is_dir() else f" (nor a folder {path.parent})"
    text = f"{source}: there is no such file{folder}.{did_you_mean(path.name, siblings)} Check the path."
    return TableError(Sentence(text, "no_file", name=path.name))


def _read_csv(path: Path, source: str) -> Table:
    expected = "," if path.suffix.lower() == ".csv" else "\t"
    with path.open("rb") as file, open_text(file, source, newline="") as text:
        frame, numbers = csv_files.read_csv(text, source, expected)
    return Table(frame, source, csv_files.COUNTED, numbers)


def _read_json_lines(file: BinaryIO, source: str) -> Table:
    with open_text(file, source, newline="\n") as text:
        rows, lines = json_files.read_json_lines(text, source)
    return Table(rows.frame(), source, "line {}", lines, rows.forms())


def _read_jsonl(path: Path, source: str) -> Table:
    with path.open("rb") as file:
        return _read_json_lines(file, source)


def _read_json(path: Path, source: str, entry: str | None = None) -> Table:
    if not path.is_file():
        raise _not_a_table(path, source)
    with path.open("rb") as file, open_text(file, source, newline="") as opened:
        text = opened.read()
    # Any other object is one row by mistake; its message says so.
    may_be_register = entry is not None or path.name == "dataset_info.json" or '"file_name"' in text
    is_object = re.match(r"\s*\{", text) is not None
    register = dataset_info.parse_register(text, str(path)) if is_object and may_be_register else None
    if register is not None:
        return dataset_info.read_entry(register, path, entry, _read_path)
    if entry is not None:
        raise TableError(
            f"{source} is not a register of data sets like LLaMA-Factory's. Leave out {quoted(':' + entry)}."
        )
    rows = json_files.read_json_list(text, source)
    return Table(rows.frame(), source, "entry {}", forms=rows.forms())


def _read_parquet(path: Path, source: str) -> Table:
    return Table(parquet_files.read_parquet(path, source), source)


def _read_xlsx(path: Path, source: str) -> Table:
    frame, numbers = xlsx_files.read_xlsx(path, source)
    return Table(frame, source, xlsx_files.COUNTED, numbers)


def _read_references(path: Path, source: str) -> Table:
    with path.open("rb") as file, open_text(file, source, newline=None) as text:
        return Table(reference_files.read_references(text, source), source, "record {}")


def _read_by_content(path: Path, source: str) -> Table:
    """Read a file whose suffix says little: Web of Science calls its tab-delimited exports .txt or .xls."""
    with path.open("rb") as file:
        if file.read(4) == XLSX_SIGNATURE:
            return _read_xlsx(path, source)
        file.seek(0)
        with open_text(file, source, newline=None) as text:
            is_table = reference_files.find_format(text) is None and has_fields(text)
    return _read_csv(path, source) if is_table else _read_references(path, source)


READERS: dict[str, Callable[[Path, str], Table]] = {
    ".csv": _read_csv,
    ".tsv": _read_csv,
    ".jsonl": _read_jsonl,
    ".json": _read_json,
    ".parquet": _read_parquet,
    ".xlsx": _read_xlsx,
    ".ris": _read_references,
    ".nbib": _read_references,
    ".enw": _read_references,
    ".ciw": _read_references,
    ".txt": _read_by_content,
    ".xls": _read_by_content,
}
SUFFIXES = tuple(READERS)

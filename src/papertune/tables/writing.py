"""Writes a table to a file, whole or not at all."""

import json
import os
from collections.abc import Callable, Mapping
from itertools import repeat
from pathlib import Path
from typing import TYPE_CHECKING, BinaryIO, Literal

from papertune.errors import OutputError, quoted
from papertune.files import atomic_writer
from papertune.suggest import did_you_mean
from papertune.tables.cells import CHUNK_ROWS, JSON_MISSING, JSON_NULL, JSON_TEXT, JSON_VALUE, text_series
from papertune.tables.formats.delimiters import NAMES as DELIMITERS
from papertune.tables.formats.xlsx_files import check_fits_xlsx, write_xlsx

if TYPE_CHECKING:
    import polars as pl


def check_output(path: Path, *, overwrite: bool) -> None:
    """Check in advance that a table can be written.

    Args:
        path: The file to write; its suffix is the format, see `WRITABLE`.
        overwrite: Whether an existing file may be replaced.

    Raises:
        OutputError: If it cannot.
    """
    path = Path(path)
    try:
        _check_place(path, overwrite)
    except OSError as error:  # such as a folder without permission, or a name that is too long
        raise OutputError(f"{path} cannot be written: {error.strerror or error}. Choose another place.") from None


def _check_place(path: Path, overwrite: bool) -> None:
    folder = path.parent
    if path.is_dir():
        raise OutputError(f"{path} is a folder. Name a file, such as {path / 'papers.csv'}.")
    if path.suffix.lower() not in WRITERS:
        what = f"the suffix {quoted(path.suffix)}" if path.suffix else "no suffix"
        raise OutputError(f"{path} has {what}; a table can be written as {', '.join(WRITABLE)}. Choose one of these.")
    if not folder.is_dir():
        near = did_you_mean(
            folder.name, [child.name for child in folder.parent.iterdir()] if folder.parent.is_dir() else []
        )
        raise OutputError(f"{path} cannot be written: there is no folder {folder}.{near} Create it first.")
    if not os.access(folder, os.W_OK | os.X_OK):
        raise OutputError(f"{path} cannot be written: you have no write permission in {folder}. Choose another one.")
    if path.exists() and not path.is_file():
        raise OutputError(f"{path} is not an ordinary file. Choose another name.")
    if path.exists() and not overwrite:
        raise OutputError(f"{path} exists already. Choose another name, or replace it with --overwrite.")


def write_table(
    frame: "pl.DataFrame", path: Path, *, overwrite: bool = False, forms: Mapping[str, bytes] | None = None
) -> None:
    """Write a table; the same table is always written as the same bytes, and `read_table` reads it as it was.

    A cell that looks like a formula is written unchanged.

    Args:
        frame: Columns of text, or of numbers that stay numbers for programs; other types become text.
        path: The file; its suffix is the format, see `WRITABLE`.
        overwrite: Whether an existing file may be replaced.
        forms: What cells were in a JSON source, as in `Table.forms`; a JSON file gets them as they were.

    Raises:
        OutputError: If it cannot be written, or the format cannot hold it. Nothing of it is left then, and a file
            that existed is unchanged.
    """
    import polars as pl
    from xlsxwriter.exceptions import XlsxWriterException  # type: ignore[import-untyped, unused-ignore]

    path = Path(path)
    check_output(path, overwrite=overwrite)
    frame = _writable(frame, path)
    try:
        with atomic_writer(path) as file:
            suffix = path.suffix.lower()
            if forms and suffix in (".json", ".jsonl"):
                _write_json(frame, file, forms, one_per_line=suffix == ".jsonl")
            else:
                WRITERS[suffix](frame, file)
            check_output(path, overwrite=overwrite)  # another program may have written the file meanwhile
    except (OSError, pl.exceptions.PolarsError, XlsxWriterException) as error:
        reason = getattr(error, "strerror", None) or str(error).partition("\n")[0]
        raise OutputError(f"{path} could not be written: {reason}. Make room, or choose another folder.") from error


def _writable(frame: "pl.DataFrame", path: Path) -> "pl.DataFrame":
    """Return the frame with text and numbers only; refuse what `read_table` could not read."""
    import polars as pl

    columns = []
    for series in frame.get_columns():
        if not series.dtype.is_numeric() or series.dtype.is_decimal():
            series, bad = text_series(series)
            for row, reason in bad[:1]:
                raise OutputError(f"{path}, row {row + 1}, column {quoted(series.name)}: the value {reason}.")
            for row in series.str.contains("\0", literal=True).arg_true().to_list()[:1]:
                raise OutputError(
                    f"{path}, row {row + 1}, column {quoted(series.name)}: the cell has a NUL character, which tables "
                    "cannot hold. Remove it."
                )
        columns.append(series)
    writable = pl.DataFrame(columns)
    if path.suffix.lower() == ".xlsx":
        check_fits_xlsx(writable, str(path))
    return writable


def _write_csv(frame: "pl.DataFrame", file: BinaryIO, separator: str = ",") -> None:
    import polars as pl

    if frame.width > 1:
        # polars writes empty text as "" and a null as nothing. In a single column, nothing would be a blank line.
        texts = pl.col(pl.String)
        frame = frame.with_columns(pl.when(texts != "").then(texts))
    # In a header without delimiters, `read_csv` would use another unquoted sign as one.
    ambiguous = frame.width == 1 and any(char in frame.columns[0] for char in DELIMITERS)
    style: Literal["always", "necessary"] = "always" if ambiguous else "necessary"
    frame.write_csv(file, separator=separator, line_terminator="\n", quote_style=style)


def _write_tsv(frame: "pl.DataFrame", file: BinaryIO) -> None:
    _write_csv(frame, file, separator="\t")


def _write_json(
    frame: "pl.DataFrame", file: BinaryIO, forms: Mapping[str, bytes] | None = None, *, one_per_line: bool = False
) -> None:
    """Write a list of objects, or one object per line."""
    names = [json.dumps(name, ensure_ascii=False) for name in frame.columns]
    row_forms = zip(*((forms or {}).get(name, repeat(JSON_TEXT)) for name in frame.columns), strict=False)
    begin, between, end = ("{", ", ", "}\n") if one_per_line else ("  {\n    ", ",\n    ", "\n  }")
    written = 0
    file.write(b"" if one_per_line else b"[")
    for part in frame.iter_slices(CHUNK_ROWS):
        for row, kinds in zip(part.rows(), row_forms, strict=False):
            cells = zip(names, row, kinds, strict=True)
            texts = [f"{name}: {_json_text(cell, form)}" for name, cell, form in cells if form != JSON_MISSING]
            before = "" if one_per_line else ",\n" if written else "\n"
            file.write(f"{before}{begin}{between.join(texts)}{end}".encode())
            written += 1
    file.write(b"" if one_per_line else b"\n]\n")


def _json_text(cell: object, form: int) -> str:
    if form == JSON_VALUE:
        return str(cell)
    is_null = cell is None or cell != cell or form == JSON_NULL
    return "null" if is_null else json.dumps(cell, ensure_ascii=False)


WRITERS: dict[str, Callable[["pl.DataFrame", BinaryIO], None]] = {
    ".csv": _write_csv,
    ".tsv": _write_tsv,
    ".jsonl": lambda frame, file: frame.write_ndjson(file),
    ".json": _write_json,
    ".parquet": lambda frame, file: frame.write_parquet(file),
    ".xlsx": write_xlsx,
}
WRITABLE = tuple(WRITERS)

"""Reads and writes Excel's .xlsx: one sheet of text whose first row has the column names."""

import datetime
import math
import warnings
from pathlib import Path
from typing import TYPE_CHECKING, Any, BinaryIO

from papertune.errors import OutputError, PapertuneWarning, TableError, quoted
from papertune.tables.problems import check_names

if TYPE_CHECKING:
    import polars as pl

COUNTED = "row {} of the sheet"

# Excel's own limits.
MOST_ROWS = 1_048_576
MOST_COLUMNS = 16_384
LONGEST_CELL = 32_767  # UTF-16 code units


def read_xlsx(path: Path, source: str) -> tuple["pl.DataFrame", range]:
    """Read the first sheet that is not empty.

    Numbers become the text that Excel shows for them without formatting (1, not 1.0), dates ISO text; cells with an
    error such as #N/A are empty.

    Args:
        path: The file.
        source: What messages call it.

    Returns:
        All columns as text; the number of each row in the sheet, where the header is usually row 1.

    Raises:
        TableError: If this is no xlsx file, or its column names are unusable.
    """
    import fastexcel

    try:
        # Bytes and not the path: fastexcel goes by the suffix, and would take an .XLSX for something unknown.
        workbook = fastexcel.read_excel(path.read_bytes())
        filled: dict[str, pl.DataFrame] = {}
        for name in workbook.sheet_names:
            # skip_rows=0: else leading empty rows vanish, and with them the numbers of the others. Of further sheets
            # only a warning is made: one row is enough.
            rows = 1 if filled else None
            loaded = workbook.load_sheet(name, header_row=None, skip_rows=0, n_rows=rows, dtypes="string").to_polars()
            if loaded.height and (filled or any(column.count() for column in loaded.get_columns())):
                filled[name] = loaded
    except fastexcel.FastExcelError as error:
        reason = str(error).partition("\n")[0]
        raise TableError(
            f"{source} is not an xlsx file that can be read ({reason}). Save it again from Excel."
        ) from None
    if not filled:
        raise TableError(f"{source} is empty: no sheet has a cell. Export the table again.")
    sheet, cells = next(iter(filled.items()))
    if len(filled) > 1:
        warnings.warn(
            f"{source} has {len(filled)} sheets; only the first, {quoted(sheet)}, is read. To use another one, save "
            "it as a file of its own.",
            PapertuneWarning,
            stacklevel=2,
        )
    cells = cells.fill_null("")
    header = next(row for row in range(cells.height) if any(cells.row(row)))
    names = [name.strip("\ufeff") for name in cells.row(header)]
    check_names(names, source)
    body = cells[header + 1 :]
    body.columns = names
    body = _plain_dates(body, workbook, sheet, header)
    return body, range(header + 2, header + 2 + body.height)


def _plain_dates(body: "pl.DataFrame", workbook: Any, sheet: str, header: int) -> "pl.DataFrame":
    """Drop the midnights of date columns: Excel has no dates without a time, and fastexcel writes all of it."""
    import polars as pl

    midnight = r"^\d{4}-\d\d-\d\d 00:00:00$"
    suspects = [name for name in body.columns if body[name].str.contains(midnight).any()]
    if not suspects:
        return body
    # A second look with types tells dates from texts that look like them.
    typed = workbook.load_sheet(sheet, header_row=header, schema_sample_rows=None).to_polars()
    dates = [
        name
        for name, dtype in zip(body.columns, typed.dtypes, strict=False)
        if name in suspects and dtype in (pl.Date, pl.Datetime)
    ]
    return body.with_columns(
        pl.when(pl.col(name).str.contains(midnight))
        .then(pl.col(name).str.slice(0, 10))
        .otherwise(pl.col(name))
        .alias(name)
        for name in dates
    )


def check_fits_xlsx(frame: "pl.DataFrame", source: str) -> None:
    """Refuse a table that Excel could not hold whole.

    Args:
        frame: Columns of text or numbers.
        source: What messages call the file to be written.

    Raises:
        OutputError: If it has too many rows or columns, or a cell is too long or has a character that xlsx lacks.
    """
    import polars as pl

    remedy = "Write .csv or .parquet instead."
    if frame.height >= MOST_ROWS or frame.width > MOST_COLUMNS:
        raise OutputError(
            f"{source}: an xlsx sheet holds {MOST_ROWS - 1:,} rows below the header and {MOST_COLUMNS:,} columns, and "
            f"this table has {frame.height:,} and {frame.width:,}. {remedy}"
        )
    for name in frame.columns:
        if frame[name].dtype != pl.String:
            continue
        # At least one byte a unit: only cells that are long in bytes need the exact count.
        for row in (frame[name].str.len_bytes() > LONGEST_CELL).arg_true().to_list():
            length = len(frame[name][row].encode("utf-16-le")) // 2
            if length > LONGEST_CELL:
                raise OutputError(
                    f"{source}, row {row + 2} of the sheet, column {quoted(name)}: the cell has {length:,} characters "
                    f"and xlsx holds at most {LONGEST_CELL:,}. {remedy}"
                )
        for row in frame[name].str.contains("[\ufffe\uffff]").arg_true().to_list()[:1]:
            raise OutputError(
                f"{source}, row {row + 2} of the sheet, column {quoted(name)}: xlsx cannot hold the characters U+FFFE "
                f"and U+FFFF. {remedy}"
            )


def write_xlsx(frame: "pl.DataFrame", file: BinaryIO) -> None:
    """Write one sheet; text stays text, also where it looks like a number, a formula or an address.

    Args:
        frame: Columns of text or numbers that `check_fits_xlsx` let pass.
        file: Gets the bytes.
    """
    import xlsxwriter  # type: ignore[import-untyped, unused-ignore]

    workbook = xlsxwriter.Workbook(file, {"constant_memory": True})
    # Else the time of writing: the same table is to give the same bytes.
    workbook.set_properties({"created": datetime.datetime(2000, 1, 1)})
    sheet = workbook.add_worksheet("papers")
    for column, name in enumerate(frame.columns):
        sheet.write_string(0, column, name)
    for row, cells in enumerate(frame.iter_rows(), start=1):
        for column, cell in enumerate(cells):
            if isinstance(cell, str):
                if cell:
                    sheet.write_string(row, column, cell)
            elif cell is not None and math.isfinite(cell):
                sheet.write_number(row, column, cell)
    if frame.height and not any(frame.row(-1)):
        # An empty last row would be no row at all. write_string() leaves empty text out, and this does not.
        sheet._write_string(frame.height, 0, "")
    workbook.close()

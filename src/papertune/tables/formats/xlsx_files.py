"""Reads and writes Excel's .xlsx: one sheet of text with the column names in its first row."""

import datetime
import io
import math
import warnings
from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any, BinaryIO

from papertune.errors import OutputError, PapertuneWarning, TableError, quoted
from papertune.tables.cells import is_blank
from papertune.tables.formats.grid import Grid, table_of_grid
from papertune.tables.formats.xlsx_marks import scan_sheet
from papertune.tables.limits.xlsx import check_xlsx
from papertune.tables.remarks import is_remark

if TYPE_CHECKING:
    import polars as pl

COUNTED = "row {} of the sheet"

_MIDNIGHT = r"^\d{4}-\d\d-\d\d 00:00:00$"

# Excel's own limits.
_MAX_ROWS = 1_048_576
_MAX_COLUMNS = 16_384
_MAX_CELL_UNITS = 32_767  # of UTF-16


def read_xlsx(path: Path, source: str) -> tuple["pl.DataFrame", Sequence[int]]:
    """Read the first visible sheet that is not empty.

    Numbers become the text that Excel shows for them without formatting (1, not 1.0), dates become ISO text. Cells with
    an error such as #N/A, and formulas without a stored value, become empty, with a warning; another one is about
    numbers that Excel has rounded.

    Args:
        path: The file.
        source: What messages call it.

    Returns:
        All columns as text; the number of each row in the sheet, where the header is usually row 1.

    Raises:
        TableError: If this is not an xlsx file, or its column names are invalid.
    """
    import fastexcel

    content = path.read_bytes()
    check_xlsx(io.BytesIO(content), len(content), source)
    try:
        # Bytes and not the path: fastexcel goes by the suffix, and does not know .XLSX.
        workbook = fastexcel.read_excel(content)
        sheet, cells = _first_sheet(workbook, source)
        cells = _plain_dates(cells.fill_null(""), workbook, sheet)
    except fastexcel.FastExcelError as error:
        reason = str(error).partition("\n")[0]
        raise TableError(f"{source} is not a valid xlsx file ({reason}). Save it again from Excel.") from None
    filled = (row for row in range(cells.height) if not all(map(is_blank, cells.row(row))))
    if (header := next((row for row in filled if not is_remark(cells.row(row))), None)) is None:
        raise TableError(f"{source} has no header: every cell is blank, or a remark. Export the table again.")
    names = [name.strip("\ufeff") for name in cells.row(header)]
    body = cells[header + 1 :]
    for count, first, what, remedy in scan_sheet(path, sheet):
        has = "1 cell has" if count == 1 else f"{count:,} cells have"
        warnings.warn(f"{source}: {has} {what} (first: {first}). {remedy}", PapertuneWarning, stacklevel=2)
    numbers = range(header + 2, header + 2 + body.height)
    return table_of_grid(Grid(names, body, source, COUNTED, numbers, COUNTED.format(header + 1)))


def _first_sheet(workbook: Any, source: str) -> tuple[str, "pl.DataFrame"]:
    """Return the first visible sheet with cells, as text; warn if others have cells too."""
    shown: list[tuple[str, pl.DataFrame]] = []
    hidden: list[str] = []
    for name in workbook.sheet_names:
        # skip_rows=0: else leading empty rows are skipped, and rows would be counted wrongly. Further sheets only
        # lead to a warning: one row is enough.
        rows = 1 if shown else None
        sheet = workbook.load_sheet(name, header_row=None, skip_rows=0, n_rows=rows, dtypes="string")
        cells = sheet.to_polars()
        if cells.height and (rows or any(column.count() for column in cells.get_columns())):
            if sheet.visible == "visible":
                shown.append((name, cells))
            else:
                hidden.append(name)
    if not shown and hidden:
        raise TableError(f"{source}: the only sheets with cells are hidden ({', '.join(hidden)}). Unhide the table's.")
    if not shown:
        raise TableError(f"{source} is empty: no sheet has a cell. Export the table again.")
    if len(shown) + len(hidden) > 1:
        others = ", ".join(map(quoted, [*(name for name, _ in shown[1:]), *hidden]))
        warnings.warn(
            f"{source} has {len(shown) + len(hidden)} sheets; only the first that is visible, {quoted(shown[0][0])}, "
            f"is read, and not {others}. To use another one, save it as a separate file.",
            PapertuneWarning,
            stacklevel=3,
        )
    return shown[0]


def _plain_dates(cells: "pl.DataFrame", workbook: Any, sheet: str) -> "pl.DataFrame":
    """Drop the midnights of dates: Excel has no dates without a time, and fastexcel shows it."""
    import polars as pl

    suspects = [p for p, column in enumerate(cells.get_columns()) if column.str.contains(_MIDNIGHT).any()]
    if not suspects:
        return cells
    # Loaded once more as dates, which text is not, even if it looks like one.
    typed = workbook.load_sheet(sheet, header_row=None, skip_rows=0, dtypes="datetime").to_polars()
    return cells.with_columns(
        pl.when(cells[:, p].str.contains(_MIDNIGHT) & typed[:, p].is_not_null())
        .then(cells[:, p].str.slice(0, 10))
        .otherwise(cells[:, p])
        .alias(cells.columns[p])
        for p in suspects
    )


def check_fits_xlsx(frame: "pl.DataFrame", source: str) -> None:
    """Check that an Excel sheet can hold a table.

    Args:
        frame: Columns of text or numbers.
        source: What messages call the file to be written.

    Raises:
        OutputError: If it has too many rows or columns, or a cell is too long or has a character that xlsx lacks.
    """
    import polars as pl

    remedy = "Write .csv or .parquet instead."
    if frame.height >= _MAX_ROWS or frame.width > _MAX_COLUMNS:
        raise OutputError(
            f"{source}: an xlsx sheet holds {_MAX_ROWS - 1:,} rows below the header and {_MAX_COLUMNS:,} columns, and "
            f"this table has {frame.height:,} and {frame.width:,}. {remedy}"
        )
    for name in frame.columns:
        if frame[name].dtype != pl.String:
            continue
        # A unit has at least one byte: only cells that are long in bytes need the exact count.
        for row in (frame[name].str.len_bytes() > _MAX_CELL_UNITS).arg_true().to_list():
            length = len(frame[name][row].encode("utf-16-le")) // 2
            if length > _MAX_CELL_UNITS:
                raise OutputError(
                    f"{source}, row {row + 2} of the sheet, column {quoted(name)}: the cell has {length:,} characters "
                    f"and xlsx holds at most {_MAX_CELL_UNITS:,}. {remedy}"
                )
        for row in frame[name].str.contains("[\ufffe\uffff]").arg_true().to_list()[:1]:
            raise OutputError(
                f"{source}, row {row + 2} of the sheet, column {quoted(name)}: xlsx cannot hold the characters U+FFFE "
                f"and U+FFFF. {remedy}"
            )


def write_xlsx(frame: "pl.DataFrame", file: BinaryIO) -> None:
    """Write one sheet; text stays text, even if it looks like a number, a formula or an address.

    Args:
        frame: Columns of text or numbers that `check_fits_xlsx` accepts.
        file: Gets the bytes.
    """
    import xlsxwriter  # type: ignore[import-untyped, unused-ignore]

    workbook = xlsxwriter.Workbook(file, {"constant_memory": True})
    # In place of the time of writing, so that the same table is written as the same bytes.
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
        # An empty last row would not exist: write_string() skips empty text, and this does not.
        sheet._write_string(frame.height, 0, "")
    workbook.close()

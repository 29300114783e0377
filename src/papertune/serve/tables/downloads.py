"""A table as a file to download."""

import re
import secrets
from pathlib import Path
from typing import TYPE_CHECKING
from urllib.parse import quote

from papertune.errors import OutputError
from papertune.serve.tables.models import Format
from papertune.tables import Table, write_table

if TYPE_CHECKING:
    import polars as pl

MEDIA_TYPES: dict[Format, str] = {
    "csv": "text/csv; charset=utf-8",
    "tsv": "text/tab-separated-values; charset=utf-8",
    "xlsx": "application/vnd.openxmlformats-officedocument.spreadsheetml.sheet",
    "jsonl": "application/x-ndjson",
    "json": "application/json",
    "parquet": "application/vnd.apache.parquet",
    "csv-spreadsheet": "text/csv; charset=utf-8",
}
# A spreadsheet program takes a cell with such a beginning for a formula (OWASP, CSV injection).
_FORMULA = r"^[=+\-@\t\r]"
_BYTE_ORDER_MARK = b"\xef\xbb\xbf"


def write_download(table: Table, kind: Format, folder: Path) -> Path:
    """Write a table for a download.

    Args:
        table: The table.
        kind: The format; "csv-spreadsheet" puts ' before what a spreadsheet program would take for a formula, and
            begins with a byte order mark, without which Excel garbles other alphabets.
        folder: Where the file goes; the caller removes it.

    Raises:
        OutputError: If it cannot be written, or the format cannot hold it.
    """
    path = folder / f"download-{secrets.token_hex(8)}.{kind.removesuffix('-spreadsheet')}"
    try:
        if kind == "csv-spreadsheet":
            write_table(_without_formulas(table), path)
            path.write_bytes(_BYTE_ORDER_MARK + path.read_bytes())
        else:
            write_table(table.frame, path, forms=table.forms)
    except OutputError as error:
        raise OutputError(str(error).replace(str(path), f"{Path(table.source).stem}{path.suffix}")) from error
    except OSError:
        path.unlink(missing_ok=True)
        raise
    return path


def content_disposition(name: str, kind: str) -> str:
    """Return the header that names a download (RFC 6266): in ASCII, and in full for clients that know UTF-8."""
    full = f"{Path(name).stem or 'table'}.{kind.removesuffix('-spreadsheet')}"
    plain = re.sub(r"[^A-Za-z0-9._ -]", "_", full)
    return f"attachment; filename=\"{plain}\"; filename*=UTF-8''{quote(full, safe='')}"


def _without_formulas(table: Table) -> "pl.DataFrame":
    import polars as pl

    frame = table.frame.with_columns(pl.col(pl.String).str.replace(_FORMULA, "'$0"))
    return frame.rename({name: f"'{name}" for name in frame.columns if re.match(_FORMULA, name)})

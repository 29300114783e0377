"""A screening as a file to download, and as a table of the work folder."""

import secrets
from pathlib import Path
from typing import Literal, TypeAlias

from papertune.errors import ScreeningError
from papertune.screening import Project
from papertune.screening.export import decisions_table, export
from papertune.serve.tables.downloads import MEDIA_TYPES, write_download
from papertune.serve.tables.models import Format, TableMeta
from papertune.serve.tables.store import Tables
from papertune.tables import Table, read_table, write_table

ExportFormat: TypeAlias = Format | Literal["ris"]
EXPORT_TYPES: dict[ExportFormat, str] = {kind: text for kind, text in MEDIA_TYPES.items()}
EXPORT_TYPES["ris"] = "application/x-research-info-systems"


def write_export(project: Project, kind: ExportFormat, *, decided_only: bool) -> Path:
    """Write a screening for a download; the caller removes the file.

    Raises:
        ScreeningError: If no record is left.
        OutputError: If it cannot be written.
    """
    folder = _downloads(project)
    if kind != "ris":
        return write_download(_table(project, decided_only=decided_only), kind, folder)
    path = folder / f"download-{secrets.token_hex(8)}.ris"
    export(project, path, decided_only=decided_only)
    return path


def make_table(project: Project, tables: Tables, name: str) -> TableMeta:
    """Make a table of the included and excluded records, from which a training goes on.

    Raises:
        ScreeningError: If there are none.
        OutputError: If the disk is full.
    """
    path = _downloads(project) / f"download-{secrets.token_hex(8)}.parquet"
    try:
        write_table(_table(project, decided_only=True).frame, path)
        return tables.add(path, f"{name}.parquet")
    finally:
        path.unlink(missing_ok=True)


def _table(project: Project, *, decided_only: bool) -> Table:
    frame = decisions_table(project, decided_only=decided_only)
    if not frame.height:
        raise ScreeningError("no record is included or excluded yet, so there is nothing to write. Decide some first.")
    return read_table(frame)


def _downloads(project: Project) -> Path:
    folder = project.folder / "cache"
    folder.mkdir(exist_ok=True)
    return folder

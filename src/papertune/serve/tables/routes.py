"""The routes of tables."""

from pathlib import Path
from typing import Annotated

from fastapi import APIRouter, Body, Query, Request
from fastapi.responses import FileResponse, Response
from starlette.background import BackgroundTask
from starlette.concurrency import run_in_threadpool

from papertune.serve.tables.downloads import MEDIA_TYPES, content_disposition, write_download
from papertune.serve.tables.models import Corrected, Correction, Format, TableList, TableMeta, TableRow, TableRows
from papertune.serve.tables.store import Tables
from papertune.serve.tables.uploads import MAX_UPLOAD_BYTES, receive
from papertune.serve.workspace import Workspace

_FILE = {"requestBody": {"content": {"application/octet-stream": {"schema": {"type": "string", "format": "binary"}}}}}


def router(workspace: Workspace, tables: Tables) -> APIRouter:
    """Return the routes of the tables in a work folder."""
    router = APIRouter(prefix="/api/tables", tags=["tables"])

    @router.put("", openapi_extra=_FILE)
    async def upload(
        request: Request, name: Annotated[str, Query(min_length=1, max_length=300, description="The file's name.")]
    ) -> TableMeta:
        """Store a table; the body is the file, and the suffix of its name is the format."""
        return await _store(request, name, tables)

    @router.get("")
    def all_tables() -> TableList:
        """List all tables, the newest first."""
        return TableList(tables=tables.all())

    @router.get("/{table_id}")
    def table(table_id: str) -> TableMeta:
        """Describe a table."""
        return tables.meta(table_id)

    @router.get("/{table_id}/rows")
    def rows(
        table_id: str,
        offset: Annotated[int, Query(ge=0, le=2**31)] = 0,
        limit: Annotated[int, Query(ge=1, le=500)] = 50,
    ) -> TableRows:
        """Return a page of rows, with what people have changed."""
        found = [TableRow.model_construct(**row) for row in tables.rows(table_id, offset, limit)]
        return TableRows.model_construct(offset=offset, total=tables.meta(table_id).rows, rows=found)

    @router.delete("/{table_id}")
    def delete(table_id: str) -> dict[str, str]:
        """Remove a table."""
        tables.delete(table_id)
        return {"deleted": table_id}

    @router.patch("/{table_id}/cells")
    def correct(
        table_id: str, corrections: Annotated[list[Correction], Body(min_length=1, max_length=1000)]
    ) -> Corrected:
        """Change cells; the answer comes when it is on disk, and sending a correction twice is harmless."""
        saved = tables.correct(table_id, corrections)
        return Corrected(saved=saved, cells=tables.changed_cells(table_id))

    @router.get("/{table_id}/download")
    def download(
        table_id: str,
        kind: Annotated[Format, Query(alias="format")] = "csv",
        corrected: Annotated[bool, Query(description="With what people have changed.")] = True,
    ) -> Response:
        """Download a table in any format; csv-spreadsheet is safe to open in a spreadsheet program."""
        path = write_download(tables.read(table_id, corrected=corrected), kind, workspace.table_path(table_id))
        return _file_to_keep(path, kind, tables.meta(table_id).name)

    return router


async def _store(request: Request, name: str, tables: Tables) -> TableMeta:
    """Store the body of a request as a table; what has arrived of a broken upload is removed."""
    path = await run_in_threadpool(tables.start, name)
    try:
        await receive(request, path, MAX_UPLOAD_BYTES)
    except BaseException:
        tables.drop(path)
        raise
    return await run_in_threadpool(tables.finish, path, name)


def _file_to_keep(path: Path, kind: Format, name: str) -> Response:
    """Send a file for the browser to save under the name of its table, and remove it afterwards."""
    return FileResponse(
        path,
        media_type=MEDIA_TYPES[kind],
        headers={"Content-Disposition": content_disposition(name, kind)},
        background=BackgroundTask(_remove, path),
    )


def _remove(path: Path) -> None:
    path.unlink(missing_ok=True)

"""All tables of a work folder. One server has a work folder, so this is the only writer."""

import json
import logging
import shutil
import threading
from base64 import b64decode
from collections import OrderedDict
from collections.abc import Sequence
from contextlib import suppress
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

from papertune.errors import TableError, quoted, visible
from papertune.files import write_atomically
from papertune.serve.errors import ServeError
from papertune.serve.tables.corrections import Corrections, corrected_table
from papertune.serve.tables.limited import parse_limited
from papertune.serve.tables.models import Correction, TableMeta
from papertune.serve.tables.parsing import CELLS, PLACES, SUMMARY
from papertune.serve.workspace import Workspace, is_name, make_folder, remove, set_aside
from papertune.tables import SUFFIXES, Table, write_table

_META, _CORRECTIONS = "meta.json", "corrections.jsonl"
# So many tables stay open; their cells are mapped from disk, not held in memory.
_OPEN = 16
_NAME_CHARACTERS = 200


_log = logging.getLogger(__name__)


class Tables:
    """The tables of a work folder; many threads may call its methods."""

    def __init__(self, workspace: Workspace) -> None:
        self._workspace = workspace
        self._lock = threading.RLock()
        self._opened: OrderedDict[str, Table] = OrderedDict()
        self._corrections: dict[str, Corrections] = {}
        self._remove_unfinished()

    def all(self) -> list[TableMeta]:
        """Return all tables that are there and whole, the newest first."""
        names = sorted((path.parent.name for path in self._workspace.tables.glob(f"*/{_META}")), reverse=True)
        found = []
        for name in names:
            try:
                found.append(self.meta(name))
            except ServeError as error:  # 404: it is being removed at this moment
                if error.status != 404:
                    _log.warning("%s", error)
        return found

    def meta(self, table_id: str) -> TableMeta:
        """Return what the page shows of a table.

        Raises:
            ServeError: 404 if there is none, 409 if its file is damaged.
        """
        path = self._workspace.table_path(table_id) / _META
        try:
            return TableMeta.model_validate_json(path.read_bytes())
        except FileNotFoundError:
            message = f"there is no table {quoted(table_id)}. Reload the list."
            raise ServeError(404, "not_found", message, what="table", name=table_id) from None
        except ValueError:
            message = f"{path} is damaged. Copy it from a backup, or upload again."
            raise ServeError(409, "damaged", message, file=str(path)) from None

    def start(self, name: str) -> Path:
        """Make the folder of a new table and return the file in it that is to be written.

        Args:
            name: The file name that people see; its suffix is the format.

        Raises:
            ServeError: 415 if no table can be read from such a file.
        """
        suffix = Path(name).suffix.lower()
        if suffix not in SUFFIXES:
            what = f"the unknown suffix {quoted(suffix)}" if suffix else "no suffix"
            known = ", ".join(SUFFIXES)
            raise ServeError(
                415,
                "unknown_format",
                f"{quoted(name)} has {what}. The known suffixes are {known}.",
                "name",
                name=name,
                suffix=suffix,
                known=known,
            )
        return make_folder(self._workspace.tables) / f"original{suffix}"

    def finish(self, path: Path, name: str) -> TableMeta:
        """Read the file that `start` named, and so make the table exist.

        Raises:
            PapertuneError: If it is no table; nothing of it is left then.
        """
        try:
            return self._parse(path, path.parent, name)
        except BaseException:
            self.drop(path)
            raise

    def drop(self, path: Path) -> None:
        """Remove what `start` has made."""
        shutil.rmtree(path.parent, ignore_errors=True)

    def add(self, path: Path, name: str) -> TableMeta:
        """Make a table of a finished file, such as one that a job has filled in; the file is moved.

        Raises:
            PapertuneError: If it is no table; the file stays where it was.
        """
        target = self.start(f"x{path.suffix}")
        try:
            parse_limited(path, target.parent, name)
            shutil.move(path, target)
            return self._parse(target, target.parent, name, parsed=True)
        except BaseException:
            if target.exists():
                shutil.move(target, path)
            self.drop(target)
            raise

    def delete(self, table_id: str) -> None:
        """Remove a table.

        Raises:
            ServeError: 404 if there is none.
        """
        with self._lock:
            folder = self._workspace.table_path(table_id)
            self._opened.pop(table_id, None)
            corrections = self._corrections.pop(table_id, None)
            if corrections is not None:
                corrections.close()
            hidden = set_aside(folder)
        remove(hidden)

    def read(self, table_id: str, *, corrected: bool = True) -> Table:
        """Return the cells of a table, with what people have changed."""
        table = self._open(table_id)
        cells = self.corrections(table_id).cells.copy() if corrected else {}
        return corrected_table(table, cells) if cells else table

    def rows(self, table_id: str, offset: int, limit: int) -> list[dict[str, Any]]:
        """Return a page of rows as `TableRow` has them, without reading the others."""
        table = self._open(table_id)
        changed = self.corrections(table_id).cells.copy()
        page = table.frame.slice(offset, limit).rows(named=True)
        rows: list[dict[str, Any]] = [
            {"row": row, "place": table.place(row), "cells": cells, "corrected": []}
            for row, cells in enumerate(page, start=offset)
        ]
        for (row, column), value in changed.items():
            if offset <= row < offset + len(rows) and rows[row - offset]["cells"][column] != value:
                rows[row - offset]["cells"][column] = value
                rows[row - offset]["corrected"].append(column)
        return rows

    def correct(self, table_id: str, corrections: Sequence[Correction]) -> int:
        """Store corrections and return how many were new; they are on disk then.

        Raises:
            ServeError: 400 if one is about no cell of the table; none is stored then.
            OutputError: If the disk is full; none is stored then.
        """
        table = self._open(table_id)
        columns = set(table.columns)
        for number, correction in enumerate(corrections):
            if correction.row >= len(table):
                raise ServeError(
                    400, "no_such_row", f"there is no row {correction.row}: the table has {len(table):,} rows, counted "
                    "from 0. Reload it.", f"[{number}].row", row=correction.row, rows=len(table),
                )  # fmt: skip
            if correction.column not in columns:
                raise ServeError(
                    400, "no_such_column", f"there is no column {quoted(correction.column)}. Reload the table.",
                    f"[{number}].column", column=correction.column,
                )  # fmt: skip
            if "\0" in correction.value:
                raise ServeError(
                    400, "nul", "the value has a NUL character, which tables cannot hold. Remove it.",
                    f"[{number}].value", row=correction.row, column=correction.column,
                )  # fmt: skip
        return self.corrections(table_id).submit(corrections)

    def changed_cells(self, table_id: str) -> int:
        """Return how many cells differ from the file."""
        table = self._open(table_id)
        cells = self.corrections(table_id).cells.copy()
        return sum(table.frame[column][row] != value for (row, column), value in cells.items())

    def file(self, table_id: str, *, corrected: bool = True) -> Path:
        """Return a file for a command: the original, or one with the corrections if there are any.

        A file that a command was given is never changed: more corrections make another file.
        """
        folder = self._workspace.table_path(table_id)
        original = self._original(folder)
        corrections = self.corrections(table_id)
        if not corrected or not corrections.cells:
            return original
        # JSON keeps numbers and lists; other text formats have no more than Parquet holds.
        suffix = original.suffix if original.suffix in (".json", ".jsonl") else ".parquet"
        with self._lock:
            path = folder / f"corrected-{corrections.count}{suffix}"
            if not path.exists():
                table = self.read(table_id)
                write_table(table.frame, path, forms=table.forms)
        return path

    def corrections(self, table_id: str) -> Corrections:
        """Return the corrections of a table."""
        folder = self._workspace.table_path(table_id)
        with self._lock:
            if table_id not in self._corrections:
                self._corrections[table_id] = Corrections(folder / _CORRECTIONS)
            return self._corrections[table_id]

    def _parse(self, path: Path, folder: Path, name: str, *, parsed: bool = False) -> TableMeta:
        shown = visible(Path(name).name)[-_NAME_CHARACTERS:]
        if not parsed:
            parse_limited(path, folder, shown)
        summary = json.loads((folder / SUMMARY).read_bytes())
        created = datetime.now(UTC).isoformat(timespec="seconds")
        meta = TableMeta(id=folder.name, name=shown, created=created, **summary)
        (folder / SUMMARY).unlink()
        write_atomically(folder / _META, meta.model_dump_json())
        return meta

    def _open(self, table_id: str) -> Table:
        folder = self._workspace.table_path(table_id)
        with self._lock:
            table = self._opened.pop(table_id, None) or self._read_cells(folder, table_id)
            self._opened[table_id] = table
            if len(self._opened) > _OPEN:
                self._opened.popitem(last=False)
        return table

    def _read_cells(self, folder: Path, table_id: str) -> Table:
        import polars as pl

        name = self.meta(table_id).name
        try:
            frame = pl.read_ipc(folder / CELLS)
            places = json.loads((folder / PLACES).read_bytes())
        except (OSError, ValueError, pl.exceptions.PolarsError):
            parse_limited(self._original(folder), folder, name)
            frame = pl.read_ipc(folder / CELLS)
            places = json.loads((folder / PLACES).read_bytes())
        forms = {column: b64decode(text) for column, text in places["forms"].items()}
        return Table(frame, name, places["counted"], places["numbers"], forms, places["derived"])

    def _original(self, folder: Path) -> Path:
        found = next(folder.glob("original.*"), None)
        if found is None:
            raise TableError(f"{folder} has lost its file original.*. Copy it from a backup, or upload it again.")
        return found

    def _remove_unfinished(self) -> None:
        """Remove what a kill has left: uploads that did not end, and tables that were being removed."""
        for folder in self._workspace.tables.iterdir():
            if folder.is_dir() and not (is_name(folder.name) and (folder / _META).exists()):
                shutil.rmtree(folder, ignore_errors=True)
            with suppress(OSError):
                for leftover in (*folder.glob(".papertune-*.tmp"), *folder.glob("download-*")):
                    leftover.unlink()

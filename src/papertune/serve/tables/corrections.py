"""What people have changed in a table."""

import json
import threading
from collections.abc import Mapping, Sequence
from dataclasses import replace
from datetime import UTC, datetime
from pathlib import Path
from typing import TYPE_CHECKING

from pydantic import ValidationError

from papertune.appending import AppendedLines
from papertune.errors import TableError
from papertune.records import first_problem
from papertune.serve.tables.models import Correction
from papertune.tables import Table
from papertune.tables.cells import JSON_TEXT, JSON_VALUE

if TYPE_CHECKING:
    import polars as pl


class Corrections:
    """The corrections of a table; many threads may call its methods.

    Attributes:
        cells: The last value of each cell, by row (from 0) and column.
    """

    def __init__(self, path: Path) -> None:
        self._path = path
        self._lock = threading.Lock()
        self._log: AppendedLines[Correction] | None = None
        self._ids: set[str] = set()
        self.cells: dict[tuple[int, str], str] = {}
        if path.exists():
            for correction in self._opened().entries:
                self._apply(correction)

    @property
    def count(self) -> int:
        """Number of corrections that were stored."""
        return len(self._ids)

    def submit(self, corrections: Sequence[Correction]) -> int:
        """Store corrections. It returns when they are on disk; one whose id is known is ignored.

        Returns:
            Number of those that were new.

        Raises:
            OutputError: If they cannot be written; none of them is then stored, and the call may be repeated.
        """
        at = datetime.now(UTC).isoformat(timespec="seconds")
        with self._lock:
            new: dict[str, Correction] = {}
            for correction in corrections:
                if correction.id not in self._ids and correction.id not in new:
                    new[correction.id] = correction.model_copy(update={"at": at})
            if new:
                self._opened().append(list(new.values()))
            for correction in new.values():
                self._apply(correction)
        return len(new)

    def close(self) -> None:
        """Close the file."""
        with self._lock:
            if self._log is not None:
                self._log.close()
                self._log = None

    def _opened(self) -> AppendedLines[Correction]:
        if self._log is None:
            self._log = AppendedLines(self._path, _read, _write, "correction")
        return self._log

    def _apply(self, correction: Correction) -> None:
        if correction.id not in self._ids:
            self._ids.add(correction.id)
            self.cells[correction.row, correction.column] = correction.value


def corrected_table(table: Table, cells: Mapping[tuple[int, str], str]) -> Table:
    """Return a table with other values in some cells, by row (from 0) and column."""
    import polars as pl

    by_column: dict[str, dict[int, str]] = {}
    for (row, column), value in cells.items():
        by_column.setdefault(column, {})[row] = value
    forms = dict(table.forms)
    changed = []
    for column, values in by_column.items():
        texts = table.frame[column].to_list()
        for row, value in values.items():
            texts[row] = value
        changed.append(pl.Series(column, texts, dtype=pl.String))
        if column in forms:
            forms[column] = _forms(forms[column], table.frame[column], values)
    return replace(table, frame=table.frame.with_columns(changed), forms=forms)


def _forms(forms: bytes, before: "pl.Series", values: Mapping[int, str]) -> bytes:
    """Return what the cells of a JSON column are: a corrected number stays a number, and other text is text."""
    new = bytearray(forms)
    for row, value in values.items():
        if value != before[row]:
            new[row] = JSON_VALUE if forms[row] == JSON_VALUE and _is_json_value(value) else JSON_TEXT
    return bytes(new)


def _is_json_value(text: str) -> bool:
    try:
        return not isinstance(json.loads(text, parse_constant=_no_number), str)
    except ValueError:
        return False


def _no_number(text: str) -> None:
    raise ValueError(f"{text} is no JSON")


def _read(line: bytes) -> Correction:
    try:
        return Correction.model_validate_json(line)
    except ValidationError as error:
        raise TableError(first_problem(error, "the line")) from None


def _write(correction: Correction) -> bytes:
    return correction.model_dump_json().encode() + b"\n"

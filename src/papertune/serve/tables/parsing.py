"""Reads one table in a process of its own: `python -m papertune.serve.tables.parsing BYTES SECONDS FILE FOLDER`.

It takes at most so much memory and processor time, and ends with 0, or with 2 and the user error on its standard
output. Files can take far more of both than their size suggests (`limited.py`).
"""

import json
import sys
import warnings
from base64 import b64encode
from contextlib import suppress
from pathlib import Path
from typing import Any

from papertune.errors import PapertuneError, TableError
from papertune.serve.collecting import collected_warnings
from papertune.tables import Table, read_table
from papertune.tables.cells import NOT_BLANK
from papertune.tables.dataset_info import parse_register

CELLS, PLACES, SUMMARY = "cells.arrow", "places.json", "summary.json"
_EXAMPLES = 3
_EXAMPLE_CHARACTERS = 200


def parse(path: Path, folder: Path) -> None:
    """Read a table and write its cells, places and summary into a folder.

    Raises:
        PapertuneError: If it is no table.
    """
    _refuse_register(path)
    with collected_warnings() as texts:
        table = read_table(path)
    table.frame.write_ipc(folder / CELLS, compression="uncompressed")
    places = {
        "counted": table.counted,
        "numbers": None if table.numbers is None else list(table.numbers),
        "forms": {name: b64encode(forms).decode() for name, forms in table.forms.items()},
        "derived": list(table.derived),
    }
    (folder / PLACES).write_text(json.dumps(places), encoding="utf-8")
    summary = {
        "rows": len(table),
        "columns": [_column(table, name) for name in table.columns],
        "warnings": list(dict.fromkeys(texts)),
    }
    (folder / SUMMARY).write_text(json.dumps(summary), encoding="utf-8")


def _column(table: Table, name: str) -> dict[str, Any]:
    filled = table.frame[name].filter(table.frame[name].str.contains(NOT_BLANK))
    examples = filled.head(1000).unique(maintain_order=True).head(_EXAMPLES).str.slice(0, _EXAMPLE_CHARACTERS)
    return {"name": name, "filled": filled.len(), "examples": examples.to_list()}


def _refuse_register(path: Path) -> None:
    """Refuse a register like dataset_info.json: its entries would name any file of the server's machine."""
    if path.suffix != ".json":
        return
    text = path.read_text(encoding="utf-8-sig", errors="replace")
    if '"file_name"' in text and text.lstrip()[:1] == "{" and parse_register(text, str(path)) is not None:
        raise TableError(f"{path} is a register of data sets, which names other files. Upload the table itself.")


def main() -> None:
    """Run the program."""
    with suppress(ImportError):  # there are no such limits on Windows
        import resource

        resource.setrlimit(resource.RLIMIT_AS, (int(sys.argv[1]),) * 2)
        resource.setrlimit(resource.RLIMIT_CPU, (int(sys.argv[2]),) * 2)
    warnings.simplefilter("ignore")  # of other packages; those of papertune are collected
    try:
        parse(Path(sys.argv[3]), Path(sys.argv[4]))
    except PapertuneError as error:
        sys.stdout.buffer.write(str(error).encode())
        sys.exit(2)


if __name__ == "__main__":
    main()

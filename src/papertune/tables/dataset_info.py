"""Reads tables by their entry in `dataset_info.json`, LLaMA-Factory's register of data sets."""

import hashlib
import json
import warnings
from collections.abc import Callable
from pathlib import Path
from typing import TYPE_CHECKING, Any

from papertune.errors import PapertuneWarning, TableError, quoted
from papertune.suggest import did_you_mean
from papertune.tables.table import Table

if TYPE_CHECKING:
    import polars as pl

# Key in an entry's `columns` -> our name of the column, which is also the default of the key.
COLUMNS = {"prompt": "instruction", "query": "input", "response": "output", "history": "history", "system": "system"}
REQUIRED = ("prompt", "response")
ELSEWHERE = ("hf_hub_url", "ms_hub_url", "om_hub_url", "script_url", "cloud_file_name")


def parse_register(text: str) -> dict[str, dict[str, Any]] | None:
    """Return the entries of a `dataset_info.json`, or None if the JSON text is something else."""
    try:
        register = json.loads(text)
    except (ValueError, RecursionError):
        return None
    kinds = {"file_name", *ELSEWHERE}
    if not isinstance(register, dict) or not register:
        return None
    if not all(isinstance(entry, dict) and kinds & entry.keys() for entry in register.values()):
        return None
    return register


def read_entry(
    register: dict[str, dict[str, Any]], path: Path, name: str | None, read: Callable[[str], Table]
) -> Table:
    """Read the table of one entry, with the columns instruction, output and, if present, input, history and system.

    Args:
        register: The entries by name.
        path: The register's file; `file_name` is relative to its folder.
        name: The entry; None if the register has only one.
        read: Reads the file at a path.

    Raises:
        TableError: If the entry is missing, is not a local file of the alpaca layout, or its file cannot be read.
    """
    if name is None and len(register) > 1:
        raise TableError(f"{path} has several entries. Name one: {', '.join(f'{path}:{entry}' for entry in register)}.")
    name = name if name is not None else next(iter(register))
    if name not in register:
        raise TableError(
            f"{path}: there is no entry {quoted(name)}.{did_you_mean(name, list(register))} "
            f"The entries are {', '.join(register)}."
        )
    entry, place = register[name], f"{path}, entry {quoted(name)}"
    if elsewhere := [key for key in ELSEWHERE if key in entry]:
        raise TableError(
            f"{place}: its data is not a local file but comes from {elsewhere[0]}. Download it, and pass the "
            "file itself as the table."
        )
    if entry.get("formatting", "alpaca") != "alpaca" or entry.get("ranking"):
        kind = "pairs for ranking" if entry.get("ranking") else f"the layout {quoted(str(entry['formatting']))}"
        raise TableError(f"{place}: it has {kind}. Only the alpaca layout (instruction, input, output) is supported.")
    if not isinstance(entry["file_name"], str) or not isinstance(entry.get("columns", {}), dict):
        raise TableError(f"{place}: file_name must be text and columns an object. Correct the entry.")

    file = path.parent / entry["file_name"]
    table = read(str(file))
    _check_sha1(file, entry.get("file_sha1"), place)
    frame = _with_our_columns(table, entry.get("columns", {}), place)
    return Table(frame, f"{path}:{name} ({entry['file_name']})", table.counted, table.numbers)


def _check_sha1(file: Path, expected: object, place: str) -> None:
    if not expected:
        return
    with file.open("rb") as opened:
        found = hashlib.file_digest(opened, "sha1").hexdigest()
    if found != str(expected).lower():
        warnings.warn(
            f"{place}: the SHA-1 of {file.name} is {found}, and the entry says {expected}. The file has changed; "
            "correct or remove file_sha1 if that is intended.",
            PapertuneWarning,
            stacklevel=3,
        )


def _with_our_columns(table: Table, names: dict[str, Any], place: str) -> "pl.DataFrame":
    """Choose the columns that the entry names, and rename them to ours."""
    if unknown := [key for key in names if key not in COLUMNS]:
        raise TableError(f"{place}: columns has {quoted(unknown[0])}; only {', '.join(COLUMNS)} are known. Remove it.")
    columns = []
    for key, ours in COLUMNS.items():
        theirs = names.get(key) or ours
        if theirs in table.columns:
            columns.append(table.frame[theirs].alias(ours))
        elif key in REQUIRED or names.get(key):
            raise TableError(
                f"{place}: its {key} column {quoted(str(theirs))} is not in {table.source}, which has "
                f"{', '.join(table.columns)}. Correct columns in the entry."
            )
    return table.frame.select(columns)

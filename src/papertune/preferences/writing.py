"""Writes preferences in the layout of LLaMA-Factory."""

from collections.abc import Sequence
from pathlib import Path
from typing import Any

from papertune.files import check_entries_file, write_entries
from papertune.preferences.entries import Entry, Pair, Thumb


def write_preferences(entries: Sequence[Pair] | Sequence[Thumb], path: Path, *, overwrite: bool = False) -> None:
    """Write pairs or judged answers as a JSON list, or as JSON lines if the file's name ends in .jsonl.

    Args:
        entries: What to write; `read_pairs` and `read_thumbs` read the same.
        path: The file.
        overwrite: Whether an existing file may be replaced.

    Raises:
        OutputError: If it cannot be written.
    """
    check_entries_file(path, overwrite=overwrite)
    # Every object has the same keys: other tools infer the columns from the first ones.
    rounds = any(entry.history for entry in entries)
    systems = any(entry.system for entry in entries)
    objects = [_as_object(entry, with_system=systems, with_history=rounds) for entry in entries]
    write_entries(objects, path)


def _as_object(entry: Entry, *, with_system: bool, with_history: bool) -> dict[str, Any]:
    values: dict[str, Any] = {"instruction": entry.instruction, "input": entry.input}
    if isinstance(entry, Pair):
        values |= {"chosen": entry.chosen, "rejected": entry.rejected}
    if isinstance(entry, Thumb):
        values |= {"output": entry.answer, "kto_tag": entry.good}
    if with_system:
        values["system"] = entry.system
    if with_history:
        values["history"] = [list(turn) for turn in entry.history]
    values |= {"column": entry.column, "paper": entry.paper}
    if isinstance(entry, Pair):
        values["tier"] = entry.tier
    return values | {"source": entry.source}

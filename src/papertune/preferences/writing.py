"""Writes preferences in the layout of LLaMA-Factory."""

import json
from collections.abc import Sequence
from pathlib import Path
from typing import Any

from papertune.errors import OutputError
from papertune.files import check_new_file, write_atomically
from papertune.preferences.entries import Entry, Pair, Thumb


def check_preferences_file(path: Path, *, overwrite: bool) -> None:
    """Check in advance that a file of preferences can be written.

    Raises:
        OutputError: If it cannot.
    """
    if path.suffix not in (".json", ".jsonl"):
        raise OutputError(f"{path}: give the file the suffix .json or .jsonl.")
    if not overwrite:
        check_new_file(path, "Add --overwrite to replace it, or choose another name.")


def write_preferences(entries: Sequence[Pair] | Sequence[Thumb], path: Path, *, overwrite: bool = False) -> None:
    """Write pairs or judged answers as a JSON list, or as JSON lines if the file's name ends in .jsonl.

    Args:
        entries: What to write; `read_pairs` and `read_thumbs` read the same.
        path: The file.
        overwrite: Whether an existing file may be replaced.

    Raises:
        OutputError: If it cannot be written.
    """
    check_preferences_file(path, overwrite=overwrite)
    # Every object has the same keys: other tools infer the columns from the first ones.
    rounds = any(entry.history for entry in entries)
    systems = any(entry.system for entry in entries)
    objects = [_as_object(entry, with_system=systems, with_history=rounds) for entry in entries]
    if path.suffix == ".jsonl":
        text = "".join(json.dumps(each, ensure_ascii=False) + "\n" for each in objects)
    else:
        text = json.dumps(objects, ensure_ascii=False, indent=2) + "\n"
    try:
        write_atomically(path, text)
    except OSError as error:
        raise OutputError(f"{path} cannot be written: {error.strerror or error}.") from error


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

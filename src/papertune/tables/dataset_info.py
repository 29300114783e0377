"""Reads tables by their entry in `dataset_info.json`, LLaMA-Factory's register of data sets."""

import hashlib
import json
import warnings
from collections.abc import Callable, Collection, Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any

from papertune.errors import PapertuneWarning, TableError, listed, quoted
from papertune.suggest import did_you_mean
from papertune.tables.cells import text_frame
from papertune.tables.conversations import Role, Tags, message_text, read_conversations
from papertune.tables.formats.json_files import RepeatedKeyError, unique_keys
from papertune.tables.problems import Problems
from papertune.tables.table import Table

# Key in an entry's `columns` -> our name of the column, which is also the default of the key.
COLUMNS = {"prompt": "instruction", "query": "input", "response": "output", "history": "history", "system": "system"}
REQUIRED = ("prompt", "response")
# The keys of two answers, of which one is better, and of a judgement of one answer; our columns have the same names.
ANSWERS = ("chosen", "rejected")
JUDGEMENT = "kto_tag"
# What papertune writes beside a preference.
ABOUT_PREFERENCES = ("paper", "column", "tier", "source")
PARTS = ("columns", "tags")
# Key in an entry's `tags` -> its default. Tools are not supported, so a file may name their roles and not use them.
TAGS = {
    "role_tag": "from",
    "content_tag": "value",
    "user_tag": "human",
    "assistant_tag": "gpt",
    "system_tag": "system",
    "observation_tag": "observation",
    "function_tag": "function_call",
}
ELSEWHERE = ("hf_hub_url", "ms_hub_url", "om_hub_url", "script_url", "cloud_file_name")
# The keys of an entry that are read.
KEYS = ("file_name", "file_sha1", "formatting", "ranking", *PARTS)


def parse_register(text: str, path: str) -> dict[str, Any] | None:
    """Return the entries of a `dataset_info.json`, or None if the JSON text is something else.

    One entry that names its data makes a register; the others are checked when they are read.

    Args:
        text: The file.
        path: What messages call it.

    Raises:
        TableError: If this is not JSON. The message has the line and the column.
    """
    try:
        register = json.loads(text, object_pairs_hook=unique_keys)
    except RecursionError:
        return None
    except RepeatedKeyError as error:
        raise TableError(f"{path}: {error}. Rename or remove one of them.") from None
    except json.JSONDecodeError as error:
        raise TableError(
            f"{path}, line {error.lineno}, column {error.colno}: this is not JSON ({error.msg}). Correct it there or "
            "in the line before."
        ) from None
    entries = register.values() if isinstance(register, dict) else ()
    return register if any(map(_names_data, entries)) else None


def _names_data(entry: object) -> bool:
    return isinstance(entry, dict) and not {"file_name", *ELSEWHERE}.isdisjoint(entry)


def read_entry(register: dict[str, Any], path: Path, name: str | None, read: Callable[[str], Table]) -> Table:
    """Read the table of one entry, with the columns instruction, output and, if present, input, history and system.

    Args:
        register: The entries by name.
        path: The register's file; `file_name` is relative to its folder.
        name: The entry; None if the register has only one.
        read: Reads the file at a path.

    Raises:
        TableError: If the entry is missing, is not a local file in a layout that is known, or cannot be read.
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
    if not _names_data(entry):
        raise TableError(f"{place}: it names no data. Give it a file_name, or remove it.")
    if elsewhere := [key for key in ELSEWHERE if key in entry]:
        raise TableError(
            f"{place}: its data is not a local file but comes from {elsewhere[0]}. Download it, and pass the "
            "file itself as the table."
        )
    formatting = entry.get("formatting", "alpaca")
    if formatting not in ("alpaca", "sharegpt"):
        raise TableError(
            f"{place}: it has the layout {quoted(str(formatting))}. Only the layouts alpaca and sharegpt are supported."
        )
    if not isinstance(entry["file_name"], str) or not all(isinstance(entry.get(k, {}), dict) for k in PARTS):
        raise TableError(f"{place}: file_name must be text, and columns and tags are objects. Correct the entry.")

    _warn_of_unused_keys([key for key in entry if key not in KEYS], place)
    file = path.parent / entry["file_name"]
    table = read(str(file))
    _check_sha1(file, entry.get("file_sha1"), place)
    source = f"{path}:{name} ({entry['file_name']})"
    if formatting == "sharegpt":
        tags = _tags(table, entry, place)
        found = replace(_with_judgement(table, entry), source=source)
        return read_conversations(_with_answers(found, entry, tags) if entry.get("ranking") else found, tags)
    return replace(_with_our_columns(table, entry, place), source=source)


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


def _with_our_columns(table: Table, entry: dict[str, Any], place: str) -> Table:
    """Choose the columns that the entry names, and rename them to ours."""
    names = entry.get("columns", {})
    ours = {key: name for key, name in COLUMNS.items() if key != "response" or not entry.get("ranking")}
    ours |= {key: key for key in _preference_keys(entry)}
    _check_keys("columns", names, ours, place)
    if names.keys() == {"prompt"} and not entry.get("ranking") and ours["response"] not in table.columns:
        return _with_text_only(table, names["prompt"], place)
    columns = []
    forms = {}
    read: list[str] = []
    for key, name in ours.items():
        theirs = names.get(key) or name
        if theirs in table.columns:
            read.append(theirs)
            columns.append(table.frame[theirs].alias(name))
            if theirs in table.forms:
                forms[name] = table.forms[theirs]
        elif key in (*REQUIRED, *ANSWERS) or names.get(key):
            raise _no_column(key, theirs, table, place)
    if _preference_keys(entry):
        taken = {column.name for column in columns}
        about = [name for name in ABOUT_PREFERENCES if name in table.columns and name not in taken]
        columns += [table.frame[name] for name in about]
        read += about
    _warn_of_unused_columns([name for name in table.columns if name not in (*read, "id")], table, place)
    return replace(table, frame=table.frame.select(columns), forms=forms)


def _warn_of_unused_keys(keys: Sequence[str], place: str) -> None:
    if keys:
        hints = "".join(did_you_mean(key, KEYS) for key in keys)
        names = ", ".join(map(quoted, keys))
        warnings.warn(f"{place}: papertune does not use {names} of it.{hints}", PapertuneWarning, stacklevel=5)


def _warn_of_unused_columns(columns: Sequence[str], table: Table, place: str) -> None:
    if columns:
        names = ", ".join(map(quoted, columns))
        warnings.warn(
            f"{place}: its columns leave out {names} of {table.source}, so this is not read.",
            PapertuneWarning,
            stacklevel=6,
        )


def _preference_keys(entry: dict[str, Any]) -> tuple[str, ...]:
    """Return the keys of an entry's `columns` that only preferences have."""
    if entry.get("ranking"):
        return ANSWERS
    return (JUDGEMENT,) if JUDGEMENT in entry.get("columns", {}) else ()


def _with_text_only(table: Table, name: str, place: str) -> Table:
    """Return a table of texts without questions, as for pre-training; the column keeps its name."""
    if name not in table.columns:
        raise _no_column("prompt", name, table, place)
    _warn_of_unused_columns([column for column in table.columns if column not in (name, "id")], table, place)
    forms = {name: table.forms[name]} if name in table.forms else {}
    return replace(table, frame=table.frame.select([name]), forms=forms)


def _with_judgement(table: Table, entry: dict[str, Any]) -> Table:
    """Add the judgements of conversations under our name of the column."""
    theirs = entry.get("columns", {}).get(JUDGEMENT, JUDGEMENT)
    if theirs == JUDGEMENT or theirs not in table.columns:
        return table
    forms = {name: form for name, form in table.forms.items() if name != JUDGEMENT}
    if theirs in table.forms:
        forms[JUDGEMENT] = table.forms[theirs]
    return replace(table, frame=table.frame.with_columns(table.frame[theirs].alias(JUDGEMENT)), forms=forms)


def _with_answers(table: Table, entry: dict[str, Any], tags: Tags) -> Table:
    """Return conversations with the columns chosen and rejected as text; in the file each is one message.

    Raises:
        TableError: With each cell that is not a message.
    """
    problems = Problems(
        table.source,
        "answers cannot be read",
        "Each of the two answers is one message of the assistant. Correct or remove the entry.",
    )
    texts: dict[str, list[str]] = {key: [] for key in ANSWERS}
    for key in ANSWERS:
        theirs = entry.get("columns", {}).get(key) or key
        for row, cell in enumerate(table.frame[theirs]):
            try:
                texts[key].append(message_text(cell, tags))
            except ValueError as error:
                problems.add(table.place(row, theirs), str(error))
    problems.raise_if_any()
    forms = {name: form for name, form in table.forms.items() if name not in ANSWERS}
    return replace(table, frame=table.frame.with_columns(text_frame(texts).get_columns()), forms=forms)


def _tags(table: Table, entry: dict[str, Any], place: str) -> Tags:
    """Return how an entry writes its conversations."""
    names, tags = entry.get("columns", {}), entry.get("tags", {})
    _check_keys("columns", names, ("messages", "system", *_preference_keys(entry)), place)
    _check_keys("tags", tags, TAGS, place)
    chosen = {key: str(tags.get(key) or default) for key, default in TAGS.items()}
    roles: dict[str, Role] = {
        chosen["user_tag"]: "user",
        chosen["assistant_tag"]: "assistant",
        chosen["system_tag"]: "system",
    }
    messages = names.get("messages") or "conversations"
    needed = {key: names.get(key) or key for key in ANSWERS if entry.get("ranking")}
    for key, theirs in {"messages": messages, **{k: names.get(k) for k in ("system", JUDGEMENT)}, **needed}.items():
        if theirs and theirs not in table.columns:
            raise _no_column(key, theirs, table, place)
    return Tags(str(messages), chosen["role_tag"], chosen["content_tag"], roles, names.get("system") or "system")


def _check_keys(part: str, given: dict[str, Any], known: Collection[str], place: str) -> None:
    if unknown := [key for key in given if key not in known]:
        raise TableError(f"{place}: {part} has {quoted(unknown[0])}; only {', '.join(known)} are known. Remove it.")


def _no_column(key: str, name: object, table: Table, place: str) -> TableError:
    return TableError(
        f"{place}: its {key} column {quoted(str(name))} is not in {table.source}, which has "
        f"{listed(table.columns)}. Correct columns in the entry."
    )

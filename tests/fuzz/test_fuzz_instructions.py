"""Instruction files, as they are and by their entry in dataset_info.json."""

import json
from pathlib import Path
from typing import Any

import fuzz_files
import pytest
from fuzz_damage import damaged, damages
from fuzz_outcome import FUZZED, FUZZED_LESS, outcome
from hypothesis import given
from hypothesis import strategies as st

from papertune.prompts.check_table import check_table
from papertune.recipe import load_recipe
from papertune.tables import Table, read_table

texts = fuzz_files.cells.filter(bool)


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return tmp_path_factory.mktemp("instructions")


@st.composite
def alpaca(draw: Any) -> tuple[list[dict[str, Any]], list[tuple[str, ...]]]:
    """Draw entries, and what should be read of them: instruction, input and output."""
    entries, expected = [], []
    for _ in range(draw(st.integers(1, 4))):
        row = (draw(texts), draw(fuzz_files.cells), draw(fuzz_files.cells))
        entry: dict[str, Any] = dict(zip(("instruction", "input", "output"), row, strict=True))
        if draw(st.booleans()):
            entry["system"] = draw(fuzz_files.cells)
        if draw(st.booleans()):
            entry["history"] = draw(st.lists(st.tuples(texts, texts), max_size=2))
        entries.append(entry)
        expected.append(row)
    return entries, expected


@st.composite
def conversations(
    draw: Any, messages: str, role: str, content: str
) -> tuple[list[dict[str, Any]], list[tuple[str, ...]]]:
    """Draw conversations, and what should be read of them: the last question, no input, its answer."""
    user, assistant = ("human", "gpt") if role == "from" else ("user", "assistant")
    entries, expected = [], []
    for _ in range(draw(st.integers(1, 3))):
        turns = draw(st.lists(st.tuples(texts, texts), min_size=1, max_size=3))
        said = [{role: "system", content: draw(texts)}] if draw(st.booleans()) else []
        for question, answer in turns:
            said += [{role: user, content: question}, {role: assistant, content: answer}]
        entries.append({messages: said})
        expected.append((turns[-1][0], "", turns[-1][1]))
    return entries, expected


LAYOUTS: dict[str, tuple[Any, dict[str, Any]]] = {
    "alpaca": (alpaca(), {}),
    "sharegpt": (conversations("conversations", "from", "value"), {"formatting": "sharegpt"}),
    "openai": (
        conversations("messages", "role", "content"),
        {
            "formatting": "sharegpt",
            "columns": {"messages": "messages"},
            "tags": {
                "role_tag": "role",
                "content_tag": "content",
                "user_tag": "user",
                "assistant_tag": "assistant",
                "system_tag": "system",
            },
        },
    ),
}


def _read(path: Path | str) -> Table:
    """Read a table and check it as `papertune check -r instruct` does."""
    table = read_table(path)
    if table.is_instructions:
        check_table(table, load_recipe("instruct"), "train").raise_problems(table)
    return table


def _read_as_written(table: Table, expected: list[tuple[str, ...]]) -> bool:
    names = ["instruction", "input", "output"]
    return table.frame.select(names).rows() == expected


@pytest.mark.parametrize("layout", LAYOUTS)
@FUZZED_LESS
@given(data=st.data())
def test_a_valid_instruction_file_is_read_as_it_was_written(layout: str, data: st.DataObject, folder: Path):
    strategy, entry = LAYOUTS[layout]
    entries, expected = data.draw(strategy)
    lines = data.draw(st.booleans())
    file = folder / ("valid.jsonl" if lines else "valid.json")
    file.write_text("\n".join(map(json.dumps, entries)) if lines else json.dumps(entries, ensure_ascii=False), "utf-8")
    assert _read_as_written(read_table(file), expected)
    register = folder / "dataset_info.json"
    register.write_text(json.dumps({"x": {"file_name": file.name, **entry}, "y": {"file_name": "none.json"}}))
    assert _read_as_written(read_table(f"{register}:x"), expected)


@pytest.mark.parametrize("layout", LAYOUTS)
@FUZZED
@given(data=st.data())
def test_a_damaged_instruction_file_is_a_table_or_a_message(layout: str, data: st.DataObject, folder: Path):
    strategy, entry = LAYOUTS[layout]
    entries, _ = data.draw(strategy)
    done = data.draw(damages)
    is_register = data.draw(st.booleans())
    content = json.dumps(entries).encode()
    register = json.dumps({"x": {"file_name": "damaged.json", **entry}, "y": {"hf_hub_url": "a/b"}}, indent=1).encode()
    (folder / "damaged.json").write_bytes(content if is_register else damaged(content, done))
    (folder / "dataset_info.json").write_bytes(damaged(register, done) if is_register else register)
    for path in (folder / "damaged.json", f"{folder / 'dataset_info.json'}:x"):
        found = outcome(lambda path=path: _read(path), len(content))
        if found.table is not None and not found.warnings and is_register:
            assert len(found.table) == len(entries)


# Values that JSON can hold in place of others.
wrong_values = st.sampled_from(
    [None, True, 0, -1, 1.5, 10**400, "", "x", "\0", [], [[]], {}, {"a": []}, [None], ["x"], {"file_name": 1}]
)


def replaced(value: Any, path: list[int], new: Any) -> Any:
    """Return a JSON value with one of its inner values replaced; numbers choose the way to it."""
    if not path or not isinstance(value, dict | list) or not value:
        return new
    if isinstance(value, list):
        place = path[0] % len(value)
        return [*value[:place], replaced(value[place], path[1:], new), *value[place + 1 :]]
    key = list(value)[path[0] % len(value)]
    return {**value, key: replaced(value[key], path[1:], new)}


@FUZZED
@given(data=st.data(), layout=st.sampled_from(list(LAYOUTS)))
def test_other_values_in_an_instruction_file_or_register_are_a_table_or_a_message(
    data: st.DataObject, layout: str, folder: Path
):
    strategy, entry = LAYOUTS[layout]
    entries, _ = data.draw(strategy)
    register: dict[str, Any] = {"x": {"file_name": "wrong.json", "file_sha1": "0", **entry}}
    way, new = data.draw(st.lists(st.integers(0, 9), min_size=1, max_size=5)), data.draw(wrong_values)
    if data.draw(st.booleans()):
        register = replaced(register, way, new)
    else:
        entries = replaced(entries, way, new)
    (folder / "wrong.json").write_text(json.dumps(entries))
    (folder / "dataset_info.json").write_text(json.dumps(register))
    for path in (folder / "wrong.json", f"{folder / 'dataset_info.json'}:x"):
        outcome(lambda path=path: _read(path))

"""JSON lines, JSON lists, standard input."""

import io
import json
from types import SimpleNamespace

import pytest

from papertune.errors import TableError
from papertune.tables import read_table


@pytest.mark.parametrize("content", ['[\n{"a": 1}\n]', '[{"a": 1},\n{"a": 2}]', '\n[{"a": 1}]'])
def test_a_list_in_a_file_of_json_lines_is_named(tmp_path, content):
    path = tmp_path / "t.jsonl"
    path.write_text(content)
    with pytest.raises(TableError, match=r"a JSON list begins here\. Rename the file to \.json, or write one object"):
        read_table(path)


def read(folder, content, name):
    (folder / name).write_text(content, encoding="utf-8")
    return read_table(folder / name)


def refusal(folder, content, name):
    with pytest.raises(TableError) as error:
        read(folder, content, name)
    return str(error.value).replace(str(folder / name), name)


VALUES = {
    "0": "0",
    "1.10": "1.10",
    "123456789012345678901234567890": "123456789012345678901234567890",
    "1e400": "1e400",
    "true": "true",
    "null": "",
    "NaN": "",
    '"True"': "True",
    '"  x\\n"': "  x\n",
    '"\\u4e2d\\ud83d\\ude00"': "中😀",
    '["a", 1.5, 7, null, true]': '["a", 1.5, 7, null, true]',
    '{"k": {"é": []}}': '{"k": {"é": []}}',
}


@pytest.mark.parametrize(("written", "cell"), VALUES.items())
def test_values_become_the_text_of_the_file(tmp_path, written, cell):
    assert read(tmp_path, f'{{"a": {written}}}\n', "t.jsonl").column("a") == [cell]
    assert read(tmp_path, f'[{{"a": {written}}}]', "t.json").column("a") == [cell]


def test_lines_are_counted_as_in_an_editor(tmp_path):
    table = read(tmp_path, '\n{"a": 1}\r\n\n{"b": "x\u2028y", "a": 2}\n', "t.jsonl")
    assert table.frame.to_dict(as_series=False) == {"a": ["1", "2"], "b": ["", "x\u2028y"]}
    assert [table.where(row, "b").partition("t.jsonl, ")[2] for row in (0, 1)] == [
        'line 2, column "b"',
        'line 4, column "b"',
    ]
    assert table.take([1]).where(0).endswith("line 4")


def test_all_bad_lines_are_reported_together(tmp_path):
    lines = ['{"a": 1}', '{"a":', "[1]", '{"a": 1, "a": 2}', '{"a": "\\ud800"}', '{"": 1}', "{}", "[" * 100_000]
    assert refusal(tmp_path, "\n".join(lines), "t.jsonl") == (
        "t.jsonl: rows cannot be read. Each row is one object from column names to values. (7 problems):\n"
        "  - t.jsonl, line 2: this is not JSON (Expecting value at column 1)\n"
        "  - t.jsonl, line 3: this is a list, not an object\n"
        '  - t.jsonl, line 4: the key "a" occurs twice in one object\n'
        '  - t.jsonl, line 5, column "a": the value has half of a surrogate pair (\\ud800), which is not a character\n'
        '  - t.jsonl, line 6, column "": the value has an empty name\n'
        "  - t.jsonl, line 7: this object is empty\n"
        "  - t.jsonl, line 8: this JSON is nested too deeply"
    )


def test_an_instruction_file_is_recognised(tmp_path):
    entry = {"instruction": "Is it medical?", "input": "title: x", "output": "1", "history": [["q", "a"]], "id": 7}
    table = read(tmp_path, json.dumps([entry, {**entry, "history": []}], indent=4), "instructions.json")
    assert table.is_instructions
    assert table.columns == list(entry)
    assert table.column("history") == ['[["q", "a"]]', "[]"]
    assert table.where(1, "output").endswith('instructions.json, entry 2, column "output"')


@pytest.mark.parametrize(
    ("content", "message"),
    [
        ('[\n{"a": 1},\n]', "t.json, line 3: this is not JSON (Expecting value at column 1). Correct it."),
        ('[{"a": 1}', "t.json, line 1: this is not JSON (Expecting ',' or ']' at column 10). Correct it."),
        ('[{"a": 1}]\nx', "t.json, line 2: this is not JSON (Extra data at column 1). Correct it."),
        (
            '{"a": 1}\n{"a": 2}\n',
            "t.json, line 2: this is not JSON (Extra data at column 1). "
            "It seems to have one object per line: rename it to .jsonl.",
        ),
        ('{"a": 1}', "t.json holds one object, not a list. Make it a list of objects: [{...}]."),
        ("[]", "t.json has no rows. Give a table with at least one row."),
        (
            '[1, {"a": 2}, "x", null]',
            "t.json: rows cannot be read. Each row is one object from column names to values. (3 problems):\n"
            "  - t.json, entry 1: this is a number, not an object\n"
            "  - t.json, entry 3: this is text, not an object\n"
            "  - t.json, entry 4: this is null, not an object",
        ),
        ("[" * 100_000, "t.json: this JSON is nested too deeply. Correct it."),
        ('[{"a": "x\\u0000"}]', 't.json, entry 1, column "a": the cell has a NUL character. Remove'),
    ],
)
def test_files_that_are_not_lists_of_objects_are_refused(tmp_path, content, message):
    assert refusal(tmp_path, content, "t.json").startswith(message)


def test_standard_input_is_json_lines(monkeypatch):
    monkeypatch.setattr("sys.stdin", SimpleNamespace(buffer=io.BytesIO('\ufeff{"a": "é"}\n'.encode())))
    table = read_table("-")
    assert (table.column("a"), table.where(0)) == (["é"], "standard input, line 1")
    monkeypatch.setattr("sys.stdin", SimpleNamespace(buffer=io.BytesIO(b"x")))
    with pytest.raises(TableError, match=r"^standard input, line 1: this is not JSON"):
        read_table("-")


def test_columns_may_first_appear_in_a_later_row(tmp_path, monkeypatch):
    monkeypatch.setattr("papertune.tables.cells.CHUNK_ROWS", 2)
    rows = [{"a": 1}, {"a": 2}, {"b": 3}, {"a": 4, "c": 5}, {"a": 6}]
    table = read(tmp_path, "\n".join(map(json.dumps, rows)), "t.jsonl")
    expected = {"a": ["1", "2", "", "4", "6"], "b": ["", "", "3", "", ""], "c": ["", "", "", "5", ""]}
    assert table.frame.to_dict(as_series=False) == expected


def test_numbers_in_a_list_stay_as_the_file_has_them(tmp_path):
    (tmp_path / "t.jsonl").write_text(
        '{"a": [1.10, 1e999, 12345678901234567890123, NaN, {"b": "\\u00e9"}, null, true]}'
    )
    cell = read_table(tmp_path / "t.jsonl").frame["a"][0]
    assert cell == '[1.10, 1e999, 12345678901234567890123, null, {"b": "é"}, null, true]'


@pytest.mark.parametrize("suffix", [".json", ".jsonl"])
def test_a_value_that_is_nested_too_deeply_to_be_written_is_refused(tmp_path, suffix):
    row = '{"a": ' + "[" * 700 + "]" * 700 + "}"
    (tmp_path / f"t{suffix}").write_text(row if suffix == ".jsonl" else f"[{row}]")
    with pytest.raises(TableError, match="nested too deeply"):
        read_table(tmp_path / f"t{suffix}")

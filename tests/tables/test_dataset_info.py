"""Entries of LLaMA-Factory's register of data sets."""

import hashlib
import json

import pytest

from papertune.errors import PapertuneWarning, TableError
from papertune.tables import read_table

DATA = json.dumps([{"q": "Is it medical?", "x": "title: y", "r": 1, "h": [["a", "b"]], "id": 3}])
COLUMNS = {"prompt": "q", "query": "x", "response": "r", "history": "h"}


@pytest.fixture
def register(tmp_path):
    def write(**entries):
        (tmp_path / "xfg.json").write_text(DATA)
        (tmp_path / "dataset_info.json").write_text(json.dumps(entries))
        return str(tmp_path / "dataset_info.json")

    return write


def refusal(source, register):
    with pytest.raises(TableError) as error:
        read_table(source)
    return str(error.value).replace(register, "dataset_info.json").replace(register.rpartition("dataset_info")[0], "")


def test_columns_of_an_entry_are_renamed_to_ours(register):
    sha1 = hashlib.sha1(DATA.encode()).hexdigest()
    path = register(xfg={"file_name": "xfg.json", "file_sha1": sha1, "columns": COLUMNS}, other={"file_name": "x.json"})
    table = read_table(f"{path}:xfg")
    assert table.frame.to_dicts() == [
        {"instruction": "Is it medical?", "input": "title: y", "output": "1", "history": '[["a", "b"]]'}
    ]
    assert table.is_instructions
    assert table.where(0, "output") == f'{path}:xfg (xfg.json), entry 1, column "output"'


def test_a_single_entry_needs_no_name_and_its_columns_have_defaults(register, tmp_path):
    path = register(only={"file_name": "plain.jsonl"})
    (tmp_path / "plain.jsonl").write_text('{"output": "1", "instruction": "q", "note": "n"}\n')
    with pytest.warns(PapertuneWarning) as caught:
        assert read_table(path).frame.to_dicts() == [{"instruction": "q", "output": "1"}]
    assert [str(each.message).replace(f"{tmp_path}/", "") for each in caught] == [
        'dataset_info.json, entry "only": its columns leave out "note" of plain.jsonl, so this is not read.'
    ]
    (tmp_path / "plain.jsonl").write_text('{"output": "1", "instruction": "q", "input": ""}\n')
    assert read_table(path).columns == ["instruction", "input", "output"]


def test_a_changed_checksum_is_a_warning(register):
    path = register(xfg={"file_name": "xfg.json", "file_sha1": "00", "columns": COLUMNS})
    with pytest.warns(
        PapertuneWarning, match='entry "xfg": the SHA-1 of xfg.json is .*, and the entry says 00. The file'
    ):
        assert len(read_table(path)) == 1


def test_keys_of_an_entry_that_are_not_used_are_named(register, tmp_path):
    path = register(xfg={"file_name": "xfg.json", "colums": COLUMNS, "num_samples": 3, "columns": COLUMNS})
    with pytest.warns(PapertuneWarning) as caught:
        assert len(read_table(path)) == 1
    assert [str(each.message).replace(f"{tmp_path}/", "") for each in caught] == [
        'dataset_info.json, entry "xfg": papertune does not use "colums", "num_samples" of it. Did you mean "columns"?'
    ]


@pytest.mark.parametrize(
    "bad",
    [{"columns": {}}, "xfg.json", []],
)
def test_an_entry_beside_one_that_names_no_data_is_read(register, bad):
    path = register(bad=bad, good={"file_name": "xfg.json", "columns": COLUMNS})
    assert len(read_table(f"{path}:good")) == 1
    assert refusal(f"{path}:bad", path) == (
        'dataset_info.json, entry "bad": it names no data. Give it a file_name, or remove it.'
    )


@pytest.mark.parametrize("entry", ["", ":xfg"])
def test_a_register_that_is_not_json_is_reported_with_line_and_column(tmp_path, entry):
    path = tmp_path / "dataset_info.json"
    path.write_text('{\n  "xfg": {"file_name": "xfg.json"}\n  "other": {"file_name": "x.json"}\n}\n')
    assert refusal(f"{path}{entry}", str(path)) == (
        "dataset_info.json, line 3, column 3: this is not JSON (Expecting ',' delimiter). Correct it there or in the "
        "line before."
    )


def test_invalid_entries_are_refused(register):
    path = register(
        xfg={"file_name": "xfg.json"},
        named={"file_name": "xfg.json", "columns": {**COLUMNS, "query": "nope"}},
        odd={"file_name": "xfg.json", "columns": {"images": "i"}},
        hub={"hf_hub_url": "someone/data"},
        script={"script_url": "data.py"},
        chats={"file_name": "xfg.json", "formatting": "sharegpt"},
        tools={"file_name": "xfg.json", "formatting": "sharegpt", "columns": {"messages": "h", "tools": "t"}},
        plain={"file_name": "xfg.json", "formatting": "plain"},
        pairs={"file_name": "xfg.json", "ranking": True},
        gone={"file_name": "xfgg.json"},
        numbers={"file_name": 3},
    )
    names = ["xfg", "named", "odd", "hub", "script", "chats", "tools", "plain", "pairs", "gone", "numbers"]
    entry = 'dataset_info.json, entry "{}": '.format
    expected = {
        "": "dataset_info.json has several entries. Name one: "
        + ", ".join(f"dataset_info.json:{n}" for n in names)
        + ".",
        ":xfgs": 'dataset_info.json: there is no entry "xfgs". Did you mean "xfg"? '
        f"The entries are {', '.join(names)}.",
        ":xfg": entry("xfg") + 'its prompt column "instruction" is not in xfg.json, which has q, x, r, h, id. '
        "Correct columns in the entry.",
        ":named": entry("named") + 'its query column "nope" is not in xfg.json, which has q, x, r, h, id. '
        "Correct columns in the entry.",
        ":odd": entry("odd")
        + 'columns has "images"; only prompt, query, response, history, system are known. Remove it.',
        ":hub": entry("hub")
        + "its data is not a local file but comes from hf_hub_url. Download it, and pass the file itself as the table.",
        ":chats": entry("chats") + 'its messages column "conversations" is not in xfg.json, which has q, x, r, h, id. '
        "Correct columns in the entry.",
        ":tools": entry("tools") + 'columns has "tools"; only messages, system are known. Remove it.',
        ":plain": entry("plain") + 'it has the layout "plain". Only the layouts alpaca and sharegpt are supported.',
        ":pairs": entry("pairs") + 'its prompt column "instruction" is not in xfg.json, which has q, x, r, h, id. '
        "Correct columns in the entry.",
        ":gone": 'xfgg.json: there is no such file. Did you mean "xfg.json"? Check the path.',
        ":numbers": entry("numbers") + "file_name must be text, and columns and tags are objects. Correct the entry.",
    }
    assert {name: refusal(path + name, path) for name in expected} == expected
    assert "comes from script_url" in refusal(path + ":script", path)


def test_an_entry_of_a_file_that_is_not_a_register_is_refused(tmp_path):
    (tmp_path / "t.json").write_text('[{"a": 1}]')
    with pytest.raises(TableError, match=r"t\.json is not a register of data sets like LLaMA-Factory's. Leave out"):
        read_table(f"{tmp_path / 't.json'}:x")
    with pytest.raises(TableError, match=r"none\.json: there is no such file"):
        read_table(f"{tmp_path / 'none.json'}:x")


def test_a_repeated_entry_is_refused(tmp_path):
    path = tmp_path / "dataset_info.json"
    path.write_text('{"p": {"file_name": "a.json"}, "p": {"file_name": "b.json"}}')
    with pytest.raises(TableError) as caught:
        read_table(f"{path}:p")
    assert str(caught.value) == f'{path}: the key "p" occurs twice in one object. Rename or remove one of them.'

"""Conversations become rows with instruction, history and output; JSON outputs keep what JSON sources had."""

import json

import polars as pl
import pytest
from hypothesis import given
from hypothesis import strategies as st

from papertune.errors import PapertuneWarning, TableError
from papertune.tables import read_table, write_table

A, B, C, D = "What is it?", "A heart.", "And this?\n", "A graph."
SHAREGPT = [{"from": f, "value": v} for f, v in (("human", A), ("gpt", B), ("human", C), ("gpt", D))]
OPENAI = [{"role": f, "content": v} for f, v in (("user", A), ("assistant", B), ("user", C), ("assistant", D))]
ROW = {"instruction": C, "input": "", "history": json.dumps([[A, B]]), "output": D}
TEXT = st.text(st.characters(codec="utf-8", exclude_characters="\0"), max_size=6)


def saved(folder, value, name="t.json"):
    (folder / name).write_text(json.dumps(value), "utf-8")
    return folder / name


def cells(table, *names):
    return table.frame.select(names or ("instruction", "input", "history", "system", "output")).to_dicts()


def refusal(folder, conversation):
    good = {"conversations": SHAREGPT}
    with pytest.raises(TableError) as error:
        read_table(saved(folder, [good, {"conversations": conversation}]))
    return str(error.value).removeprefix(f"{folder / 't.json'}, entry 2, ").partition(". A conversation")[0]


@pytest.mark.parametrize(
    "entry",
    [
        {"conversations": SHAREGPT},
        {"messages": OPENAI},
        {"conversations": OPENAI},
        {"messages": SHAREGPT},
        {"conversations": [{"from": "system", "value": "Be brief."}, *SHAREGPT]},
        {"messages": OPENAI, "system": "Be brief."},
    ],
)
@pytest.mark.parametrize("suffix", ["json", "jsonl", "parquet", "rows", "frame"])
def test_each_way_to_write_a_conversation(tmp_path, entry, suffix):
    path = tmp_path / f"t.{suffix}"
    if suffix == "json":
        path.write_text(json.dumps([entry]))
    elif suffix == "jsonl":
        path.write_text(json.dumps(entry) + "\n")
    elif suffix == "parquet":
        pl.DataFrame([entry]).write_parquet(path)
    else:
        path = [entry] if suffix == "rows" else pl.DataFrame([entry])
    table = read_table(path)
    system = "Be brief." if "system" in str(entry) else ""
    assert cells(table) == [{**ROW, "system": system}]
    assert table.is_instructions
    assert set(table.derived) == {*ROW, "system"} - entry.keys()


@given(TEXT, st.lists(TEXT, min_size=1, max_size=7), st.booleans())
def test_any_conversation(tmp_path_factory, system, turns, is_openai):
    role, content, names = ("role", "content", "user assistant") if is_openai else ("from", "value", "human gpt")
    first = [{role: "system", content: system}] if system else []
    messages = first + [{role: names.split()[n % 2], content: turn} for n, turn in enumerate(turns)]
    table = read_table([{"id": "x", "conversations": messages}])
    (row,) = table.frame.drop("id", "conversations").to_dicts()
    rounds = [text for turn in json.loads(row["history"] or "[]") for text in turn]
    answer = [row["output"]] if "output" in row else []
    assert (row["system"], [*rounds, row["instruction"], *answer]) == (system, turns)


def test_a_conversation_that_ends_with_a_question_has_no_output(tmp_path):
    path = saved(tmp_path, [{"conversations": SHAREGPT[:3]}, {"conversations": SHAREGPT[:2]}])
    expected = [
        {"instruction": C, "input": "", "history": ROW["history"], "system": "", "output": ""},
        {"instruction": A, "input": "", "history": "", "system": "", "output": B},
    ]
    assert cells(read_table(path)) == expected
    assert "output" not in read_table(saved(tmp_path, [{"conversations": SHAREGPT[:3]}])).columns


def test_an_output_beside_the_messages_counts(tmp_path):
    table = read_table(saved(tmp_path, [{"conversations": SHAREGPT, "output": "predicted"}]))
    assert cells(table, "output", "instruction") == [{"output": "predicted", "instruction": C}]
    assert "output" not in table.derived


@pytest.mark.parametrize(
    ("messages", "problem"),
    [
        ([], "nobody says anything"),
        ("hello", "this is not a list of messages"),
        ({"from": "human"}, "this is not a list of messages"),
        ([*SHAREGPT, {"from": "human"}], 'message 5 is not an object with "from" and "value"'),
        ([*SHAREGPT, "?"], 'message 5 is not an object with "from" and "value"'),
        (SHAREGPT[1:], 'message 1 is from the assistant ("gpt"), where the user has its turn'),
        ([*SHAREGPT[:1], *SHAREGPT], 'message 2 is from the user ("human"), where the assistant has its turn'),
        ([*SHAREGPT, {"from": "system", "value": "x"}], "message 5 is a system message; only the first can be one"),
        ([{"from": "system", "value": "x"}], "nobody says anything"),
        ([{"from": "human", "value": ["x"]}], 'message 1 has a "value" that is not text'),
        (
            [*SHAREGPT[:1], {"from": "function_call", "value": "x"}],
            'message 2 is from "function_call"; the roles that can be read are human, user, gpt, chatgpt, assistant, '
            "system",
        ),
    ],
)
def test_what_is_not_a_conversation_is_refused(tmp_path, messages, problem):
    assert refusal(tmp_path, messages) == f'column "conversations": {problem}'


def test_all_broken_conversations_are_reported_together(tmp_path):
    path = saved(tmp_path, [{"conversations": each} for each in (SHAREGPT, SHAREGPT[1:], SHAREGPT, [])])
    with pytest.raises(TableError) as error:
        read_table(path)
    assert str(error.value).replace(str(path), "t.json") == (
        "t.json: conversations cannot be read. A conversation is a list of messages, first from the user and then in "
        "turns, with a system message before them or not. Correct or remove the entry. (2 problems):\n"
        '  - t.json, entry 2, column "conversations": message 1 is from the assistant ("gpt"), where the user has its '
        "turn\n"
        '  - t.json, entry 4, column "conversations": nobody says anything'
    )


@pytest.mark.parametrize(
    "row",
    [
        {"messages": "a text", "label": "1"},
        {"messages": "[1, 2", "label": "1"},
        {"messages": [1, 2]},
        {"conversations": [{"who": "human", "text": "x"}]},
        {"instruction": "q", "output": "a", "conversations": SHAREGPT},
    ],
)
def test_other_columns_with_such_names_are_left_alone(row):
    table = read_table([row])
    assert (table.columns, table.derived) == ([*row], ())


class TestRegister:
    TAGS = (("role_tag", "who"), ("content_tag", "text"), ("user_tag", "reader"), ("assistant_tag", "librarian"))

    def register(self, folder, **entry):
        talk = [{"who": w, "text": t} for w, t in (("rule", "S"), ("reader", A), ("librarian", B))]
        saved(folder, [{"talk": talk, "persona": "", "conversations": SHAREGPT}], "talk.json")
        entry = {"file_name": "talk.json", "formatting": "sharegpt", **entry}
        return saved(folder, {"mine": entry}, "dataset_info.json")

    def test_tags_and_columns(self, tmp_path):
        tags = {**dict(self.TAGS), "system_tag": "rule"}
        path = self.register(tmp_path, columns={"messages": "talk", "system": "persona"}, tags=tags)
        table = read_table(f"{path}:mine")
        assert cells(table) == [{"instruction": A, "input": "", "history": "", "system": "S", "output": B}]
        assert table.where(0) == f"{path}:mine (talk.json), entry 1"
        assert table.columns[:3] == ["talk", "persona", "conversations"]

    def test_defaults(self, tmp_path):
        assert cells(read_table(self.register(tmp_path)), *ROW) == [ROW]

    def test_names_that_are_not_there_are_refused(self, tmp_path):
        with pytest.raises(TableError, match=r'message 1 is from "rule"; the roles that can be read are reader'):
            read_table(self.register(tmp_path, columns={"messages": "talk"}, tags=dict(self.TAGS)))
        with pytest.raises(TableError, match=r'its messages column "chat" is not in .*talk\.json, which has talk,'):
            read_table(self.register(tmp_path, columns={"messages": "chat"}))
        with pytest.raises(TableError, match=r'tags has "role"; only role_tag, content_tag, .* are known\. Remove it'):
            read_table(self.register(tmp_path, tags={"role": "who"}))


VALUES = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats(allow_nan=False, allow_infinity=False) | TEXT,
    lambda inner: st.lists(inner, max_size=2) | st.dictionaries(TEXT, inner, max_size=2),
    max_leaves=4,
)
NAMES = st.sampled_from(["a", "b", "漢", 'c"'])


@given(st.lists(st.dictionaries(NAMES, VALUES, min_size=1), min_size=1, max_size=5), st.sampled_from(["json", "jsonl"]))
def test_json_is_written_as_it_was_read(tmp_path_factory, entries, suffix):
    path = tmp_path_factory.getbasetemp() / f"entries.{suffix}"
    lines = [json.dumps(entry, ensure_ascii=False) for entry in entries]
    path.write_text("\n".join(lines) if suffix == "jsonl" else f"[{','.join(lines)}]", "utf-8")
    table = read_table(path)
    order = [*range(len(table)), 0]
    table = table.take(order)
    # Cells that no entry has are all text.
    write_table(table.frame, path, overwrite=True, forms=table.forms or {"a": bytes(len(table))})
    text = path.read_text("utf-8")
    written = [json.loads(line) for line in text.splitlines()] if suffix == "jsonl" else json.loads(text)
    assert written == [entries[row] for row in order]


def test_json_of_text_is_a_list_of_objects(tmp_path):
    write_table(pl.DataFrame({"id": ["01", "é"], "n": [1, None]}), tmp_path / "t.json")
    assert (tmp_path / "t.json").read_text("utf-8") == (
        '[\n  {\n    "id": "01",\n    "n": 1\n  },\n  {\n    "id": "é",\n    "n": null\n  }\n]\n'
    )


def test_forms_of_many_rows_go_with_their_rows(tmp_path):
    """The rows of a long file are collected in chunks, and later ones may have new columns."""
    entries = [{"n": n} for n in range(5000)] + [{"n": None, "new": [n]} for n in range(5000)]
    table = read_table(saved(tmp_path, entries)).take(range(9999, -1, -1))
    write_table(table.frame, tmp_path / "again.json", forms=table.forms)
    assert json.loads((tmp_path / "again.json").read_text("utf-8")) == entries[::-1]


def test_keys_of_messages_that_are_not_read_are_counted():
    asked = {"role": "user", "content": "Hello", "name": "Ann"}
    said = {"role": "assistant", "content": "Hi", "weight": 0, "name": "Bot"}
    rows = [{"messages": [{"role": "user", "content": "x"}]}, {"messages": [asked, said]}]
    with pytest.warns(PapertuneWarning) as caught:
        read_table(rows)
    assert [str(each.message) for each in caught] == [
        'list of rows, row 2: "name" of 2 messages, "weight" of 1 message are not used (this is the first).'
    ]


def test_a_second_system_message_beside_the_conversation_is_counted():
    talk = [{"from": "system", "value": "Be brief."}, {"from": "human", "value": "Hello"}]
    rows = [{"conversations": talk, "system": text} for text in ("Be brief.", "", "Be long.")]
    with pytest.warns(PapertuneWarning) as caught:
        table = read_table(rows)
    assert table.column("system") == ["Be brief."] * 3
    assert [str(each.message) for each in caught] == [
        "list of rows, row 3: 1 entry has a system message in the conversation and another one beside it, which is not "
        "used (this is the first)."
    ]

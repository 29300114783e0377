"""Files of preferences: what is written is read again, and files in LLaMA-Factory's layouts are read the same."""

import contextlib
import json
import warnings

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from papertune.errors import OutputError, PapertuneWarning, TableError
from papertune.preferences import Pair, Thumb, read_pairs, read_thumbs, write_preferences
from papertune.prompts.examples import RowReader
from papertune.recipe import load_recipe
from papertune.tables import read_table

ASKED = "List the keywords."
RECIPE = load_recipe(
    {
        "model": "tiny",
        "table": {"id": "id", "document": "{title}"},
        "columns": {
            "Keywords": {"kind": "keywords", "question": ASKED},
            "label": {"kind": "label", "question": "Is it medical?", "labels": ["1", "0"]},
            "topics": {"kind": "labels", "question": "Is it about {label}?", "labels": ["art", "law"]},
            "output": {"kind": "text", "question": "{instruction}"},
        },
    }
)
INSTRUCT = load_recipe("instruct")
ONE = {"instruction": ASKED, "input": "title: x", "chosen": "a; b", "rejected": "c"}
PAIR = Pair(column="Keywords", instruction=ASKED, input="title: x", chosen="a; b", rejected="c")
JUDGED = {"instruction": ASKED, "input": "title: x", "output": "a", "kto_tag": True}

texts = st.text(st.characters(exclude_characters="\0", codec="utf-8"))
answers = texts.filter(str.strip)
entries = {
    "input": texts,
    "paper": texts,
    "system": texts.filter(lambda text: not text or text.strip()),
    "history": st.lists(st.tuples(texts, texts), max_size=2).map(tuple),
    "source": st.sampled_from(["human", "synthetic", "file"]),
}
pairs = st.builds(
    Pair,
    column=st.just("Keywords"),
    instruction=st.just(ASKED),
    chosen=answers,
    rejected=texts,
    tier=texts,
    **entries,
).filter(lambda pair: pair.chosen.split() != pair.rejected.split())
thumbs = st.builds(
    Thumb,
    column=st.just("output"),
    instruction=texts.filter(lambda text: text.strip() != ASKED),
    answer=answers,
    good=st.booleans(),
    **entries,
)


@pytest.fixture(scope="module")
def folder(tmp_path_factory):
    return tmp_path_factory.mktemp("preferences")


@pytest.fixture
def write(tmp_path):
    """Write a file of objects, a line each, or a register with an entry of it."""

    def make(*objects, **entry):
        path = tmp_path / "p.jsonl"
        path.write_text("".join(json.dumps(each) + "\n" for each in objects))
        if not entry:
            return str(path)
        register = tmp_path / "dataset_info.json"
        register.write_text(json.dumps({"p": {"file_name": "p.jsonl", **entry}}))
        return f"{register}:p"

    return make


def refusal(source, read=read_pairs, recipe=RECIPE):
    with pytest.raises(TableError) as caught:
        read(source, recipe)
    return str(caught.value).replace(source.removesuffix(":p").rpartition("/")[0] + "/", "")


@given(st.lists(pairs, min_size=1, max_size=3), st.sampled_from([".json", ".jsonl"]))
def test_pairs_are_read_as_they_were_written(folder, written, suffix):
    path = folder / f"pairs{suffix}"
    write_preferences(written, path, overwrite=True)
    assert read_pairs(str(path), RECIPE) == written


@given(st.lists(thumbs, min_size=1, max_size=3), st.sampled_from([".json", ".jsonl"]))
def test_judged_answers_are_read_as_they_were_written(folder, written, suffix):
    path = folder / f"thumbs{suffix}"
    write_preferences(written, path, overwrite=True)
    assert read_thumbs(str(path), RECIPE) == written


@settings(max_examples=20)
@given(st.lists(pairs, min_size=1, max_size=3))
def test_a_prompt_of_a_pair_is_the_prompt_of_its_row(folder, written):
    path = folder / "rows.jsonl"
    write_preferences(written, path, overwrite=True)
    for recipe in (RECIPE, RECIPE.model_copy(update={"layout": "question-first"}), INSTRUCT):
        reader = RowReader(read_table(path), recipe)
        for row, pair in enumerate(read_pairs(_without_column(path), recipe)):
            assert pair.prompt(recipe) == reader.prompt(row, pair.column)


values = st.none() | st.booleans() | st.integers(-1, 1) | st.sampled_from([ASKED, "true", "a; b", "", "{}", "[["])
message = st.fixed_dictionaries({}, optional={"from": st.sampled_from(["human", "gpt", 1]), "value": values})
cells = values | message | st.lists(message, max_size=3)
names = [
    "instruction",
    "input",
    "chosen",
    "rejected",
    "output",
    "kto_tag",
    "history",
    "system",
    "column",
    "conversations",
]
rows = st.lists(st.dictionaries(st.sampled_from(names), cells, min_size=1), min_size=1, max_size=3)
register_entries = st.fixed_dictionaries(
    {"file_name": st.just("any.json")},
    optional={
        "ranking": values,
        "formatting": st.sampled_from(["alpaca", "sharegpt"]),
        "columns": st.dictionaries(
            st.sampled_from(["prompt", "query", "chosen", "rejected", "kto_tag", "messages", "system"]),
            st.sampled_from([*names, None, 1]),
            max_size=4,
        ),
    },
)


@settings(max_examples=30)
@given(rows, st.none() | register_entries, st.sampled_from([read_pairs, read_thumbs]))
def test_any_file_is_read_or_refused(folder, content, entry, read):
    (folder / "any.json").write_text(json.dumps(content))
    (folder / "dataset_info.json").write_text(json.dumps({"any": entry}))
    source = str(folder / "any.json") if entry is None else f"{folder / 'dataset_info.json'}:any"
    with contextlib.suppress(TableError), warnings.catch_warnings():
        warnings.simplefilter("ignore", PapertuneWarning)
        assert len(read(source, INSTRUCT)) == len(content)


def _without_column(path):
    """Copy a file without the name of the column, which another recipe does not have."""
    copy = path.with_name("copy.jsonl")
    rows = [json.loads(line) for line in path.read_text().split("\n") if line]
    copy.write_text("".join(json.dumps({**row, "column": ""}) + "\n" for row in rows))
    return str(copy)


def test_a_file_has_one_object_a_line_with_the_same_keys(tmp_path):
    path = tmp_path / "pairs.jsonl"
    told = Pair(
        column="Keywords",
        instruction=ASKED,
        input="é",
        chosen="a",
        rejected="b",
        paper="7",
        system="S",
        tier="cut-short",
        source="synthetic",
    )
    write_preferences([PAIR, told], path)
    first, second = path.read_text().splitlines()
    assert first == (
        '{"instruction": "List the keywords.", "input": "title: x", "chosen": "a; b", "rejected": "c", "system": "", '
        '"column": "Keywords", "paper": "", "tier": "", "source": "file"}'
    )
    assert second == (
        '{"instruction": "List the keywords.", "input": "é", "chosen": "a", "rejected": "b", "system": "S", '
        '"column": "Keywords", "paper": "7", "tier": "cut-short", "source": "synthetic"}'
    )


def test_a_file_is_replaced_only_on_request(tmp_path):
    path = tmp_path / "pairs.jsonl"
    write_preferences([PAIR], path)
    with pytest.raises(OutputError) as caught:
        write_preferences([PAIR], path)
    assert str(caught.value) == f"{path} exists already. Add --overwrite to replace it, or choose another name."
    with pytest.raises(OutputError, match=r"pairs\.txt: give the file the suffix \.json or \.jsonl\."):
        write_preferences([PAIR], tmp_path / "pairs.txt")


class TestLayouts:
    """Files made by hand, as LLaMA-Factory's README describes them."""

    def test_alpaca_pairs_with_names_of_their_own(self, write):
        source = write(
            {"q": ASKED, "x": "title: x", "good": "a; b", "bad": "c", "paper": "9", "tier": "t", "other": 1},
            ranking=True,
            columns={"prompt": "q", "query": "x", "chosen": "good", "rejected": "bad"},
        )
        with pytest.warns(
            PapertuneWarning, match=r'its columns leave out "other" of .*p\.jsonl, so this is not read\.$'
        ):
            found = read_pairs(source, RECIPE)
        assert found == [
            Pair(
                column="Keywords",
                instruction=ASKED,
                input="title: x",
                chosen="a; b",
                rejected="c",
                paper="9",
                tier="t",
            )
        ]

    def test_pairs_without_an_input_ask_their_own_question(self, write):
        source = write({"instruction": "Which?", "chosen": "a", "rejected": ""}, ranking=True)
        (pair,) = read_pairs(source, INSTRUCT)
        assert (pair.column, pair.instruction, pair.input) == ("output", "Which?", "")

    @pytest.mark.parametrize("column", ["", "answer"])
    def test_questions_that_stand_in_a_column_of_the_table(self, write, column):
        recipe = load_recipe(
            {
                "model": "tiny",
                "table": {"document": "{title}"},
                "columns": {
                    "answer": {"kind": "text", "question": "{asks}"},
                    "Keywords": {"kind": "keywords", "question": ASKED},
                },
            }
        )
        source = write({**ONE, "instruction": "Why?", "column": column}, {**ONE, "column": ""})
        pairs = read_pairs(source, recipe)
        assert [(pair.column, pair.instruction) for pair in pairs] == [("answer", "Why?"), ("Keywords", ASKED)]
        assert pairs[0].prompt(recipe).after == "\n\nWhy?"

    @pytest.mark.parametrize("entry", [{}, {"formatting": "sharegpt", "ranking": True}])
    def test_sharegpt_pairs(self, write, entry):
        source = write(
            {
                "conversations": [
                    {"from": "system", "value": "S"},
                    {"from": "human", "value": "A"},
                    {"from": "gpt", "value": "B"},
                    {"from": "human", "value": "C"},
                ],
                "chosen": {"from": "gpt", "value": "yes"},
                "rejected": {"from": "gpt", "value": "no"},
            },
            **entry,
        )
        assert read_pairs(source, INSTRUCT) == [
            Pair(
                column="output",
                instruction="C",
                input="",
                chosen="yes",
                rejected="no",
                system="S",
                history=(("A", "B"),),
            )
        ]

    def test_sharegpt_pairs_with_tags_of_their_own(self, write):
        source = write(
            {
                "msgs": [{"who": "me", "text": "C"}],
                "yes": {"who": "it", "text": "{1}"},
                "no": {"who": "it", "text": "n"},
            },
            formatting="sharegpt",
            ranking=True,
            columns={"messages": "msgs", "chosen": "yes", "rejected": "no"},
            tags={"role_tag": "who", "content_tag": "text", "user_tag": "me", "assistant_tag": "it"},
        )
        (pair,) = read_pairs(source, INSTRUCT)
        assert (pair.instruction, pair.chosen, pair.rejected) == ("C", "{1}", "n")

    def test_alpaca_judgements(self, write):
        source = write(
            {"q": ASKED, "x": "title: x", "r": "a", "ok": True},
            {"q": ASKED, "x": "title: y", "r": "b", "ok": False},
            columns={"prompt": "q", "query": "x", "response": "r", "kto_tag": "ok"},
        )
        assert [(each.input, each.answer, each.good) for each in read_thumbs(source, RECIPE)] == [
            ("title: x", "a", True),
            ("title: y", "b", False),
        ]

    def test_sharegpt_judgements(self, write):
        source = write(
            {"messages": [{"role": "user", "content": "C"}, {"role": "assistant", "content": "D"}], "label": False},
            formatting="sharegpt",
            columns={"messages": "messages", "kto_tag": "label"},
            tags={"role_tag": "role", "content_tag": "content", "user_tag": "user", "assistant_tag": "assistant"},
        )
        assert read_thumbs(source, INSTRUCT) == [
            Thumb(column="output", instruction="C", input="", answer="D", good=False)
        ]

    def test_texts_for_pre_training_keep_their_column(self, write):
        source = write({"text": "A whole paper.", "meta": {"n": 1}}, columns={"prompt": "text"})
        with pytest.warns(PapertuneWarning, match='its columns leave out "meta"'):
            table = read_table(source)
        assert table.frame.to_dicts() == [{"text": "A whole paper."}]


class TestMistakes:
    def test_each_row_that_is_no_pair_is_in_one_message(self, write):
        source = write(
            {**ONE, "rejected": "a;  b "},
            {**ONE, "chosen": " "},
            {**ONE, "column": "Keyword"},
            {**ONE, "column": "output"},
            {**ONE, "instruction": "Is it medical?"},
            {**ONE, "instruction": "Is it about art?", "history": "[1]"},
            {**ONE, "rejected": None},
            {**ONE, "rejected": [1]},
            ONE,
        )
        assert refusal(source, recipe=RECIPE.only(("Keywords", "label", "output"))) == "\n".join(
            [
                "p.jsonl: preferences cannot be read (8 problems):",
                '  - p.jsonl, line 1, column "rejected": both answers are "a; b", so none is better. Correct one, or '
                "remove the pair.",
                '  - p.jsonl, line 2, column "chosen": the better answer is empty. Fill it in, or remove the pair.',
                '  - p.jsonl, line 3, column "column": the recipe has no column "Keyword". Did you mean "Keywords"? '
                "Its columns are Keywords, label, output. Correct the column, or use the recipe that the preferences "
                "were made with.",
                '  - p.jsonl, line 4, column "instruction": "List the keywords." is not the question of output '
                "({instruction}). Set the question of its column to this text.",
                '  - p.jsonl, line 5, column "instruction": label has no preferences: cross-entropy over the label set '
                "is exact; there is nothing to prefer. Remove these.",
                '  - p.jsonl, line 6, column "history": not a list of [question, answer] pairs. Correct or empty the '
                "cell.",
                '  - p.jsonl, line 7, column "rejected": there is no answer. Write it, or remove the entry.',
                '  - p.jsonl, line 8, column "rejected": this is not a message with "from" and "value". Write the '
                "answer as text or as one message of the assistant.",
            ]
        )

    def test_a_question_that_the_recipe_does_not_have(self, write):
        assert refusal(write({**ONE, "instruction": "Why?"}), recipe=RECIPE.only(("Keywords",))) == (
            'p.jsonl, line 1, column "instruction": "Why?" is not a question of the recipe (List the keywords.). Set '
            "the question of its column to this text."
        )

    def test_a_question_about_one_of_several_labels(self, write):
        source = write({**ONE, "instruction": RECIPE.questions["topics: art"].question})
        assert "topics: art has no preferences: cross-entropy" in refusal(source)

    def test_columns_that_are_missing(self, write):
        assert refusal(write({"instruction": ASKED, "input": "", "chosn": "a", "rejected": "b"})) == (
            'p.jsonl has no column "chosen". Did you mean "chosn"? Pairs of answers have instruction, input, chosen '
            "and rejected; it has instruction, input, chosn, rejected."
        )
        assert refusal(write({"instruction": ASKED, "output": "a"}), read_thumbs) == (
            'p.jsonl has no column "kto_tag". Judged answers have instruction, input, output and kto_tag; it has '
            "instruction, output."
        )

    def test_a_file_of_the_other_kind(self, write):
        assert refusal(write(JUDGED)) == (
            "p.jsonl has no chosen and rejected, but kto_tag: it judges single answers. Give a file with pairs of "
            "answers, or learn from this one with the stage kto."
        )
        assert refusal(write(ONE), read_thumbs) == (
            "p.jsonl has no kto_tag, but chosen and rejected: it has pairs of answers. Give a file that judges single "
            "answers, or learn from this one with the stage dpo."
        )

    def test_judgements_that_are_none(self, write):
        source = write({**JUDGED, "kto_tag": "good"}, {**JUDGED, "kto_tag": 1}, {**JUDGED, "output": ""}, JUDGED)
        assert refusal(source, read_thumbs) == "\n".join(
            [
                "p.jsonl: preferences cannot be read (3 problems):",
                '  - p.jsonl, line 1, column "kto_tag": "good" is neither true nor false. Correct it, or remove the '
                "entry.",
                '  - p.jsonl, line 2, column "kto_tag": "1" is neither true nor false. Correct it, or remove the '
                "entry.",
                '  - p.jsonl, line 3, column "output": there is no answer that could be good or bad. Fill it in, or '
                "remove the entry.",
            ]
        )

    def test_conversations_that_are_answered_already(self, write):
        source = write(
            {
                "conversations": [{"from": "human", "value": "C"}, {"from": "gpt", "value": "D"}],
                "chosen": {"from": "gpt", "value": "yes"},
                "rejected": {"from": "human", "value": "no"},
            },
            formatting="sharegpt",
            ranking=True,
        )
        assert refusal(source) == (
            'dataset_info.json:p (p.jsonl), line 1, column "rejected": the message is from "human", where an answer of '
            "the assistant belongs. Each of the two answers is one message of the assistant. Correct or remove the "
            "entry."
        )
        source = write(
            {
                "conversations": [{"from": "human", "value": "C"}, {"from": "gpt", "value": "D"}],
                "chosen": {"from": "gpt", "value": "yes"},
                "rejected": {"from": "gpt", "value": "no"},
            }
        )
        assert refusal(source, recipe=INSTRUCT) == (
            'p.jsonl, line 1, column "chosen": the conversation has an answer to its last question already. Remove '
            "that message, since chosen and rejected are the answers."
        )

    def test_an_entry_names_a_column_that_is_missing(self, write):
        assert refusal(write(ONE, ranking=True, columns={"prompt": "instruction", "chosen": "better"})) == (
            'dataset_info.json, entry "p": its chosen column "better" is not in p.jsonl, which has instruction, input, '
            "chosen, rejected. Correct columns in the entry."
        )

"""What each kind of column makes of two answers, and how it makes an answer worse."""

import random

from hypothesis import given
from hypothesis import strategies as st

from papertune.kinds.keywords import KeywordsColumn, RankedKeywordsColumn
from papertune.kinds.text import TextColumn

LIST = KeywordsColumn(kind="keywords", question="Which?", output_separator=" / ")
RANKED = RankedKeywordsColumn(kind="ranked_keywords", question="Which?")
TEXT = TextColumn(kind="text", question="What?", empty="not stated")
COLUMNS = {"keywords": LIST, "ranked_keywords": RANKED, "text": TEXT}

cells = {
    "keywords": st.lists(st.text("aAbß 函.", min_size=1, max_size=3), max_size=6).map("; ".join),
    "ranked_keywords": st.lists(st.text("aAbß 函.", min_size=1, max_size=3), max_size=6).map("; ".join),
    "text": st.text("ab 函\n", max_size=12) | st.just("Not Stated"),
}
drawn = st.sampled_from(sorted(COLUMNS)).flatmap(
    lambda kind: st.tuples(
        st.just(kind),
        cells[kind],
        st.lists(cells[kind], max_size=4),
        st.integers(0, 99),
        st.text("ab .函1", max_size=20),
    )
)


def tiers(column, cell, others=(), seed=0, text=""):
    return column.corruptions(column.read_answer(cell), text, others, random.Random(seed))


@given(drawn)
def test_no_corrupted_answer_means_the_same_as_the_right_one(case):
    kind, cell, other_cells, seed, text = case
    column = COLUMNS[kind]
    if (answer := column.read_answer(cell)) is None:
        return
    read = (column.read_answer(other) for other in other_cells)
    others = [other for other in read if other is not None and not column.is_same_answer(other, answer)]
    found = column.corruptions(answer, text, others, random.Random(seed))
    assert found == column.corruptions(answer, text, others, random.Random(seed))
    for tier, worse in found.items():
        assert not column.is_same_answer(answer, worse), tier
        assert worse == worse.strip() != "", tier
    assert ("other-paper" in found) == bool(others)


@given(drawn)
def test_preferred_answers_are_never_equal_and_read_as_themselves(case):
    kind, cell, other_cells, *_ = case
    column = COLUMNS[kind]
    answer = column.read_written(cell)
    for other in map(column.read_written, other_cells):
        if answer is None or other is None or column.is_same_answer(answer, other):
            continue
        for chosen, rejected in column.preferences(answer, other):
            assert column.read_answer(chosen) == chosen
            assert chosen.split() != rejected.split()


class TestLists:
    def test_order_case_and_blanks_do_not_count(self):
        assert LIST.is_same_answer("a; B b", "b  b; A.")
        assert not LIST.is_same_answer("a; b", "a; b; c")

    def test_written_cells_are_split_at_the_output_separator(self):
        assert LIST.read_written("a, b / c") == "a, b; c"
        assert LIST.read_written(" / ") is None

    def test_tiers_of_a_list(self):
        assert tiers(LIST, "a; b; c; d; e", ["v; A; w", "x; y"]) == {
            "other-paper": "v; A; w",
            "half-swapped": "a; b; w; v; e",
            "one-swapped": "a; b; c; v; e",
            "repeated": "a; b; c; c; e",
            "cut-short": "a; b; c",
        }

    def test_phrases_of_the_text_have_nothing_to_do_with_the_keywords(self):
        text = "The slow method of learning.\nMethods"
        assert {tiers(LIST, "methods", text=text, seed=seed)["from-text"] for seed in range(20)} == {"slow", "learning"}
        assert "from-text" not in tiers(LIST, "slow; methods of learning; x; y", text=text)
        assert tiers(LIST, "a; r", text="heart")["from-text"] in ("a; heart", "heart; r")
        assert tiers(LIST, "心脏", text="心脏病，结果")["from-text"] in ("脏病", "结果")

    def test_phrases_of_the_text_are_as_long_as_what_they_replace(self):
        text = "Deep graph networks of Riga"
        assert {tiers(LIST, "one; more", text=text, seed=seed)["from-text"].count(" ") for seed in range(9)} == {1}
        found = {tiers(LIST, "two words", text=text, seed=seed)["from-text"] for seed in range(20)}
        assert found == {"Deep graph", "graph networks"}

    def test_short_lists_have_fewer_tiers(self):
        assert tiers(LIST, "a", ["x"]) == {"other-paper": "x"}
        assert sorted(tiers(LIST, "a; b", ["x"])) == ["cut-short", "one-swapped", "other-paper", "repeated"]
        assert sorted(tiers(LIST, "a; b; c; d")) == ["cut-short", "repeated"]


class TestRankedKeywords:
    """The question asks for one keyword, so a preference is about two keywords."""

    def test_missing_keywords_are_preferred_first(self):
        assert RANKED.preferences("a; b; c", "X; b; Y; Z; U") == [("a", "X"), ("c", "Y"), ("b", "Z"), ("a", "U")]

    def test_added_keywords_reject_nothing(self):
        assert RANKED.preferences("a; b", "B") == []

    def test_each_keyword_is_an_answer(self):
        assert RANKED.single_answers("a; b") == ["a", "b"]
        assert LIST.single_answers("a; b") == ["a; b"]


class TestTexts:
    def test_blanks_do_not_count(self):
        assert TEXT.is_same_answer("a  b\nc", "a b c")
        assert not TEXT.is_same_answer("a b", "A b")

    def test_tiers_of_a_text(self):
        assert tiers(TEXT, "It fell by one half.", ["Nothing."]) == {
            "other-paper": "Nothing.",
            "not-stated": "not stated",
            "repeated": "It fell It fell",
            "cut-short": "It fell",
        }

    def test_the_sentence_with_the_fewest_words_of_the_answer_is_a_wrong_answer(self):
        text = "Strokes fell by one half. Dogs were not asked. It fell."
        assert tiers(TEXT, "It fell by half.", text=text)["from-text"] == "Dogs were not asked."

    def test_chinese_is_cut_between_characters(self):
        assert tiers(TEXT, "血压下降了")["cut-short"] == "血压"

    def test_nothing_is_made_of_an_answer_that_says_nothing(self):
        assert tiers(TEXT, "", ["x"]) == {"other-paper": "x"}
        assert tiers(TEXT, "three words only", []) == {"not-stated": "not stated"}

    def test_only_what_the_pattern_allows_is_an_answer(self):
        column = TextColumn(kind="text", question="When?", pattern=r"\w+ \w+ \w+ \w+|\w+")
        assert tiers(column, "one two three four", ["x"]) == {"other-paper": "x", "repeated": "one two one two"}

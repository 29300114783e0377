"""Words for and against a record, where they stand in its text."""

import pytest
from hypothesis import given
from hypothesis import strategies as st

from papertune.screening.ranking.highlight import highlight


@pytest.mark.parametrize(
    ("text", "words", "stemmed", "parts"),
    [
        (
            "Nudging doctors, and mice.",
            [("doctors", 0.5), ("mice", -0.2)],
            False,
            [("Nudging ", 0), ("doctors", 1), (", and ", 0), ("mice", -1), (".", 0)],
        ),
        ("Reminder; REMINDERS", [("reminders", 0.1)], True, [("Reminder", 1), ("; ", 0), ("REMINDERS", 1)]),
        ("deep learning: deep sea", [("deep learning", 0.1)], False, [("deep learning", 1), (": deep sea", 0)]),
        ("deep learning", [("deep learning", 0.1), ("deep", -0.3)], False, [("deep", -1), (" learning", 1)]),
        ("医学研究和工学", [("医学", 0.3), ("工学", -0.1)], False, [("医学", 1), ("研究和", 0), ("工学", -1)]),
        ("nothing here", [], True, [("nothing here", 0)]),
        ("", [("x", 1.0)], False, []),
    ],
)  # fmt: skip
def test_words_are_found_where_they_stand(text, words, stemmed, parts):
    assert highlight(text, words, stemmed=stemmed) == parts


words = st.lists(st.tuples(st.sampled_from(["ab", "ab cd", "医", "İİ", "cd"]), st.floats(-1, 1)))


@given(st.text("abcd 医İ.", max_size=30), words, st.booleans())
def test_the_parts_are_the_text(text, words, stemmed):
    parts = highlight(text, words, stemmed=stemmed)
    assert "".join(part for part, _ in parts) == text
    assert all(part for part, _ in parts)

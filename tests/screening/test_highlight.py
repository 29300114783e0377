"""Words for and against a record, where they stand in its text."""

from itertools import groupby

import pytest
from hypothesis import given
from hypothesis import strategies as st

from papertune.metrics.phrases import CJK_CHARACTER, stem
from papertune.screening.ranking.features import WORD
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


def highlight_plainly(text, words, *, stemmed):
    normal = stem if stemmed else str
    tokens = [(match.span(), normal(match.group().lower())) for match in WORD.finditer(text)]
    names, signs = [name for _, name in tokens], [0] * len(text)
    for word, share in sorted(words, key=lambda pair: abs(pair[1])):
        wanted = [normal(part) for part in word.split()]
        if CJK_CHARACTER.search(word):
            spans = [(at, at + len(word)) for at in range(len(text)) if text.startswith(word, at)]
        else:
            places = [at for at in range(len(names)) if names[at : at + len(wanted)] == wanted]
            spans = [(tokens[at][0][0], tokens[at + len(wanted) - 1][0][1]) for at in places]
        for start, end in spans:
            signs[start:end] = [1 if share > 0 else -1] * (end - start)
    groups = groupby(zip(signs, text, strict=True), key=lambda pair: pair[0])
    return [("".join(character for _, character in group), sign) for sign, group in groups]


words = st.lists(st.tuples(st.sampled_from(["ab", "ab cd", "医", "İİ", "cd"]), st.floats(-1, 1)))


@given(st.text("abcd 医İ.", max_size=30), words, st.booleans())
def test_the_parts_are_the_text(text, words, stemmed):
    parts = highlight(text, words, stemmed=stemmed)
    assert "".join(part for part, _ in parts) == text
    assert all(part for part, _ in parts)
    assert parts == highlight_plainly(text, words, stemmed=stemmed)

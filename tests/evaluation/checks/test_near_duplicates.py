import random

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from papertune.evaluation.checks import near_duplicates
from papertune.evaluation.checks.near_duplicates import (
    MIN_SIMILARITY,
    SHINGLE,
    match_documents,
    match_earlier_rows,
    normalise_document,
)

WORDS = ["alpha", "beta", "gamma", "delta", "epsilon", "zeta", "eta", "theta", "iota", "kappa"]
CHINESE = "基于深度学习的医学图像分割方法研究及其在临床中应用"


def slow_shingles(text):
    tokens = []
    for word in normalise_document(text).split():
        tokens += list(word) if any("\u4e00" <= character <= "\u9fff" for character in word) else [word]
    return {tuple(tokens[i : i + SHINGLE]) for i in range(len(tokens) - SHINGLE + 1)}


def slow_similarity(first, second):
    normal = normalise_document(first)
    if normal and normal == normalise_document(second):
        return 1.0
    a, b = slow_shingles(first), slow_shingles(second)
    return len(a & b) / len(a | b) if a | b else 0.0


def check_match(match, text, similarities):
    """Check that a match is the most similar of all pairs."""
    best = max(similarities, default=0.0)
    if best < MIN_SIMILARITY:
        assert match is None
        return
    assert match is not None, text
    assert match.similarity == pytest.approx(best)
    if match.exact:
        assert best == 1.0
    assert similarities[match.other] == pytest.approx(best)


texts = st.lists(
    st.one_of(
        st.lists(st.sampled_from(WORDS), max_size=14).map(" ".join),
        st.text(alphabet=CHINESE[:6], max_size=12),
        st.sampled_from(["", "...", "Alpha, beta; GAMMA delta!", "alpha beta gamma delta"]),
    ),
    max_size=8,
)


@settings(max_examples=25, deadline=None)
@given(texts, texts)
def test_matches_agree_with_comparing_all_pairs(some, others):
    matches = {match.row: match for match in match_documents(some, others)}
    for row, text in enumerate(some):
        check_match(matches.get(row), text, [slow_similarity(text, other) for other in others])
    assert list(matches) == sorted(matches)


@settings(max_examples=25, deadline=None)
@given(texts)
def test_earlier_rows_agree_with_comparing_all_pairs(some):
    matches = {match.row: match for match in match_earlier_rows(some)}
    for row, text in enumerate(some):
        check_match(matches.get(row), text, [slow_similarity(text, other) for other in some[:row]])


def test_changed_copies_are_found_among_many_texts():
    rng = random.Random(0)
    vocabulary = [f"word{number}" for number in range(3000)]
    others = [" ".join(rng.choices(vocabulary, k=200)) for _ in range(300)]
    changed = others[7].split()
    for place in range(0, 200, 10):  # 20 of 200 words
        changed[place] = "changed"
    found = match_documents(
        [others[5].upper() + "!", " ".join(changed), " ".join(rng.choices(vocabulary, k=200))], others
    )
    assert [(match.row, match.other, match.exact) for match in found] == [(0, 5, True), (1, 7, False)]
    assert found[0].similarity == 1
    assert found[1].similarity == pytest.approx(slow_similarity(" ".join(changed), others[7]))


def test_phrases_in_very_many_rows_are_ignored(monkeypatch):
    notice = "this is a notice that a publisher writes below each abstract"
    first, second = (" ".join(f"{letter}{number}" for number in range(3)) for letter in "ab")
    assert match_documents([f"{first} {notice}"], [f"{second} {notice}"])
    monkeypatch.setattr(near_duplicates, "_MAX_ROWS", 3)
    others = [f"{second} {notice}", *(f"{number} {notice}" for number in range(4))]
    assert match_documents([f"{first} {notice}"], others) == []
    # Exact duplicates are found even so.
    assert [match.other for match in match_documents([others[0].upper()], others)] == [0]


def test_tables_larger_than_one_block_are_compared_completely(monkeypatch):
    monkeypatch.setattr(near_duplicates, "_ROWS_AT_ONCE", 2)
    base = [" ".join(f"t{row}x{number}" for number in range(20)) for row in range(7)]
    changed = [f"{text} and more" for text in base]
    assert [(match.row, match.other) for match in match_documents(changed, base)] == [(row, row) for row in range(7)]


def test_near_duplicates_in_chinese_are_found():
    found = match_documents([CHINESE + "综述"], ["完全不同的题目与内容没有共同之处", CHINESE])
    assert [(match.row, match.other, match.exact) for match in found] == [(0, 1, False)]


def test_empty_tables_and_empty_texts_have_no_matches():
    assert match_documents([], ["a b c d e"]) == []
    assert match_documents(["a b c d e", "", "!!"], []) == []
    assert match_documents(["", "!!"], ["", "??"]) == []
    assert match_earlier_rows(["", "", "..."]) == []


def test_shingles_of_one_table_are_computed_once(monkeypatch):
    made, shingles = [], near_duplicates._shingles
    monkeypatch.setattr(near_duplicates, "_shingles", lambda texts: (made.append(texts), shingles(texts))[1])
    assert match_earlier_rows(["alpha beta gamma delta", "kappa iota theta eta"]) == []
    assert len(made) == 1

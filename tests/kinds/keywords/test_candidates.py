import re

import pytest
from hypothesis import given
from hypothesis import strategies as st

from papertune.kinds.keywords.ranked.candidates import CJK_LENGTHS, MAX_WORDS, find_candidates
from papertune.metrics.phrases import normalise_keyword


def found(document):
    return [next(iter(candidate.spellings)) for candidate in find_candidates(document)]


@pytest.mark.parametrize(
    ("document", "phrases"),
    [
        ("We see Graph learning.", ["Graph", "Graph learning", "learning"]),
        # A phrase neither begins nor ends with a stop word or a number, but may have them inside.
        ("the quality of service", ["quality", "quality of service", "service"]),
        ("shows that 12 hearts beat", ["shows", "hearts", "hearts beat", "beat"]),
        ("class 2 lasers", ["class", "class 2 lasers", "lasers"]),
        # A punctuation mark, a bracket or a line break ends a phrase.
        ("heart, lung; liver (brain)\nskin: nose. Ear", ["heart", "lung", "liver", "brain", "skin", "nose", "Ear"]),
        ("heart - lung", ["heart", "lung"]),
        # A mark inside a word does not end the phrase or the word.
        ("TCP/IP, v2.5 e-mail", ["TCP/IP", "v2.5", "v2.5 e-mail", "e-mail"]),
        ("'low-cost' Parkinson's", ["low-cost", "low-cost' Parkinson's", "Parkinson's"]),
        # A single letter is not a keyword, but may be part of one.
        ("vitamin D x", ["vitamin", "vitamin D", "vitamin D x", "D x"]),
        ("one\ttwo  red \t rats", ["red", "red rats", "rats"]),
        ("", []),
        ("... 12 (3) -- of the", []),
    ],
)
def test_phrases_of_english_text(document, phrases):
    assert found(document) == phrases


def test_phrases_of_chinese_text_without_blanks():
    assert found("用深度学习的方法。图像") == [
        "深度",
        "深度学",
        "深度学习",
        "度学",
        "度学习",
        "学习",
        "方法",
        "图像",
    ]
    assert "LoRA微调" in found("本文研究LoRA微调")
    assert max(map(len, found("图" * 5 + "像" * 40))) == CJK_LENGTHS[1]


def test_forms_that_differ_in_case_or_ending_are_one_candidate():
    (first, *_), *_ = [find_candidates("Neural Networks are not a neural network or networks neural. Neural networks")]
    candidates = {each.form: each for each in find_candidates("Solar Cells and a solar cell; solar-cell, cells")}
    assert first.form == "neural"
    cell = candidates["solar cell"]
    assert list(cell.spellings) == ["Solar Cells", "solar cell", "solar-cell"]
    assert (cell.occurrences, cell.place) == (3, 0)
    assert candidates["cell"].occurrences == 3
    assert candidates["cell"].place == 1


documents = st.text(st.sampled_from("abAB的图像 12,.;-()/\n'的")) | st.text()


@given(documents)
def test_candidates_are_phrases_of_the_document(document):
    candidates = find_candidates(document)
    text = " ".join(document.split())
    assert len({candidate.form for candidate in candidates}) == len(candidates)
    for candidate in candidates:
        assert candidate.form
        assert 1 <= len(candidate.spellings) <= candidate.occurrences
        for spelling in candidate.spellings:
            assert spelling in text
            assert normalise_keyword(spelling) == candidate.form
            assert not re.search(r"[;()\n]|[.,] ", spelling)


@given(st.lists(st.sampled_from(["heart", "of", "lungs", "the", "12", "x-ray", "图", "像"]), max_size=12))
def test_every_run_that_may_be_a_keyword_is_found(words):
    """Compare with trying all runs of words."""
    document = " ".join(words)
    expected = set()
    for start in range(len(words)):
        for end in range(start + 1, min(start + MAX_WORDS, len(words)) + 1):
            run = words[start:end]
            is_english = not {"图", "像"} & set(run)
            if is_english and not {run[0], run[-1]} & {"of", "the", "12"}:
                expected.add(normalise_keyword(" ".join(run)))
    assert {each.form for each in find_candidates(document) if not re.search("[图像]", each.form)} == expected

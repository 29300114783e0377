import json
import re

import pytest
from hypothesis import given
from hypothesis import strategies as st

from papertune.kinds.keywords.cells import (
    clean_keywords,
    keyword_cell,
    keywords_as_text,
    read_keyword_cell,
    read_keywords,
    split_keywords,
)


@pytest.mark.parametrize(
    ("cell", "expected"),
    [
        ("graphs; neural networks;trees", ["graphs", "neural networks", "trees"]),
        ("图；神经网络；图", ["图", "神经网络"]),
        ("heart, lung，liver、kidney", ["heart", "lung", "liver", "kidney"]),
        # With a semicolon in the cell, a comma is part of a keyword.
        ("Diseases, Heart; Aspirin, low dose", ["Diseases, Heart", "Aspirin, low dose"]),
        ("one\ntwo, three\n", ["one", "two, three"]),
        ("heart; lung.", ["heart", "lung"]),
        ("heart。; lung . .", ["heart", "lung"]),
        ("health care, U.S.", ["health care", "U.S."]),
        ("U.S..", ["U.S."]),
        ("vitamin c.", ["vitamin c"]),
        ("Heart; heart;  HEART ; STRASSE; straße", ["Heart", "STRASSE"]),
        ("  machine \t learning ", ["machine learning"]),
        (" ; ;; .", []),
        ("", []),
    ],
)
def test_cells_are_split_into_keywords(cell, expected):
    assert split_keywords(cell) == expected


@given(st.text(st.sampled_from("aBß.。 ;；,，、\n\u00a0U")) | st.text())
def test_cleaning_twice_changes_nothing(cell):
    keywords = split_keywords(cell)
    assert clean_keywords(keywords) == keywords
    assert len({keyword.casefold() for keyword in keywords}) == len(keywords)
    assert all(keyword and keyword == " ".join(keyword.split()) for keyword in keywords)


keyword_lists = st.lists(st.text(st.characters(codec="utf-8", exclude_characters=";；,，、\n"))).map(clean_keywords)


@given(keyword_lists, st.sampled_from(["; ", ";", "；", ", ", "、", "\n"]))
def test_joined_keywords_are_split_again(keywords, separator):
    assert split_keywords(keywords_as_text(keywords, separator)) == keywords


@given(st.lists(st.text(st.sampled_from("ab ,，、"))).map(clean_keywords).filter(lambda kept: len(kept) > 1))
def test_keywords_may_have_commas_between_semicolons(keywords):
    assert split_keywords(keywords_as_text(keywords)) == keywords


@given(st.lists(st.text(st.sampled_from("ab1 ,，、.-"))).map(clean_keywords))
def test_a_single_keyword_keeps_its_comma_as_text(keywords):
    assert split_keywords(keywords_as_text(keywords)) == keywords


@pytest.mark.parametrize(
    ("cell", "separator", "expected"),
    [
        ('["graphs, sparse", "trees"]', None, ["graphs, sparse", "trees"]),
        ("['a; b', 'c.', 'C']", None, ["a; b", "c"]),
        ("[18F]FDG PET; tumours", None, ["[18F]FDG PET", "tumours"]),
        ("*Asthma; Asthma/*drug therapy; Adult*", None, ["Asthma", "Asthma/drug therapy", "Adult"]),
        ("R&amp;D; <i>E. coli</i>", None, ["R&D", "E. coli"]),
        ("a، b؛ c", None, ["a، b", "c"]),
        ("[]", None, []),
        ("n/a", None, []),
        ("None", None, []),
        ("none; all", None, ["none", "all"]),
        ("Keywords: heart; lung", None, ["heart", "lung"]),
        ("Index Terms—graphs, trees", None, ["graphs", "trees"]),
        ("关键词：心脏；肺", None, ["心脏", "肺"]),
        ("Keyword search; keywords", None, ["Keyword search", "keywords"]),
        ("Key words: n/a", None, []),
        ("• heart\n• lung", None, ["heart", "lung"]),
        ("- x\n– y-z", None, ["x", "y-z"]),
        ("-omics; ·OH", None, ["-omics", "·OH"]),
        ("1. heart\n2. lung, left\n", None, ["heart", "lung, left"]),
        ("(1) heart; (2) lung", None, ["heart", "lung"]),
        ("1. FC Köln; football", None, ["1. FC Köln", "football"]),
        ("3) a; 4) b", None, ["3) a", "4) b"]),
        ("a / b/c", " / ", ["a", "b/c"]),
        ('["Asthma/therapy", "b"]', "/", ["Asthma", "therapy", "b"]),
    ],
)
def test_cells_of_tables_are_read_without_the_marks_of_their_sources(cell, separator, expected):
    assert read_keywords(cell, separator) == expected


any_keywords = st.lists(
    st.text(st.sampled_from("ab1 ,，、،;；؛.-/|[]{}()'\"\\&*<>i"), max_size=6)
    | st.text(st.characters(codec="utf-8", exclude_characters="\0"), max_size=6),
    max_size=4,
)


@given(any_keywords, st.sampled_from(["; ", ", ", "；", "\n"]))
def test_any_list_survives_as_a_cell_an_answer_and_an_output(items, separator):
    keywords = read_keywords(json.dumps(items))
    assert read_keywords(json.dumps(keywords)) == keywords
    answer = keywords_as_text(keywords, separator)
    assert split_keywords(answer) == read_keywords(answer) == keywords


@given(any_keywords, st.sampled_from(["; ", ", ", " | ", "/", "；"]))
def test_any_predicted_list_is_read_again(items, separator):
    keywords = clean_keywords(items)
    assert read_keyword_cell(keyword_cell(keywords, separator), separator) == keywords


def without_stops(keyword):
    """Drop full stops one by one, until the rest ends like U.S."""
    while keyword.endswith((".", "。")) and not re.search(r"(^|[\s.])\w\.\w\.$", keyword):
        keyword = keyword[:-1].rstrip()
    return keyword


@given(st.text(st.sampled_from("aU.。 "), max_size=9))
def test_full_stops_at_the_end_are_dropped_as_one_by_one(text):
    plain = without_stops(" ".join(text.split()))
    assert clean_keywords([text]) == ([plain] if plain else [])

import pytest
from hypothesis import given
from hypothesis import strategies as st

from papertune.kinds.keywords.cells import read_keywords
from papertune.kinds.separators import clear_separator, column_items, single_item, text_items, unclear_signs


@pytest.mark.parametrize(
    ("cells", "separator"),
    [
        (["a | b | c", "d|e", "f"], "|"),
        (["a｜b", "c｜d"], "｜"),
        (["a, b | c", "d, e | f"], "|"),
        (["• a • b", "c • d"], "•"),
        (["a\tb", "c\td"], "\t"),
        (["湖泊　藻类　水质", "稻田　水分"], "\u3000"),
        (["algae / lake / water", "moths / lamps"], " / "),
        (["古籍/整理/数字化", "湖泊/藻类/水质", "茶叶"], "/"),
        (["交通·预测·神经网络", "水·土·气"], "·"),
        (["algae - lake", "moths - lamps"], " - "),
        # One cell in five may have another separator.
        (["a | b", "c | d", "e | f", "g | h", "i; j"], "|"),
        # A sign that is a part of keywords.
        (["TCP/IP", "CI/CD"], None),
        (["CI/CD, tests", "TCP/IP, nets"], None),
        (["CI/CD/CT, tests", "TCP/IP/UDP, nets"], None),
        (["Asthma/drug therapy; Adult", "Asthma/diagnosis; Child"], None),
        (["case-control", "meta-analysis-of-trials"], None),
        (["R&amp;D", "S&amp;D"], None),
        # Too few cells.
        (["a | b | c", "d", "e"], None),
        (["a | b", "c; d"], None),
        (["a | b", "c / d", "e • f"], None),
        # Lists do not show it, nor do broken ones.
        (['["a | b"]', '["c | d"]'], None),
        (['["a | b"', '["c | d"'], None),
        ([], None),
    ],
)
def test_a_sign_separates_where_most_cells_of_the_column_show_it(cells, separator):
    assert clear_separator(cells) == separator


@pytest.mark.parametrize(
    ("cell", "separator", "items"),
    [
        ("القمح، الري، نمو النبات", None, ["القمح", "الري", "نمو النبات"]),
        ("المياه؛ الآبار، الجودة", None, ["المياه", "الآبار، الجودة"]),
        ("茶叶､香气､品质", None, ["茶叶", "香气", "品质"]),
        ("a﹔b﹔c, d", None, ["a", "b", "c, d"]),
        ("ants\rnests\rsoil, wet", None, ["ants", "nests", "soil, wet"]),
        ("ants_x000D_\nnests", None, ["ants", "nests"]),
        ("R&amp;D, water", None, ["R&D", "water"]),
        ("a | b, c", None, ["a | b", "c"]),
        ("a | b, c|d", "|", ["a", "b, c", "d"]),
        # Without the separator, a comma is a part of the item, and a semicolon is not.
        ("Diabetes, Type 2", "|", ["Diabetes, Type 2"]),
        ("a, b; c", "|", ["a, b", "c"]),
        ("CI/CD / tests", " / ", ["CI/CD", "tests"]),
        ("a, b; c", ",", ["a", "b; c"]),
        ("Diabetes, Type 2", ";", ["Diabetes, Type 2"]),
        ("a b  c", "  ", ["a b", "c"]),
    ],
)
def test_texts_are_split(cell, separator, items):
    assert [item.strip() for item in text_items(cell, separator)] == items


def test_signs_that_may_separate_are_named_with_their_cells():
    cells = [
        "湖泊　藻类",
        "交通·预测·网络",
        "稻田|水分|遥感",
        "a|b",
        "TCP/IP",
        "a; b|c",
        "茶叶",
        '["\\u00e9\\u00e8\\u00e9"]',
    ]
    signs, rows = unclear_signs(enumerate(cells), read_keywords)
    assert signs == '"|", a full-width blank (U+3000) or "·" (U+00B7)'
    assert rows == [0, 1, 2, 3]


def test_a_comma_is_named_where_no_cell_has_two_items():
    def one(cell):
        return [cell]

    assert unclear_signs([(3, "a, b, c"), (5, "d, e")], one) == ('","', [3, 5])
    assert unclear_signs([(3, "Diabetes, Type 2")], one) == ("", [])
    assert unclear_signs([(3, "a, b"), (4, "d, e"), (5, "f; g")], lambda cell: cell.split(";")) == ("", [])


def test_items_of_columns_without_a_label_set():
    assert list(column_items(["['a, b', 'c']", "d; e, f", "g, h"])) == [["a, b", "c"], ["d", " e, f"], ["g, h"]]
    assert list(column_items(["a, b", "c"])) == [["a", " b"], ["c"]]
    assert list(column_items(["a | b", "c|d"])) == [["a ", " b"], ["c", "d"]]
    assert [single_item(cell) for cell in ["['a']", "[1]", "[]", "['a', 'b']", "x"]] == [
        "a",
        "1",
        "",
        "['a', 'b']",
        "x",
    ]


@given(
    st.lists(st.text(st.characters(categories=["L"]), min_size=1), min_size=2, max_size=5), st.sampled_from("|•\t｜")
)
def test_any_words_with_a_clear_sign_are_split_there(words, sign):
    cells = [sign.join(words), sign.join(reversed(words))]
    assert clear_separator(cells) == sign
    assert text_items(cells[0], sign) == words

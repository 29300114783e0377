import html

import pytest
from hypothesis import given
from hypothesis import strategies as st

from papertune.tables.marks import without_asterisks, without_markup


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        ("H<sub>2</sub>O &amp; CO<sub>2</sub>", "H2O & CO2"),
        ("<p>One <i>E. coli</i>.</p>\n<p>Two.</p>", "One E. coli.\nTwo."),
        ("<jats:title>Abstract</jats:title><jats:p>We did.</jats:p>", "Abstract\nWe did."),
        ('<sec sec-type="methods"><title>Methods</title>We did.</sec>', "Methods\nWe did."),
        ("<mml:math><mml:mi>x</mml:mi></mml:math> is small", "x is small"),
        ('a <a href="http://example.org/?a=1">link</a>', "a link"),
        ("line<br/>break<BR>again", "line\nbreak\nagain"),
        ("&lt;b&gt;Aim:&lt;/b&gt; p &amp;lt; 0.05", "Aim: p < 0.05"),
        ("Caf&eacute; &#8211; &#x3b1;&nbsp;x", "Café – α x"),
        ("one_x000D_\ntwo_x000D_three", "one\ntwo\nthree"),
        ("<!-- hidden -->shown<![CDATA[ data]]>", "shown\ndata"),
    ],
)
def test_markup_is_removed(text, expected):
    assert without_markup(text) == expected


@pytest.mark.parametrize(
    "text",
    [
        "p<0.05 and x>3",
        "a<b and c>d",
        "a<b>c",
        "0<p<1 and q>2",
        "n <i and j> k",
        "a <sub and b> c",
        "List<String>, Map<a,b>",
        "AT&T; R&D",
        "&unknown; &copy 2020",
        "x_x000_y",
        "<5 years, >3 years",
        "no marks at all",
    ],
)
def test_formulas_and_other_texts_survive(text):
    assert without_markup(text) == text


@given(st.text(st.sampled_from("abp <>=/0.5\n")), st.text(st.sampled_from("abc <>&;=.5")))
def test_inequalities_between_numbers_and_letters_survive(before, after):
    formula = f"{before.replace('</', '<')} p<0.05 {after.replace('</', '<')}".replace("<b", "< b").replace("<a", "< a")
    formula = formula.replace("<p>", "<").replace("<p ", "< ")
    if "&" not in formula and "</" not in formula:
        assert without_markup(formula) == formula


@given(st.text(st.characters(codec="utf-8", exclude_characters="\0\r\xa0")))
def test_escaped_text_without_tags_is_read_as_it_was(text):
    plain = text.replace("<", "‹").replace("_x000", "_x0")
    if plain == html.unescape(plain):  # else it looks like an entity itself
        assert without_markup(html.escape(plain)) == plain


@pytest.mark.parametrize(
    ("keyword", "expected"),
    [
        ("*Asthma", "Asthma"),
        ("Asthma/*drug therapy", "Asthma/drug therapy"),
        ("Asthma/*drug therapy/*epidemiology", "Asthma/drug therapy/epidemiology"),
        ("Diabetes Mellitus, Type 2/*therapy", "Diabetes Mellitus, Type 2/therapy"),
        ("*Diabetes Mellitus, Type 2/therapy", "Diabetes Mellitus, Type 2/therapy"),
        ("Adult*", "Adult"),
        ("** heart failure **", "heart failure"),
        ("*", ""),
        # Here the asterisk is a part of the name.
        ("A*", "A*"),
        ("search with RRT*", "search with RRT*"),
        ("C*-algebras", "C*-algebras"),
    ],
)
def test_asterisks_of_index_terms_are_removed(keyword, expected):
    assert without_asterisks(keyword) == expected

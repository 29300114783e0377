"""Which columns `init` finds, and what it says about them."""

import unicodedata

import pytest
from hypothesis import given
from hypothesis import strategies as st

from papertune import PapertuneWarning, TableError, read_table
from papertune.pipelines.init import aliases, recipe_for
from papertune.pipelines.init.guess import best_column, guess_columns
from papertune.recipe import load_recipe
from papertune.templates import template_columns

pytestmark = pytest.mark.once


def papers(**columns):
    """Return a table with a label, and these columns: six cells, or a text that each row has with its number."""
    rows = [{"label": str(n % 2)} for n in range(6)]
    for name, cells in columns.items():
        for n, row in enumerate(rows):
            row[name] = f"{cells} {n}" if isinstance(cells, str) else cells[n]
    return read_table(rows)


def read_by_model(table, **named):
    import tomllib

    recipe = load_recipe(tomllib.loads(recipe_for(table, label=["label"], **named)))
    return template_columns(recipe.table.document)


ALL_NAMES = sorted({*aliases.TITLE, *aliases.ABSTRACT, *aliases.TEXT, *aliases.ID, *aliases.KEYWORDS, *aliases.LABEL})


@given(st.sampled_from(ALL_NAMES), st.sampled_from([str, str.upper, str.title]), st.sampled_from(["", " ", "\n", "_"]))
def test_names_are_found_whatever_their_case_blanks_and_width(name, case, blank):
    wide = "".join(chr(ord(char) + 0xFEE0) if "!" <= char <= "~" else char for char in name)
    for names in (aliases.TITLE, aliases.ABSTRACT, aliases.ID, aliases.KEYWORDS, aliases.LABEL):
        place = aliases.rank(name, names)
        for written in (blank + case(name).replace(" ", blank) + blank, wide, unicodedata.normalize("NFD", name)):
            if place is not None:
                assert aliases.rank(written, names) == place


@pytest.mark.parametrize(
    ("header", "form"),
    [
        ("Título", "titulo"),
        ("Author Keywords*", "authorkeywords"),
        ("Covidence #", "covidence"),
        ("#", "#"),
        ("ＴＩＴＬＥ", "title"),
    ],
)
def test_headers_are_normalised(header, form):
    assert aliases.normalised(header) == form


@pytest.mark.parametrize(
    ("header", "names", "found"),
    [
        ("Title {EN}", aliases.TITLE, True),
        ("Title\n(English)", aliases.TITLE, True),
        ("abstract_en", aliases.ABSTRACT, True),
        ("Summary-摘要", aliases.ABSTRACT, True),
        ("题名/Title", aliases.TITLE, True),
        ("UT (Unique WOS ID)", aliases.ID, True),
        ("Source Title", aliases.TITLE, False),
        ("Publication Title", aliases.TITLE, False),
        ("Abstract inverted index", aliases.ABSTRACT, False),
        ("Covid", aliases.ID, False),
    ],
)
def test_qualified_headers_are_found_and_others_are_not(header, names, found):
    assert (aliases.rank(header, names) is not None) == found


@pytest.mark.parametrize(
    ("columns", "document"),
    [
        ({"Source title": "J", "Study title": "t", "Structured abstract": "a"}, ["Study title", "Structured abstract"]),
        ({"summary": "s", "Abstract": "a", "title": "t"}, ["title", "Abstract"]),  # the more exact name
        ({"title": "t", "abstract": ["", "", "", "", "", "a"], "summary": "s"}, ["title", "summary"]),  # the fuller one
        ({"title": "t", "abstract": ["", "", "", "a", "a", "a"], "summary": "s"}, ["title", "abstract"]),
        ({"title": "t", "abstract": [""] * 6, "full text": "x"}, ["title", "full text"]),
        ({"display_name": "t", "title": "t", "abstract": "a"}, ["title", "abstract"]),
        ({"abstract": "a", "abstract language": "en"}, ["abstract"]),
        (
            {"remarks in some words": "x" * 40, "Author affiliations": "y" * 40, "备注": "z" * 40},
            ["remarks in some words"],
        ),
    ],
)
def test_the_document_has_the_better_columns(columns, document):
    assert read_by_model(papers(**columns)) == document


def test_a_title_alone_is_not_enough_without_a_word():
    table = papers(title="t", authors="Roe", remarks="seen")
    with pytest.warns(PapertuneWarning) as caught:
        assert read_by_model(table) == ["title"]
    assert [str(each.message) for each in caught] == [
        'list of rows: no abstract was found, so the model reads only "title". The other columns are authors, remarks. '
        'If one of them is the abstract, name both: --document "title" --document COLUMN.'
    ]
    assert read_by_model(table, document=["title", "remarks"]) == ["title", "remarks"]


@pytest.mark.parametrize(
    ("columns", "rest"),
    [
        ({}, "Add a column with the abstracts, if you have them."),
        (
            {"abstract": [" "] * 6},
            'The column "abstract" is empty. Add a column with the abstracts, if you have them.',
        ),
    ],
)
def test_a_title_without_any_other_text_is_reported_too(columns, rest):
    with pytest.warns(PapertuneWarning) as caught:
        assert read_by_model(papers(title="t", **columns)) == ["title"]
    assert str(caught[0].message) == (f'list of rows: no abstract was found, so the model reads only "title". {rest}')


def test_columns_that_say_nothing_of_the_content_are_not_read():
    table = papers(**{"Authors": "x" * 40, "Reviewer notes": "y" * 40, "Source title": "z" * 40})
    with pytest.raises(TableError) as caught:
        recipe_for(table, label=["label"])
    assert str(caught.value) == (
        "list of rows: no column looks like text. It has: label, Authors, Reviewer notes, Source title. Name the "
        "columns that the model is to read: --document COLUMN."
    )


def test_one_column_of_keywords_is_guessed():
    table = papers(title="t", abstract="a", **{"Index Keywords": "x; y", "Author Keywords": "v; w", "Keywords": "u"})
    assert guess_columns(table) == (["label"], [], ["Author Keywords"])
    assert best_column(table, aliases.KEYWORDS, ["Author Keywords"]) == "Keywords"
    with pytest.raises(TableError, match=r'has no column "keyphrases"\. Did you mean "Author Keywords"\?'):
        recipe_for(table, keywords=["keyphrases"])


def test_a_column_is_named_once():
    table = papers(title="t", abstract="a", finding="f")
    with pytest.raises(
        TableError, match=r'The column "finding" is named twice\. Name it once: to learn it, or to read it'
    ):
        recipe_for(table, label=["label"], text=["finding"], document=["finding"])


def test_columns_of_the_same_kind_get_different_questions():
    table = papers(title="t", abstract="a", fields=["a; b"] * 6, places=["a; c"] * 6, mesh="x; y", own="z")
    import tomllib

    text = recipe_for(table, labels=["fields", "places"], keywords=["mesh", "own"])
    questions = [column.question for column in load_recipe(tomllib.loads(text)).columns.values()]
    assert questions == [
        "Does the fields of this paper include {label}? Answer yes or no.",
        "Does the places of this paper include {label}? Answer yes or no.",
        "Name one of the mesh of this paper.",
        "Name one of the own of this paper.",
    ]

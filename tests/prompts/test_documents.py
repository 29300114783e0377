import polars as pl
import pytest
from hypothesis import given
from hypothesis import strategies as st

from papertune.prompts.check_table import check_table
from papertune.prompts.documents import _STEPS, clean_cells, marks_found
from papertune.prompts.examples import RowReader
from papertune.recipe import load_recipe
from papertune.tables import read_table


def clean(*cells):
    return clean_cells(pl.Series(cells, dtype=pl.String)).to_list()


@pytest.mark.parametrize(
    "placeholder",
    [
        "[No abstract available]",
        "No abstract available.",
        "NO ABSTRACT",
        "Abstract not available",
        "[Abstract Not Available]",
        "An abstract is not available for this content",
        "No abstract is available for this article.",
        "This article does not have an abstract.",
        "There is no abstract",
        "Abstract unavailable",
        "No abstract provided",
        "First page of the article",
        "Not available",
        "n/a",
        "N/A.",
        "NA",
        "NaN",
        "null",
        "-",
        "...",
        "[]",
        "暂无摘要",
        "Resumen no disponible",
        "<p>[No abstract available]</p>",
        "Abstract: No abstract available",
        "Abstract:",
    ],
)
def test_placeholders_are_empty(placeholder):
    assert clean(placeholder) == [""]


@pytest.mark.parametrize(
    ("cell", "expected"),
    [
        ("Abstract: We did it.", "We did it."),
        ("ABSTRACT Background: we", "Background: we"),
        ("ABSTRACT We did it.", "We did it."),
        ("Abstract We did it.", "We did it."),
        ("AbstractBackground We did it.", "Background We did it."),
        ("Abstract\nGraphs are sparse.", "Graphs are sparse."),
        ("[Abstract] Graphs", "Graphs"),
        ("Abstract—Graphs", "Graphs"),
        ("摘要：本文研究", "本文研究"),
        ("【摘要】本文研究", "本文研究"),
        ("摘　要: 本文研究", "本文研究"),
        ("Résumé : nous", "nous"),
        ("<jats:title>Abstract</jats:title><jats:p>We &amp; they.</jats:p>", "We & they."),
        ('["graphs, sparse", "trees"]', "graphs, sparse; trees"),
        ("H<sub>2</sub>O", "H2O"),
    ],
)
def test_headings_tags_and_lists_are_cleaned(cell, expected):
    assert clean(cell) == [expected]


@pytest.mark.parametrize(
    "cell",
    [
        "Abstract reasoning is hard.",
        "Abstract Algebra in Practice",
        "ABSTRACT ALGEBRA AND LOGIC",
        "Abstractive summarization: a survey",
        "摘要生成的方法",
        "No abstract concepts were found in the children.",
        "None",
        "Not available in stores: a study",
        "p<0.05 and x>3",
        "[18F]FDG PET",
        '["a", "b" is broken',
        "[1, 2]",
        "",
    ],
)
def test_sentences_titles_and_formulas_survive(cell):
    assert clean(cell) == [cell]


PIECES = """
Abstract|ABSTRACT|: |We|graphs|<p>|</p>|<|p|&amp;|[|]|"|, |n/a|No abstract available|摘要|：|_x000D_|<sub>|</sub>|{|}|'
"""
marked = st.lists(st.sampled_from([*PIECES.strip().split("|"), " ", "\n"]), max_size=8).map("".join)


@given(st.lists(marked | st.text(st.characters(codec="utf-8", exclude_characters="\0")), max_size=5))
def test_columns_are_cleaned_as_each_cell_by_every_step(cells):
    expected = []
    for cell in cells:
        for step in _STEPS:
            cell = step.clean(cell)
        expected.append(cell)
    assert clean(*cells) == expected


RECIPE = {
    "table": {"document": "{title}\n{abstract}\n{keywords}"},
    "columns": {"label": {"kind": "label", "question": "Medical?", "labels": ["1", "0"]}},
}
ROWS = [
    {"title": "A &amp; B", "abstract": "[No abstract available]", "keywords": ["x, y", "z"], "label": "1"},
    {"title": "C", "abstract": "Abstract: We.", "keywords": ["w"], "label": "0"},
    {"title": "D", "abstract": "n/a", "keywords": [], "label": "0"},
]


def test_documents_are_cleaned_and_counted():
    table, recipe = read_table(ROWS), load_recipe(RECIPE)
    reader = RowReader(table, recipe)
    assert [reader.document(row) for row in range(3)] == ["A & B\n\nx, y; z", "C\nWe.\nw", "D\n\n"]
    assert check_table(table, recipe).warnings == [
        'list of rows, row 1, column "title": 1 cell is cleaned of tags, entities such as &amp; or _x000D_ (this is '
        "the first).",
        'list of rows, row 2, column "abstract": 1 cell is read without the heading, such as "Abstract:" (this is '
        "the first).",
        'list of rows, row 1, column "abstract": 2 cells are read as empty: a placeholder, such as "[No abstract '
        'available]" (this is the first).',
        'list of rows, row 1, column "abstract": 2 cells are empty (this is the first).',
        'list of rows, row 3, column "keywords": 1 cell is empty (this is the first).',
    ]


def test_documents_are_read_as_they_are_where_the_recipe_says_so():
    table, recipe = read_table(ROWS), load_recipe(RECIPE, ["table.clean=false"])
    assert RowReader(table, recipe).document(0) == 'A &amp; B\n[No abstract available]\n["x, y", "z"]'
    assert check_table(table, recipe).warnings == []


def test_instruction_files_are_read_as_they_are():
    text = "Write <b>HTML</b> &amp; more"
    table = read_table([{"instruction": "Medical?", "input": text, "output": "1"}])
    assert RowReader(table, load_recipe(RECIPE)).document(0) == text


def test_nothing_is_found_in_a_clean_column():
    assert marks_found(pl.Series(["A study of p<0.05", "No abstracts"])) == []

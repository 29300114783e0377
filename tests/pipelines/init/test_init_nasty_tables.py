"""Whatever stands in headers and cells, `init` writes a recipe that `check` accepts for the table."""

import tomllib
import warnings

import pytest
from hypothesis import HealthCheck, assume, given, settings
from hypothesis import strategies as st

from papertune import PapertuneWarning, read_table
from papertune.errors import RecipeError
from papertune.kinds.label.cells import loose_label, read_label
from papertune.pipelines.init import MAX_LABELS, recipe_for
from papertune.pipelines.init.label_cells import count_parts
from papertune.pipelines.init.toml_text import comment, key, quote
from papertune.prompts.check_table import check_table
from papertune.recipe import load_recipe
from papertune.templates import template_columns

pytestmark = pytest.mark.once

# Also what TOML, templates and Excel sheets use as signs; NUL is refused when a table is read.
NASTY = st.characters(codec="utf-8", exclude_characters="\0") | st.sampled_from(
    "\n\r\t\"'#{}[]=\\,;:.|\x07\x1b\x7f\x85\xa0\u2028\u200b\ufeff１Ａa1 "
)
TEXTS = st.text(NASTY, max_size=20) | st.text(NASTY, min_size=1, max_size=3).map(lambda text: (text * 500)[:500])
HEADERS = TEXTS.filter(lambda text: text.strip("\ufeff").strip())


@st.composite
def nasty_tables(draw):
    """Return the rows of a table, and its column of labels."""
    headers = draw(st.lists(HEADERS, min_size=1, max_size=4, unique=True))
    headers += draw(st.sampled_from([["title", "abstract"], ["Title {EN}", "Abstract\n{EN}"], [' "Summary', "x}"]]))
    labels = draw(st.lists(TEXTS.filter(loose_label), min_size=2, max_size=5, unique_by=loose_label))
    cells = draw(st.lists(st.sampled_from(labels) | TEXTS.filter(lambda text: not text.strip()), max_size=6))
    rows = []
    for number, label in enumerate([*labels, *cells]):
        texts = [draw(TEXTS) for _ in headers[1:-1]]
        rows.append(dict(zip(headers, [label, *texts, f"{number} " + "a long text " * 4], strict=True)))
    return rows, headers[0]


def accepted(rows, **named):
    """Return the recipe that is written for a table, once `check` has accepted the table."""
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", PapertuneWarning)
        table = read_table(rows)
        text = recipe_for(table, **named)
    recipe = load_recipe(tomllib.loads(text))
    assert check_table(table, recipe).problems == []
    assert check_table(table, recipe, "predict").problems == []
    return recipe


@settings(suppress_health_check=[HealthCheck.too_slow], deadline=None, max_examples=30)
@given(nasty_tables())
def test_any_label_column_is_accepted(made):
    rows, name = made
    column = accepted(rows, label=[name]).columns[name]
    forms = {loose_label(row[name]) for row in rows}
    assert {loose_label(label) for label in column.labels} <= forms
    for row in rows:
        unlabelled = read_label(row[name], column.unlabelled)
        assert (column.read_answer(row[name]) is None) == (unlabelled is not None)


@settings(suppress_health_check=[HealthCheck.too_slow], deadline=None, max_examples=20)
@given(nasty_tables(), st.sampled_from(["labels", "keywords", "text"]))
def test_any_other_column_is_accepted(made, kind):
    rows, name = made
    assume(kind != "labels" or 1 <= len(count_parts(read_table(rows), name).rows) <= MAX_LABELS)
    assert list(accepted(rows, **{kind: [name]}).columns) == [name]


@given(TEXTS)
def test_any_text_is_toml(text):
    assert tomllib.loads(f"{quote(text)} = {quote(text)} # {comment(text)}\n{key('a' + text)} = 1") == {
        text: text,
        "a" + text: 1,
    }


def test_headers_of_sheets_with_line_breaks_and_braces():
    rows = [
        {
            "Record\nID": str(n),
            "Title\n{EN}": f"lake {n}",
            "Abstract {EN}": "seen",
            "Final\ndecision": "yno"[n % 2 * 2 :],
        }
        for n in range(4)
    ]
    recipe = accepted(rows, label=["Final decision"])
    assert recipe.table.id == "Record\nID"
    assert template_columns(recipe.table.document) == ["Title\n{EN}", "Abstract {EN}"]
    assert recipe.table.document == 'Title {{EN}}: {"Title\\n{EN}"}\nAbstract {{EN}}: {"Abstract {EN}"}'
    assert recipe.columns["Final\ndecision"].question == (
        "What is the Final decision of this paper? Answer with one of: yno, o."
    )


def test_comments_stay_in_one_line():
    assert comment("a\nb\x7f\u2028c") == "a\\nb\\x7f\\u2028c"
    assert comment("x" * 401) == "x" * 397 + "..."


def test_a_column_that_no_recipe_can_have_is_refused():
    rows = [{"title": f"lake {n}", "abstract": "seen", "row": str(n % 2)} for n in range(4)]
    with pytest.raises(RecipeError, match=r'columns\.row: "row" numbers the rows of a table .* rename it'):
        recipe_for(read_table(rows), label=["row"])


def test_prompts_have_no_invisible_characters_of_headers():
    names = ("\u200btitle", "abstract", "label\u200b")
    rows = [dict(zip(names, (f"P{n}", f"We saw {n}.", str(n % 2)), strict=True)) for n in range(4)]
    recipe = load_recipe(tomllib.loads(recipe_for(read_table(rows))))
    assert recipe.columns["label\u200b"].question == "What is the label of this paper? Answer with one of: 0, 1."
    assert recipe.table.document.startswith("title: {\u200btitle}\n")

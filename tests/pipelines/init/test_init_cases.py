"""`init` on files of public bug reports; each folder of `data/cases` says what is right."""

import tomllib
import warnings
from pathlib import Path

import pytest

from papertune.pipelines.check import check_tables
from papertune.pipelines.init import recipe_for
from papertune.recipe import load_recipe
from papertune.tables import read_table
from papertune.templates import template_columns

pytestmark = pytest.mark.once

CASES = Path(__file__).parents[2] / "data" / "cases"


def written(name, **named):
    """Return the recipe of `init` for a file, and the beginnings of what it says."""
    with warnings.catch_warnings(record=True) as caught:
        warnings.simplefilter("always")
        text = recipe_for(read_table(CASES / name), **named)
    said = [str(each.message).replace(f"{CASES / name}, ", "") for each in caught]
    return load_recipe(tomllib.loads(text)), said


@pytest.mark.parametrize(
    ("name", "label", "document"),
    [
        ("zotero", "included", ["Title", "Abstract Note"]),
        ("wos", "included", ["Article Title", "Abstract"]),
        ("ieee", "included", ["Document Title", "Abstract"]),
        ("asreview", "label_included", ["primary_title", "notes_abstract"]),
        ("cnki", "included", ["Title-题名", "Summary-摘要"]),
    ],
)
def test_title_and_abstract_of_sources(name, label, document):
    recipe, said = written(f"07-init-zotero-wos-ieee/{name}.csv", label=[label])
    assert template_columns(recipe.table.document) == document
    assert said == []


@pytest.mark.parametrize(("name", "unlabelled"), [("int", ()), ("mixed", ()), ("float", ("",)), ("minus", ("-1",))])
def test_labels_of_floats_and_minus_one(name, unlabelled, tiny_folder):
    recipe, said = written(f"12-labels-float-and-minus-one/{name}.csv", label=["included"])
    column = recipe.columns["included"]
    assert (column.labels, column.unlabelled) == (("1", "0"), unlabelled)
    assert len(said) == len(unlabelled)
    check_tables(
        [CASES / "12-labels-float-and-minus-one/int.csv"], recipe, overrides=[f'model="{tiny_folder}"']
    )  # fits, and without a warning


@pytest.mark.parametrize(
    ("name", "label"), [("breaks.xlsx", "Final\ndecision"), ("label-break.csv", "decision"), ("braces.csv", "label")]
)
def test_headers_and_cells_with_line_breaks_and_braces(name, label, tiny_folder):
    recipe, said = written(f"08-excel-headers/{name}", label=[label])
    assert said == []
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")  # labels in two lines are tidied
        result = check_tables([CASES / "08-excel-headers" / name], recipe, overrides=[f'model="{tiny_folder}"'])
    assert "lake 0" in result.examples[0].prompt


def test_labels_with_invisible_characters():
    recipe, said = written("18-invisible-label-characters/zwsp.csv", label=["label"])
    assert recipe.columns["label"].labels == ("1", "0")
    assert said == [
        'column "label": １ is read as the label 1. If they are different labels, write them all into the recipe\'s '
        "labels."
    ]

"""Labels in the cells of a table, as `init` offers them."""

import tomllib
import warnings
from pathlib import Path

import pytest

from papertune import PapertuneWarning, TableError, read_table
from papertune.pipelines.init import recipe_for
from papertune.prompts.check_table import check_table
from papertune.recipe import load_recipe

pytestmark = pytest.mark.once

PAGE = (Path(__file__).parents[3] / "docs" / "your-table.md").read_text("utf-8")


def offered(cells, name="included"):
    """Return the labels and markers that `init` writes for cells, and what it says."""
    table = read_table([{"title": f"t {n}", "abstract": f"a {n}", name: cell} for n, cell in enumerate(cells)])
    with warnings.catch_warnings(record=True) as caught:
        warnings.simplefilter("always")
        recipe = load_recipe(tomllib.loads(recipe_for(table, label=[name])))
    findings = check_table(table, recipe)
    assert findings.problems == []
    column = recipe.columns[name]
    return list(column.labels), list(column.unlabelled), [str(each.message) for each in caught]


@pytest.mark.parametrize(
    ("cells", "labels", "unlabelled"),
    [
        (["1.0", "0.0", "0.0"], ["1", "0"], []),
        (["1", "0", "1.0", "0.0"], ["1", "0"], []),
        (["1", "0", "-1", "-1.0"], ["1", "0"], ["-1"]),
        (["1", "-1", "-1"], ["1", "-1"], []),  # -1 and 1 are two classes
        (["2", "1", "0", "-1"], ["2", "1", "0", "-1"], []),  # grades
        (["a", "b", "", " \u200b", "NA", "na", "?"], ["a", "b"], ["", "NA", "?"]),
        (['["a"]', "['b']", "[]", "a"], ["a", "b"], [""]),
        (["NA", "EU"], ["EU", "NA"], []),  # without it there would be one label
        (["1\u200b", "0", "\ufeff1", "0\xa0"], ["1", "0"], []),
        (["exclude\n(wrong  drug)", "include", "include"], ["include", "exclude (wrong drug)"], []),
        (["Yes", "yes", "Yes", "NO", "No", "no"], ["Yes", "NO"], []),
    ],
)
def test_labels_are_tidied_as_a_training_reads_them(cells, labels, unlabelled):
    found, markers, _ = offered(cells)
    assert sorted(found) == sorted(labels)
    assert markers == unlabelled


def test_what_is_merged_or_left_out_is_reported_as_the_page_says():
    _, _, said = offered(["Yes"] * 3 + ["No"] * 3 + ["yes", "YES"])
    _, _, more = offered(["1"] * 3 + ["0"] * 3 + ["", "-1", ""])
    assert len(said + more) == 2
    for message in said + more:
        assert f"warning: {message.replace('list of rows', 'papers.csv')}\n" in PAGE
    with pytest.warns(PapertuneWarning) as caught:
        recipe_for(
            read_table([{"title": "t", "authors": "a", "journal": "j", "remarks": "r", "label": n} for n in "01"]),
            label=["label"],
        )
    assert f"warning: {str(caught[0].message).replace('list of rows', 'papers.csv')}\n" in PAGE


def test_the_rows_that_are_not_labelled_are_not_counted_as_rows_to_learn():
    rows = [{"title": f"t {n}", "abstract": "a", "label": "10"[n % 2] if n < 20 else "-1"} for n in range(900)]
    with pytest.warns(PapertuneWarning, match="read as not labelled: 880 with -1"):
        text = recipe_for(read_table(rows), label=["label"])
    assert "\n# 20 rows are few: they are learned 10 times" in text


def test_markers_alone_are_no_labels():
    rows = [{"title": f"t {n}", "abstract": "a", "label": cell} for n, cell in enumerate(["x", "", "x"])]
    with pytest.raises(TableError, match='column "label": 1 different cells; a label column has 2 to 50'):
        recipe_for(read_table(rows), label=["label"])


def test_long_label_sets_are_not_repeated_in_the_question():
    rows = [{"title": f"t {n}", "abstract": "a", "label": f"{n} " + "x" * 90} for n in range(4)]
    text = recipe_for(read_table(rows), label=["label"])
    assert 'question = "What is the label of this paper? Answer with its label."' in text

"""Lists, separators and marks of sources, from files through check, instructions, train and evaluate."""

import json
import shutil
from pathlib import Path

import polars as pl
import pytest

import papertune
from papertune.errors import PapertuneWarning, TableError
from papertune.kinds import KeywordsColumn, LabelsColumn
from papertune.pipelines.check import check_tables
from papertune.pipelines.comparison.prepare import Comparison, open_run
from papertune.pipelines.init import recipe_for
from papertune.pipelines.instructions import write_instructions
from papertune.prompts.check_table import check_table
from papertune.prompts.separators import with_clear_separators
from papertune.recipe import load_recipe
from papertune.tables import read_table, write_table

CASES = Path(__file__).parents[1] / "data" / "cases"
SCRIPTS = CASES / "13-keywords-other-scripts"


def outputs(table, recipe, folder, **options):
    write_instructions(table, recipe, folder / "out.json", overwrite=True, **options)
    return [entry["output"] for entry in json.loads((folder / "out.json").read_text("utf-8"))]


@pytest.mark.parametrize("name", ["kp.jsonl", "kp.parquet"])
def test_each_item_of_a_list_is_a_keyword(name, tmp_path):
    case = CASES / "05-keywords-as-json-lists"
    expected = ["feedback vertex set; graphs, sparse; 2-degenerate graphs", "sorting; lower bounds", "weak supervision"]
    assert outputs(case / name, case / "recipe.toml", tmp_path) == expected
    assert "the table has 2.0 a row" in recipe_for(read_table(case / name), keywords=["keywords"])


def test_keywords_of_other_scripts_are_split(tmp_path):
    recipe = SCRIPTS / "recipe.toml"
    assert outputs(SCRIPTS / "ar.csv", recipe, tmp_path) == ["القمح; الري; نمو النبات", "المياه; الآبار; الجودة"]
    assert outputs(SCRIPTS / "cr.xlsx", recipe, tmp_path) == ["ants; nests; soil", "bees"]


@pytest.mark.parametrize(
    ("name", "said", "split"),
    [
        (
            "en.csv",
            'row 1 below the header, column "Keywords": 3 cells are read as a single keyword with "/", "|" or "•" in it'
            "; if that separates keywords, set columns.Keywords.input_separator to it (this is the first).",
            ["ants; nests; soil"],
        ),
        (
            "zh.csv",
            'row 1 below the header, column "Keywords": 4 cells are read as a single keyword with a full-width blank '
            '(U+3000), "·" (U+00B7), "/" or "|" in it; if that separates keywords, set columns.Keywords.input_separator'
            " to it (this is the first).",
            ["图书馆; 服务; 读者", "茶叶; 香气; 品质"],
        ),
    ],
)
def test_signs_of_a_few_cells_are_named_in_one_warning(name, said, split, tmp_path):
    with pytest.warns(PapertuneWarning) as caught:
        written = outputs(SCRIPTS / name, SCRIPTS / "recipe.toml", tmp_path)
    messages = [str(each.message) for each in caught]
    assert [each.partition(", ")[2] for each in messages if "single keyword" in each] == [said]
    assert written[-len(split) :] == split


KEYWORDS = {
    "table": {"document": "{title}"},
    "columns": {"Keywords": {"kind": "ranked_keywords", "question": "Keyword?", "sources": ["model"]}},
}
BARS = [{"title": f"Paper {n} about algae", "Keywords": f"algae | lake, blue {n}"} for n in range(4)]
TOLD = (
    'column "Keywords": cells are split at "|", as most of them show; set columns.Keywords.input_separator to it, or '
    'to what separates instead, such as ";".'
)


def test_the_separator_that_a_column_clearly_has_is_reported_and_used(tmp_path):
    with pytest.warns(PapertuneWarning) as caught:
        assert outputs(BARS, KEYWORDS, tmp_path)[0] == "algae; lake, blue 0"
    assert TOLD in [str(each.message) for each in caught]
    own = {"overrides": ["columns.Keywords.input_separator=|"]}
    assert outputs(BARS, KEYWORDS, tmp_path, **own)[0] == "algae; lake, blue 0"
    assert (
        outputs(BARS, KEYWORDS, tmp_path, overrides=["columns.Keywords.input_separator=;"])[0]
        == "algae | lake, blue 0;"
    )
    with pytest.warns(PapertuneWarning, match="no abstract was found"):
        assert 'input_separator = "|"' in recipe_for(read_table(BARS), keywords=["Keywords"])


def test_the_decision_is_made_over_all_tables():
    few = [{"title": "x", "Keywords": "algae | lake"}]
    recipe, messages = with_clear_separators(load_recipe(KEYWORDS), [read_table(few), read_table(few)])
    assert (recipe.columns["Keywords"].input_separator, messages) == ("|", [TOLD])
    alone, messages = with_clear_separators(load_recipe(KEYWORDS), [read_table(few)])
    assert (alone, messages) == (load_recipe(KEYWORDS), [])


@pytest.mark.slow
@pytest.mark.filterwarnings("ignore:column .Keywords.")
def test_a_run_keeps_the_decision_and_lists_are_scored_by_item(tiny_folder, tmp_path):
    run = papertune.train(
        BARS, KEYWORDS, tmp_path / "run", overrides=[f"model={tiny_folder}", "training.max_steps=1"], device="cpu"
    )
    assert run.recipe.columns["Keywords"].input_separator == "|"
    assert papertune.load_run(tmp_path / "run", device="cpu").recipe == run.recipe
    # One bar would not be clear in this table alone; the lists have items with a bar, comma and semicolon.
    gold = [
        {"title": "Algae", "Keywords": "algae | blue, green"},
        {"title": "Sets", "Keywords": ["sets, fuzzy"]},
        {"title": "Both", "Keywords": '["left; right"]'},
    ]
    cells = ('["algae", "blue, green"]', "sets, fuzzy;", '["left; right"]')
    predicted = [{"row": number, "Keywords": text} for number, text in enumerate(cells, 1)]
    report = papertune.evaluate(run, gold, tmp_path / "report", predictions=predicted)
    scores = report.columns[0].systems[0].scores
    assert scores.f1_at_m == pytest.approx(1.0)


def test_an_old_run_reads_documents_as_they_are(tmp_path):
    old = Path(__file__).parents[1] / "data" / "run_format_3"
    run = papertune.load_run(shutil.copytree(old / "run", tmp_path / "run"), base=old / "base", device="cpu")
    assert not run.recipe.table.clean
    assert all(getattr(column, "input_separator", None) is None for column in run.recipe.columns.values())


def test_a_comparison_with_an_old_run_says_how_documents_are_read(tmp_path):
    old = Path(__file__).parents[1] / "data" / "run_format_3"
    folder = shutil.copytree(old / "run", tmp_path / "run")
    table, other = (read_table([{"uuid": "x", "title": word, "abstract": word, "author": ""}]) for word in ("a", "b"))
    recipe = load_recipe(folder / "recipe.toml")
    with pytest.raises(papertune.errors.RunError) as caught:
        open_run(folder, Comparison(recipe, table, None, other, other), "cpu", old / "base")
    assert str(caught.value) == (
        f"{folder} reads documents as they are, unlike the recipe, so its prompts differ from those of the base model. "
        "Add --set table.clean=false."
    )


def test_an_input_separator_that_no_cell_has_is_reported():
    recipe = load_recipe(KEYWORDS, ["columns.Keywords.input_separator=#"])
    assert check_table(read_table(BARS), recipe).warnings == [
        'list of rows, column "Keywords": no cell has "#", which is columns.Keywords.input_separator.'
    ]


def test_placeholders_are_no_keywords():
    cells = ["n/a", "No keywords", "[No author keywords available]", "-", "sodium, NA"]
    rows = [{"title": "x", "Keywords": cell} for cell in cells]
    assert [load_recipe(KEYWORDS).columns["Keywords"].read_answer(cell) for cell in cells] == [None] * 4 + [
        "sodium; NA"
    ]
    assert check_table(read_table(rows), load_recipe(KEYWORDS)).warnings[-1] == (
        'list of rows, row 1, column "Keywords": 4 cells are without keywords; not learned (this is the first).'
    )


RIS = """TY  - JOUR
TI  - A trial
KW  - Diabetes Mellitus, Type 2/*therapy
KW  - *Insulin
ER  -
TY  - JOUR
TI  - Another one
KW  - Diabetes Mellitus, Type 2
ER  -
TY  - JOUR
TI  - One tag for all
KW  - algae; lake, blue
ER  -
"""
PUBMED = """PMID- 1
TI  - A trial
MH  - Diabetes Mellitus, Type 2/*drug therapy
OT  - *self-care, daily

PMID- 2
TI  - Another one
MH  - Adult
MH  - *Asthma/drug therapy/*epidemiology
OT  - one
OT  - two, three
"""


def test_each_tag_of_an_export_is_a_keyword(tmp_path):
    (tmp_path / "refs.ris").write_text(RIS)
    (tmp_path / "refs.nbib").write_text(PUBMED)
    assert outputs(tmp_path / "refs.ris", KEYWORDS, tmp_path) == [
        "Diabetes Mellitus, Type 2/therapy; Insulin",
        "Diabetes Mellitus, Type 2;",
        "algae; lake, blue",
    ]
    mesh = {
        "table": {"document": "{title}"},
        "columns": {
            "mesh_terms": {"kind": "keywords", "question": "MeSH?"},
            "Keywords": {"kind": "ranked_keywords", "question": "Keyword?"},
        },
    }
    assert outputs(tmp_path / "refs.nbib", mesh, tmp_path) == [
        "Diabetes Mellitus, Type 2/drug therapy;",
        "self-care, daily;",
        "Adult; Asthma/drug therapy/epidemiology",
        "one; two, three",
    ]
    # As a table of another format, and back from the instructions.
    table = read_table(tmp_path / "refs.ris")
    write_table(table.frame, tmp_path / "refs.xlsx")
    assert outputs(tmp_path / "refs.xlsx", KEYWORDS, tmp_path) == outputs(tmp_path / "refs.ris", KEYWORDS, tmp_path)
    assert outputs(tmp_path / "out.json", KEYWORDS, tmp_path)[0] == "Diabetes Mellitus, Type 2/therapy; Insulin"


FIELDS = {"kind": "labels", "question": "About {label}?", "labels": ["cs.CV", "art, music", "R&D", "7"]}
LABELS = {
    "table": {"document": "{title}"},
    "columns": {"fields": FIELDS, "label": {"kind": "label", "question": "Medical?", "labels": ["1", "0"]}},
}


@pytest.mark.parametrize(
    ("fields", "expected"),
    [
        (["cs.CV", "art, music"], ["cs.CV", "art, music"]),
        ("['cs.CV', 'art, music']", ["cs.CV", "art, music"]),
        ('{cs.CV,"art, music"}', ["cs.CV", "art, music"]),
        ([7, "R&amp;D"], ["R&D", "7"]),
        ("R&amp;D; cs.CV", ["cs.CV", "R&D"]),
        ("*cs.CV; 7.0", ["cs.CV", "7"]),
        ("cs.CV؛ 7", ["cs.CV", "7"]),
    ],
)
def test_items_are_labels(fields, expected):
    column = LabelsColumn(**FIELDS)
    (cell,) = read_table([{"fields": fields, "x": 1}]).column("fields")
    assert column.read_answer(cell) == "; ".join(expected)
    recipe = load_recipe(LABELS)
    found = check_table(read_table([{"title": "x", "fields": fields, "label": "['1']"}]), recipe, "score")
    assert found.problems == []
    assert found.label_counts["label"]["1"] == 1


def test_broken_and_mixed_lists_are_reported_with_their_cell():
    recipe = load_recipe({**LABELS, "columns": {**LABELS["columns"], "k": KEYWORDS["columns"]["Keywords"]}})
    rows = [
        {"title": "a", "fields": "['cs.CV', '7'", "label": ["1", "0"], "k": ["a", 2]},
        {"title": "b", "fields": ["cs.CV", None], "label": [["1"]], "k": "['a' 'b"},
        {"title": "c", "fields": ["cs.XX"], "label": [], "k": [{"name": "a"}]},
        {"title": "[18F]FDG", "fields": "", "label": "0", "k": "[18F]FDG PET; tumours"},
    ]
    remedy = 'Write it as ["a", "b"], or the items with semicolons between them.'
    where = "list of rows, row {}, column "
    assert check_table(read_table(rows), recipe).problems == [
        where.format(1) + f"\"fields\": \"['cs.CV', '7'\" begins like a list, but has no closing ]. {remedy}",
        where.format(2) + f'"fields": "["cs.CV", null]" is a list whose item 2 is null. {remedy}',
        where.format(3) + '"fields": "cs.XX" is not one of the 4 labels (cs.CV, art, music, R&D, 7). Did you mean '
        '"cs.CV"? Correct the cell, or add the label to columns.fields.labels.',
        where.format(1)
        + '"label": "["1", "0"]" is a list of 2 labels, and the column has one in each cell. Leave one, '
        'or set columns.label.kind to "labels".',
        where.format(2) + f'"label": "[["1"]]" is a list whose item 1 is a list itself. {remedy}',
        where.format(3)
        + '"label": the cell is empty. Fill it in, take the row out, or list "" in columns.label.unlabelled.',
        where.format(1) + f'"k": "["a", 2]" is a list whose item 2 is the number 2. {remedy}',
        where.format(2) + f'"k": "[\'a\' \'b" begins like a list, but the quote at character 6 is not closed. {remedy}',
        where.format(3) + f'"k": "[{{"name": "a"}}]" is a list whose item 1 is an object with keys. {remedy}',
    ]


def test_labels_are_split_at_the_sign_that_makes_them_labels(tmp_path):
    recipe = load_recipe({"table": {"document": "{title}"}, "columns": {"fields": FIELDS}})
    table = read_table([{"title": "a", "fields": "cs.CV | art, music"}, {"title": "b", "fields": "7"}])
    settled, messages = with_clear_separators(recipe, [table])
    assert settled.columns["fields"].input_separator == "|"
    assert len(messages) == 1
    assert settled.columns["fields"].read_answer("cs.CV | art, music") == "cs.CV; art, music"
    assert check_table(table, settled).problems == []
    other = read_table([{"title": "a", "fields": "cs.CV | cs.XX"}])
    assert with_clear_separators(recipe, [other]) == (recipe, [])


def test_labels_must_not_contain_the_input_separator():
    with pytest.raises(papertune.errors.RecipeError) as caught:
        load_recipe({**LABELS, "columns": {"fields": {**FIELDS, "input_separator": "&"}}})
    assert str(caught.value).endswith(
        "columns.fields: cells are split at input_separator, '&', so 'R&D' could not be read; choose another separator "
        "or another word."
    )


def test_a_single_predicted_keyword_keeps_its_comma():
    column = KeywordsColumn(kind="keywords", question="Keywords?")
    cells = column.cells(pl.Series(["Diabetes Mellitus, Type 2;", "a; b", "a, b", '["x; y", "z"]']), None).to_list()
    assert cells == ["Diabetes Mellitus, Type 2;", "a; b", "a; b", '["x; y", "z"]']
    assert [column.read_list(cell) for cell in cells] == [
        ["Diabetes Mellitus, Type 2"],
        ["a", "b"],
        ["a", "b"],
        ["x; y", "z"],
    ]


def test_check_shows_lists_and_reports_broken_ones(tiny_folder):
    own = [f"model={tiny_folder}"]
    result = check_tables([[{"title": "x", "Keywords": ["graphs, sparse", "trees"]}]], KEYWORDS, overrides=own)
    assert result.examples[0].answer == "graphs, sparse<|im_end|> | trees<|im_end|>"
    with pytest.raises(TableError, match="begins like a list"):
        check_tables([[{"title": "x", "Keywords": '["a"'}]], KEYWORDS, overrides=own)

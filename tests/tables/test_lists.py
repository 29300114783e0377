import json
import tempfile
from pathlib import Path

import pytest
from hypothesis import example, given, settings
from hypothesis import strategies as st

from papertune.tables import read_table, write_table
from papertune.tables.lists import ListError, cell_of, read_list, repeated_tag_cell, shown_list


@pytest.mark.parametrize(
    ("cell", "items"),
    [
        ('["a, b", "c"]', ["a, b", "c"]),
        ("['cs.CV', 'cs.LG']", ["cs.CV", "cs.LG"]),
        ("""["it's", 'b; c']""", ["it's", "b; c"]),
        (r"['it\'s', 'x\ny', '\u00e9']", ["it's", "x\ny", "é"]),
        ("['a' 'b'\n 'c d']", ["a", "b", "c d"]),
        ("('a', 'b')", ["a", "b"]),
        ("('a',)", ["a"]),
        ("{'a', 'b'}", ["a", "b"]),
        ('{"a","b"}', ["a", "b"]),
        ("frozenset({'a', 'b'})", ["a", "b"]),
        ("array(['a, b' 'c'], dtype=object)", ["a, b", "c"]),
        ("Index(['a', 'b'], dtype='object', name='k')", ["a", "b"]),
        ("set([])", []),
        ('{cs.CV,"machine learning, deep"}', ["cs.CV", "machine learning, deep"]),
        ('c("a", "b")', ["a", "b"]),
        ('"a, b", "c"', ["a, b", "c"]),
        ('"a, b"', ["a, b"]),
        (' ["a",] ', ["a"]),
        ("[]", []),
        ("{}", []),
        (r'["\ud83d\ude00"]', ["😀"]),
    ],
)
def test_lists_are_read(cell, items):
    assert read_list(cell) == items


@pytest.mark.parametrize(
    "cell",
    [
        "",
        "a; b",
        "[18F]FDG PET; tumours",
        "[18F]",
        "[18F]FDG; [11C]methionine [PET]",
        "[Fe(CN)6]; [Ru(bpy)3]",
        "[No abstract available]",
        "{DNA} repair; {RNA}",
        "(a, b)",
        "array(s); set((a, b))",
        "set([18F])",
        '("smart" cities); roofs',
        "c(1)",
        "cats, dogs",
        '"smart" cities, "green" roofs',
        "[",
    ],
)
def test_other_texts_are_no_lists(cell):
    assert read_list(cell) is None
    assert shown_list(cell) == cell


REMEDY = '. Write it as ["a", "b"], or the items with semicolons between them'


@pytest.mark.parametrize(
    ("cell", "problem"),
    [
        ('["a", "b"', "begins like a list, but has no closing ]"),
        ('{"a","b"', "begins like a list, but has no closing }"),
        ("['a', 'b]", "begins like a list, but the quote at character 7 is not closed"),
        ('"a", "b"]', "ends like a list, but has no opening ["),
        ('["a" b]', "begins like a list, but breaks at character 6"),
        ("['it's']", "begins like a list, but breaks at character 6"),
        ("['a' ... 'b']", "begins like a list, but breaks at character 6"),
        ('["a","b"] c', "begins like a list, but breaks at character 10"),
        ('["a", 1]', "is a list whose item 2 is the number 1"),
        ("[1, 2]", "is a list whose item 1 is the number 1"),
        ("['a', 2.5]", "is a list whose item 2 is the number 2.5"),
        ('["a", null]', "is a list whose item 2 is null"),
        ("['a', None]", "is a list whose item 2 is None"),
        ("{a,NULL}", "is a list whose item 2 is NULL"),
        ('["a", true]', "is a list whose item 2 is true"),
        ('[["a"], ["b"]]', "is a list whose item 1 is a list itself"),
        ("['a', ['b']]", "is a list whose item 2 is a list or an object itself"),
        ("{{a},{b}}", "is a list whose item 1 is a list or an object itself"),
        ('{"a": 1}', "is a list whose item 1 is an object with keys"),
        ("[a, b]", "has the brackets of a list, but no quotes around its items"),
        (r'["\ud800"]', "is a list whose item 1 has half of a surrogate pair"),
    ],
)
def test_broken_and_mixed_lists_are_reported_with_the_place(cell, problem):
    with pytest.raises(ListError) as caught:
        read_list(cell)
    assert str(caught.value) == problem + REMEDY


def test_numbers_may_be_items_where_a_label_set_says_what_they_mean():
    assert read_list("[1, 2.5]", numbers=True) == ["1", "2.5"]
    assert read_list("['a', 3]", numbers=True) == ["a", "3"]


texts = st.text(st.characters(codec="utf-8", exclude_characters="\0"), max_size=8)
hostile = st.text(st.sampled_from("ab'\"\\[]{}(),;|/ \n1c"), max_size=8)
item_lists = st.lists(texts | hostile, max_size=4)


@given(item_lists)
def test_items_survive_as_json_python_and_database_lists(items):
    assert read_list(json.dumps(items, ensure_ascii=False)) == items
    assert read_list(json.dumps(items)) == items
    assert read_list(repr(items)) == items
    escaped = [item.replace("\\", "\\\\").replace('"', '\\"') for item in items]
    quoted = ",".join(f'"{item}"' for item in escaped)
    if all(character.isprintable() for item in items for character in item) and "\\" not in quoted:
        assert read_list(f"{{{quoted}}}") == items


@given(st.text(st.sampled_from("ab'\"\\[]{}(), ;1cnul\n"), max_size=20))
def test_any_text_is_a_list_or_none_or_has_a_message(cell):
    message = items = None
    try:
        items = read_list(cell)
    except ListError as error:
        message = str(error)
    assert message is None or message.endswith(REMEDY)
    assert items is None or all(isinstance(item, str) for item in items)
    assert items is not None or shown_list(cell) == cell


@pytest.mark.parametrize(
    ("values", "cell"),
    [
        (["aspirin", "mice"], "aspirin; mice"),
        (["graphs, sparse", "trees"], "graphs, sparse; trees"),
        # One keyword with a comma, or with any other sign at which a cell may be split.
        (["Diabetes Mellitus, Type 2"], '["Diabetes Mellitus, Type 2"]'),
        (["a; b", "c"], '["a; b", "c"]'),
        (["['a', 'b']"], "[\"['a', 'b']\"]"),
        (["aspirin"], "aspirin"),
        ([], ""),
    ],
)
def test_items_become_a_cell_that_people_can_read_where_it_is_clear(values, cell):
    assert repeated_tag_cell(values) == cell


def test_one_tag_with_a_whole_list_is_a_list():
    assert repeated_tag_cell(["aspirin; mice, old; trial"]) == "aspirin; mice, old; trial"


@given(item_lists.map(lambda items: [stripped for item in items if (stripped := item.strip())]))
@example(["x", "['y']"])
@example(['["x"', "y"])
def test_a_cell_of_items_has_these_items(items):
    cell = cell_of(items)
    read = read_list(cell)
    plain = [part.strip() for part in cell.split(";")] if cell else []
    assert (plain if read is None else read) == items


@pytest.mark.parametrize("suffix", [".csv", ".tsv", ".json", ".jsonl", ".xlsx", ".parquet"])
def test_lists_survive_every_file_format(tmp_path, suffix):
    lists = [["graphs, sparse", "trees"], ["a; b"], ["x\ny", 'say "so"'], [], ["单词，一"]]
    table = read_table([{"id": str(row), "keywords": items} for row, items in enumerate(lists)])
    path = tmp_path / f"table{suffix}"
    write_table(table.frame, path, forms=table.forms)
    assert [read_list(cell) for cell in read_table(path).column("keywords")] == lists


def test_lists_of_data_frames_survive():
    import numpy as np
    import pandas as pd
    import polars as pl

    lists = [["graphs, sparse", "trees"], ["a; b"]]
    frames = (
        pl.DataFrame({"keywords": lists}),
        pd.DataFrame({"keywords": lists}),
        pd.DataFrame({"keywords": [np.array(items, dtype=object) for items in lists]}),
        pd.DataFrame({"keywords": [str(np.array(items)) for items in lists]}),
        pd.DataFrame({"keywords": [tuple(items) for items in lists]}),
    )
    for frame in frames:
        assert [read_list(cell) for cell in read_table(frame).column("keywords")] == lists


words = st.text(st.characters(codec="utf-8", categories=["L", "N", "P", "S", "Zs"]), min_size=1, max_size=6)
FORMATS = [".csv", ".tsv", ".json", ".jsonl", ".xlsx", ".parquet"]


@settings(max_examples=30)
@given(st.lists(st.lists(words, max_size=3), min_size=1, max_size=3), st.sampled_from(FORMATS))
def test_any_lists_survive_a_file(lists, suffix):
    table = read_table([{"id": str(row), "keywords": items} for row, items in enumerate(lists)])
    with tempfile.TemporaryDirectory() as folder:
        path = Path(folder) / f"table{suffix}"
        write_table(table.frame, path, forms=table.forms)
        assert [read_list(cell) for cell in read_table(path).column("keywords")] == lists


@settings(max_examples=30)
@given(st.lists(words.map(str.strip).filter(bool), min_size=2, max_size=4), st.booleans())
def test_any_repeated_tags_are_items(items, is_pubmed):
    head, tag, end = ("PMID- 1", "OT  - ", "") if is_pubmed else ("TY  - JOUR", "KW  - ", "ER  -\n")
    with tempfile.TemporaryDirectory() as folder:
        path = Path(folder) / "refs.txt"
        path.write_text("\n".join([head, "TI  - x", *(tag + item for item in items), end]), "utf-8")
        (cell,) = read_table(path).column("Keywords")
    read = read_list(cell)
    assert ([part.strip() for part in cell.split(";")] if read is None else read) == items

import pytest
from hypothesis import assume, given
from hypothesis import strategies as st

from papertune.errors import RecipeError
from papertune.kinds import LabelsColumn
from papertune.kinds.labels.cells import join_labels, read_labels, split_labels
from papertune.recipe import load_recipe

TOPICS = {"kind": "labels", "question": "About {label}?", "labels": ["maths", "art, music", "1"]}


def column(**changes):
    return LabelsColumn(**{**TOPICS, **changes})


@pytest.mark.parametrize(
    ("cell", "expected"),
    [
        ("", []),
        (" ; ;", []),
        ("maths", ["maths"]),
        ("1.0; maths", ["maths", "1"]),
        ("maths；1\nmaths", ["maths", "1"]),
        ("maths, 1", ["maths", "1"]),
        # A label may have a comma if semicolons split the cell, or if it is the only one.
        ("art, music", ["art, music"]),
        ("1; art, music", ["art, music", "1"]),
        ("maths, art, music", None),
        ("maths; biology", None),
    ],
)
def test_cells_are_read_as_labels(cell, expected):
    assert read_labels(cell, column()) == expected


def test_other_separators():
    spaced = column(labels=["cs.LG", "stat.ML"], separator=" ")
    assert read_labels("stat.ML  cs.LG", spaced) == ["cs.LG", "stat.ML"]
    barred = column(separator=" | ")
    assert read_labels("maths|1", barred) == ["maths", "1"]
    assert join_labels(["maths", "1"], barred) == "maths | 1"
    assert split_labels("maths|biology, art", barred) == ["maths", "biology, art"]


def test_a_separator_that_begins_with_a_semicolon():
    listed = column(separator="; and ")
    assert join_labels(["maths", "1"], listed) == "maths; and 1"
    assert read_labels("maths; and 1", listed) == ["maths", "1"]
    assert read_labels("maths; 1", listed) == ["maths", "1"]


@given(st.data())
def test_written_cells_are_read_as_the_same_labels(data):
    words = st.text(st.sampled_from("ab \t,，.;|1"), min_size=1, max_size=4).map(str.strip).filter(bool)
    labels = data.draw(st.lists(words, min_size=1, max_size=4, unique=True))
    separator = data.draw(st.sampled_from(["; ", ";", "; a ", ", ", " | ", " ", "\t", "，"]))
    try:
        made = load_recipe(
            {"table": {"document": "{t}"}, "columns": {"c": {**TOPICS, "labels": labels, "separator": separator}}}
        ).columns["c"]
    except RecipeError:
        assume(False)
    chosen = [label for label in made.labels if data.draw(st.booleans())]
    assert read_labels(join_labels(chosen, made), made) == chosen

import pytest
from hypothesis import assume, given
from hypothesis import strategies as st

from papertune.errors import RecipeError
from papertune.kinds import LabelsColumn
from papertune.kinds.labels.cells import join_labels, read_labels, split_labels
from papertune.prompts.check_table import check_table
from papertune.prompts.examples import Prompt, RowReader, training_examples
from papertune.recipe import load_recipe
from papertune.tables import read_table

TOPICS = {"kind": "labels", "question": "About {label}?", "labels": ["maths", "art, music", "1"]}
RECIPE = load_recipe({"table": {"document": "{title}"}, "columns": {"topics": TOPICS}})
COLUMN = RECIPE.columns["topics"]


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
        # A label may have a comma in it where semicolons part the cell, or where it stands alone.
        ("art, music", ["art, music"]),
        ("1; art, music", ["art, music", "1"]),
        ("maths, art, music", None),
        ("maths; biology", None),
    ],
)
def test_cells(cell, expected):
    assert read_labels(cell, COLUMN) == expected


def test_a_separator_of_ones_own():
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
def test_what_is_written_is_read_again(data):
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


def test_each_label_of_a_row_is_an_example():
    table = read_table([{"title": "A", "topics": "1; maths"}, {"title": "B", "topics": ""}])
    examples = list(training_examples(table, RECIPE))
    assert [(e.row, e.column, e.answer) for e in examples] == [
        (0, "topics: maths", "yes"),
        (0, "topics: art, music", "no"),
        (0, "topics: 1", "yes"),
        (1, "topics: maths", "no"),
        (1, "topics: art, music", "no"),
        (1, "topics: 1", "no"),
    ]
    assert examples[1].prompt == Prompt("", "A", "\n\nAbout art, music?")
    assert [e.share for e in examples] == [1 / 3] * 6
    # A table without the column says nothing, and teaches nothing.
    assert list(training_examples(read_table([{"title": "A"}]), RECIPE)) == []


def test_what_a_table_says_of_a_row():
    reader = RowReader(read_table([{"title": "A", "topics": "1"}, {"title": "B", "topics": "unknown"}]), RECIPE)
    assert COLUMN.labels_of_row(reader, 0, "topics") == {"maths": False, "art, music": False, "1": True}
    assert COLUMN.labels_of_row(reader, 1, "topics") == {}
    assert reader.given(0, "topics") == "1"
    assert reader.given(0, "topics: 1") == "yes"
    assert reader.given(1, "topics: 1") is None


def test_an_entry_of_an_instruction_file_asks_about_one_label():
    entries = [
        {"instruction": "About 1?", "input": "A", "output": "yes"},
        {"instruction": "About maths?", "input": "A", "output": "no"},
    ]
    reader = RowReader(read_table(entries), RECIPE)
    assert [reader.asked(row) for row in (0, 1)] == [["topics: 1"], ["topics: maths"]]
    assert [COLUMN.labels_of_row(reader, row, "topics") for row in (0, 1)] == [{"1": True}, {"maths": False}]
    assert [(e.column, e.answer, e.share) for e in training_examples(read_table(entries), RECIPE)] == [
        ("topics: 1", "yes", 1 / 3),
        ("topics: maths", "no", 1 / 3),
    ]
    found = check_table(read_table(entries), RECIPE)
    assert found.problems == []
    assert found.label_counts == {"topics": {"1": 1}}


def test_entries_that_are_neither_yes_nor_no():
    entries = [
        {"instruction": "About 1?", "input": "A", "output": "perhaps"},
        {"instruction": "x", "input": "A", "output": ""},
    ]
    assert check_table(read_table(entries), RECIPE).problems == [
        "list of rows, row 2, column \"instruction\": 'x' is not a question of the recipe "
        "(About maths? | About art, music? | About 1?). Set the question of its column to this text.",
        'list of rows, row 1, column "output": "perhaps" is neither "yes" nor "no". Correct the cell, or set '
        "columns.topics.answers.",
    ]


def test_labels_are_counted_and_all_unknown_ones_told():
    cells = ["maths; maths", "", "mats; 1; 2", "biology; 1.0"]
    found = check_table(read_table([{"title": str(n), "topics": cell} for n, cell in enumerate(cells)]), RECIPE)
    assert found.label_counts == {"topics": {"maths": 1, "": 1, "1": 2}}
    known = "one of the 3 labels (maths, art, music, 1)"
    remedy = "Correct the cell, or add the label to columns.topics.labels."
    assert found.problems == [
        f'list of rows, row 3, column "topics": "mats" is not {known}. Did you mean "maths"? {remedy}',
        f'list of rows, row 3, column "topics": "2" is not {known}. {remedy}',
        f'list of rows, row 4, column "topics": "biology" is not {known}. {remedy}',
    ]
    assert found.warnings == [
        'list of rows, row 1, column "topics": 1 cell is naming a label twice; it counts once (this is the first).',
        "list of rows, column \"topics\": no row has the label 'art, music'; it cannot be learned.",
    ]


def test_a_column_of_empty_cells_is_a_mistake():
    """Nobody labels a table to say that no row has any label; the column has not been filled in."""
    rows = [{"title": "A", "topics": ""}, {"title": "B", "topics": " "}]
    assert check_table(read_table(rows), RECIPE).problems == [
        'list of rows, column "topics": every cell is empty, which says that no row has any of the labels. '
        "Fill the column in, or take it out of the table."
    ]
    assert check_table(read_table(rows), RECIPE, "predict").problems == []

from papertune.prompts.check_table import check_table
from papertune.prompts.examples import Prompt, RowReader, training_examples
from papertune.recipe import load_recipe
from papertune.tables import read_table

TOPICS = {"kind": "labels", "question": "About {label}?", "labels": ["maths", "art, music", "1"]}
RECIPE = load_recipe({"table": {"document": "{title}"}, "columns": {"topics": TOPICS}})
COLUMN = RECIPE.columns["topics"]


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
    # A table without the column has no examples.
    assert list(training_examples(read_table([{"title": "A"}]), RECIPE)) == []


def test_gold_labels_of_a_row():
    reader = RowReader(read_table([{"title": "A", "topics": "1"}, {"title": "B", "topics": "unknown"}]), RECIPE)
    assert COLUMN.labels_of_row(reader, 0, "topics") == {"maths": False, "art, music": False, "1": True}
    assert COLUMN.labels_of_row(reader, 1, "topics") == {}
    assert reader.given(0, "topics") == "1"
    assert reader.given(0, "topics: 1") == "yes"
    assert reader.given(1, "topics: 1") is None


def test_an_instruction_entry_asks_about_one_label():
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


def test_instruction_entries_that_are_neither_yes_nor_no_are_problems():
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


def test_labels_are_counted_and_each_unknown_label_is_a_problem():
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


def test_a_column_of_empty_cells_is_a_problem():
    """Such a column has not been filled in."""
    rows = [{"title": "A", "topics": ""}, {"title": "B", "topics": " "}]
    assert check_table(read_table(rows), RECIPE).problems == [
        'list of rows, column "topics": every cell is empty, which means that no row has any of the labels. '
        "Fill the column in, or take it out of the table."
    ]
    assert check_table(read_table(rows), RECIPE, "predict").problems == []

import pytest

from papertune.errors import PapertuneWarning
from papertune.prompts.given_cells import open_table
from papertune.recipe import load_recipe

RECIPE = load_recipe(
    {
        "table": {"document": "{title}"},
        "columns": {
            "label": {"kind": "label", "question": "Medical?", "labels": ["1", "0"]},
            "Keywords": {"kind": "keywords", "question": "Keywords?"},
        },
    }
)
FILLED = [{"title": "x", "label": "1", "Keywords": "a", "label_given": "0", "Keywords_given": ""}]


def test_the_own_cells_of_a_filled_table_are_its_column_again():
    with pytest.warns(PapertuneWarning) as caught:
        table = open_table(FILLED, RECIPE)
    assert table.frame.to_dicts() == [{"title": "x", "label": "0", "Keywords": ""}]
    assert [str(each.message) for each in caught] == [
        'list of rows was filled in before: its own cells of "label", "Keywords" are in "label_given", '
        '"Keywords_given" and are used; the answers of the earlier prediction are left out. To keep those instead, '
        'remove "label_given", "Keywords_given".'
    ]


def test_own_cells_without_an_answer_need_no_warning():
    assert open_table([{"title": "x", "label_given": "0"}], RECIPE).frame.to_dicts() == [{"title": "x", "label": "0"}]


def test_a_column_that_the_model_reads_is_not_taken_for_own_cells():
    recipe = load_recipe({"table": {"document": "{label_given}"}, "columns": {"label": dict(RECIPE.columns["label"])}})
    rows = [{"label": "1", "label_given": "0"}]
    assert open_table(rows, recipe).frame.to_dicts() == rows


def test_only_the_output_of_an_entry_has_own_cells():
    entry = {"instruction": "Medical?", "input": "x", "output": "0", "label": "1", "label_given": "1"}
    assert open_table([entry], RECIPE).frame.to_dicts() == [entry]
    with pytest.warns(PapertuneWarning, match='its own cells of "output" are in "output_given" and are used'):
        own = open_table([{**entry, "output_given": "yes"}], load_recipe("instruct"))
    assert own.frame.to_dicts() == [{**entry, "output": "yes"}]

import pytest

from papertune.recipe import dump_recipe, load_recipe
from papertune.recipe.changes import changed_settings, training_changes

LABEL = {"kind": "label", "question": "Medical?", "labels": ["1", "0"]}


def recipe(**changes):
    return dump_recipe(load_recipe({"table": {"document": "{title}"}, "columns": {"label": LABEL}, **changes}))


PLAN = {"recipe": recipe(), "tables": ["a"], "dev": [], "base": "w", "processes": 1, "runs": ["start"]}


@pytest.mark.parametrize(
    ("changes", "found"),
    [
        (
            {"training": {"epochs": 4, "seed": 1}},
            ["training.epochs: 1 before, now 4", "training.seed: 0 before, now 1"],
        ),
        ({"training": {"max_steps": 9}}, ["training.max_steps: not set before, now 9"]),
        ({"method": {"rank": 16}}, ["method.rank: 8 before, now 16"]),
        (
            {"table": {"id": "uuid", "document": "{title}"}},
            ['table.id: not set before, now "uuid"'],
        ),
        (
            {"columns": {"label": {**LABEL, "labels": ["yes", "no"], "weights": {"yes": 2.0, "no": 1.0}}}},
            [
                'columns.label.labels: ["1", "0"] before, now ["yes", "no"]',
                "columns.label.weights.yes: not set before, now 2",
                "columns.label.weights.no: not set before, now 1",
            ],
        ),
    ],
)
def test_each_setting_that_differs_is_named_with_both_values(changes, found):
    assert changed_settings(recipe(), recipe(**changes)) == found


def test_a_long_value_is_truncated():
    (found,) = changed_settings(recipe(), recipe(table={"document": "{title} " + "and so on " * 20}))
    assert found == 'table.document: "{title}" before, now "{title} and so on and so on and so on and so on and so o...'


def test_defaults_that_an_earlier_papertune_did_not_write_are_no_change():
    earlier = "\n".join(line for line in recipe().splitlines() if "dev_rows" not in line)
    assert changed_settings(earlier, recipe()) == []


def test_a_recipe_that_cannot_be_read_any_more_is_another_one():
    assert changed_settings("depth = 3", recipe()) == ["recipe: other settings than before"]


@pytest.mark.parametrize(
    ("now", "found"),
    [
        ({}, []),
        ({"tables": ["b"]}, ["training tables: other rows than before"]),
        ({"tables": ["a", "b"]}, ["training tables: 1 before, now 2"]),
        ({"dev": ["c"]}, ["dev tables: 0 before, now 1"]),
        ({"base": "x"}, ["model: other weights than before"]),
        ({"base": None}, []),
        ({"processes": 2}, ["number of processes: 1 before, now 2"]),
        ({"runs": ["other"]}, ["start or reward run: other weights than before"]),
    ],
)
def test_what_differs_beside_the_recipe_is_named(now, found):
    assert training_changes(PLAN, {**PLAN, **now}) == found

import math

import pytest

from papertune.evaluation.checks.review import confident_mistakes, judged_rows, least_sure
from papertune.evaluation.predictions import Answers
from papertune.recipe import load_recipe
from papertune.tables import read_table

RECIPE = {
    "model": "m",
    "table": {"id": "uuid", "document": "{title}"},
    "columns": {
        "label": {"kind": "label", "question": "?", "labels": ["1", "0"]},
        "Keywords": {"kind": "keywords", "question": "Which?"},
    },
}


@pytest.fixture
def table():
    labels = ["1", "1.0", "0", "0", "", "1"]
    return read_table([{"uuid": f"p{row}", "title": f"t{row}", "label": label} for row, label in enumerate(labels)])


def test_mistakes_and_unsure_rows(table):
    answers = Answers(
        ["1", "0", "1", "0", "1", ""],
        [[0.9, 0.1], [0.2, 0.8], [0.95, 0.05], [0.45, 0.55], [0.9, 0.1], [0.5, 0.5]],
    )
    rows = list(judged_rows(answers, table, load_recipe(RECIPE), "label"))
    # The row without a label and the one without an answer are no mistakes.
    assert [judged.row.id for (judged,) in rows] == ["p0", "p1", "p2", "p3"]
    wrong = confident_mistakes(rows)
    assert [(row.id, row.document, row.given, row.said) for row in wrong] == [
        ("p2", "t2", "0", "1"),
        ("p1", "t1", "1", "0"),
    ]
    assert (wrong[0].said_probability, wrong[0].given_probability) == (0.95, 0.05)
    assert [row.id for row in least_sure(rows)] == ["p3", "p1", "p0", "p2"]
    assert [row.id for row in least_sure(rows, 1)] == ["p3"]
    assert len(confident_mistakes(rows, 1)) == 1


def test_rows_without_an_answer_are_those_that_it_is_least_sure_of(table):
    answers = Answers(
        ["1", "1", "1", "0", "1", "0"],
        [[0.9, 0.1], [0.55, 0.45], [0.52, 0.48], [0.2, 0.8], [0.9, 0.1], [0.49, 0.51]],
        withheld=[False, True, True, False, True, True],
    )
    rows = list(judged_rows(answers, table, load_recipe(RECIPE), "label"))
    assert [(row.id, row.said, row.withheld) for row in least_sure(rows, 4)] == [
        ("p5", "0", True),
        ("p2", "1", True),
        ("p1", "1", True),
        ("p3", "0", False),
    ]
    assert confident_mistakes(rows) == []  # p2 and p5 would be wrong


def test_without_probabilities_or_labels_there_is_nothing_to_show(table):
    recipe = load_recipe(RECIPE)
    assert list(judged_rows(Answers(["1"] * 6), table, recipe, "label")) == []
    assert list(judged_rows(Answers(["1"] * 6, [[]] * 6), table, recipe, "label")) == []
    assert list(judged_rows(Answers(["a"] * 6), table, recipe, "Keywords")) == []


def test_rows_are_named_by_place_without_ids():
    table = read_table([{"title": "a", "label": "1"}, {"title": "b", "label": "0"}])
    recipe = load_recipe({**RECIPE, "table": {"document": "{title}"}})
    rows = list(judged_rows(Answers(["1", "1"], [[0.6, 0.4], [0.7, 0.3]]), table, recipe, "label"))
    assert [judged.row.id for (judged,) in rows] == ["row 1", "row 2"]


TOPICS = {"kind": "labels", "question": "About {label}?", "labels": ["heart", "brain"]}


def topics(cells, **settings):
    recipe = load_recipe({**RECIPE, "columns": {"topics": {**TOPICS, **settings}}})
    rows = [{"uuid": f"p{row}", "title": f"t{row}", "topics": cell} for row, cell in enumerate(cells)]
    return read_table(rows), recipe


def test_each_label_of_a_labels_column_is_judged():
    table, recipe = topics(["heart", "heart; brain", "", "brain"])
    nan = float("nan")
    answers = Answers(["heart", "", "heart", ""], [[0.9, 0.3], [0.2, 0.4], [0.6, 0.45], [0.1, nan]])
    rows = list(judged_rows(answers, table, recipe, "topics"))
    assert [[(each.row.given, each.row.said) for each in row] for row in rows] == [
        [("heart", "heart"), ("not brain", "not brain")],
        [("heart", "not heart"), ("brain", "not brain")],
        [("not heart", "heart"), ("not brain", "not brain")],
        [("not heart", "not heart")],  # whether it is about the brain was not asked
    ]
    # The surest wrong label of a paper stands for it.
    assert [(row.id, row.said, row.said_probability, row.given_probability) for row in confident_mistakes(rows)] == [
        ("p1", "not heart", 0.8, 0.2),
        ("p2", "heart", 0.6, 0.4),
    ]
    unsure = least_sure(rows, 2)
    assert [(row.id, row.said, row.said_probability) for row in unsure] == [
        ("p2", "not brain", 0.55),
        ("p1", "not brain", 0.6),
    ]


def test_how_sure_a_label_is_depends_on_its_threshold():
    table, recipe = topics(["heart", "", "brain", ""], thresholds={"heart": 0.05, "brain": 0.5})
    answers = Answers(["heart", "", "brain", "heart"], [[0.3, 0.1], [0.049, 0.1], [0.01, 0.9], [0.4, 0.1]])
    rows = list(judged_rows(answers, table, recipe, "topics"))
    assert [row.id for row in least_sure(rows)] == ["p1", "p2", "p0", "p3"]
    # At 0.4 it is surer that there is a heart than another would be at 0.6 with a threshold of 0.5.
    assert [(row.id, row.said) for row in confident_mistakes(rows)] == [("p3", "heart")]
    assert math.isclose(rows[3][0].sureness, math.log(0.4 / 0.6) - math.log(0.05 / 0.95))

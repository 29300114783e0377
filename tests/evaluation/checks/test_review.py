import math

import pytest

from papertune.evaluation.checks.review import confident_errors, uncertain_rows
from papertune.kinds.predictions import Predictions
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


def judged(predictions, table, recipe, name):
    return list(recipe.columns[name].judged(predictions, table, recipe, name))


@pytest.fixture
def table():
    labels = ["1", "1.0", "0", "0", "", "1"]
    return read_table([{"uuid": f"p{row}", "title": f"t{row}", "label": label} for row, label in enumerate(labels)])


def test_confident_errors_and_uncertain_rows(table):
    predictions = Predictions(
        ["1", "0", "1", "0", "1", ""],
        [[0.9, 0.1], [0.2, 0.8], [0.95, 0.05], [0.45, 0.55], [0.9, 0.1], [0.5, 0.5]],
    )
    rows = judged(predictions, table, load_recipe(RECIPE), "label")
    # Rows without a gold label or without a prediction are not errors.
    assert [each.row.id for (each,) in rows] == ["p0", "p1", "p2", "p3"]
    wrong = confident_errors(rows)
    assert [(row.id, row.document, row.gold, row.predicted) for row in wrong] == [
        ("p2", "t2", "0", "1"),
        ("p1", "t1", "1", "0"),
    ]
    assert (wrong[0].predicted_probability, wrong[0].gold_probability) == (0.95, 0.05)
    assert [row.id for row in uncertain_rows(rows)] == ["p3", "p1", "p0", "p2"]
    assert [row.id for row in uncertain_rows(rows, 1)] == ["p3"]
    assert len(confident_errors(rows, 1)) == 1


def test_abstained_rows_are_uncertain_and_are_not_errors(table):
    predictions = Predictions(
        ["1", "1", "1", "0", "1", "0"],
        [[0.9, 0.1], [0.55, 0.45], [0.52, 0.48], [0.2, 0.8], [0.9, 0.1], [0.49, 0.51]],
        abstained=[False, True, True, False, True, True],
    )
    rows = judged(predictions, table, load_recipe(RECIPE), "label")
    assert [(row.id, row.predicted, row.abstained) for row in uncertain_rows(rows, 4)] == [
        ("p5", "0", True),
        ("p2", "1", True),
        ("p1", "1", True),
        ("p3", "0", False),
    ]
    assert confident_errors(rows) == []  # p2 and p5 would be wrong


def test_nothing_is_judged_without_probabilities_or_labels(table):
    recipe = load_recipe(RECIPE)
    assert judged(Predictions(["1"] * 6), table, recipe, "label") == []
    assert judged(Predictions(["1"] * 6, [[]] * 6), table, recipe, "label") == []
    assert judged(Predictions(["a"] * 6), table, recipe, "Keywords") == []


def test_rows_without_ids_are_named_by_their_number():
    table = read_table([{"title": "a", "label": "1"}, {"title": "b", "label": "0"}])
    recipe = load_recipe({**RECIPE, "table": {"document": "{title}"}})
    rows = judged(Predictions(["1", "1"], [[0.6, 0.4], [0.7, 0.3]]), table, recipe, "label")
    assert [each.row.id for (each,) in rows] == ["row 1", "row 2"]


TOPICS = {"kind": "labels", "question": "About {label}?", "labels": ["heart", "brain"]}


def topics(cells, **settings):
    recipe = load_recipe({**RECIPE, "columns": {"topics": {**TOPICS, **settings}}})
    rows = [{"uuid": f"p{row}", "title": f"t{row}", "topics": cell} for row, cell in enumerate(cells)]
    return read_table(rows), recipe


def test_each_label_of_a_labels_column_is_judged():
    table, recipe = topics(["heart", "heart; brain", "", "brain"])
    nan = float("nan")
    predictions = Predictions(["heart", "", "heart", ""], [[0.9, 0.3], [0.2, 0.4], [0.6, 0.45], [0.1, nan]])
    rows = judged(predictions, table, recipe, "topics")
    assert [[(each.row.gold, each.row.predicted) for each in row] for row in rows] == [
        [("heart", "heart"), ("not brain", "not brain")],
        [("heart", "not heart"), ("brain", "not brain")],
        [("not heart", "heart"), ("not brain", "not brain")],
        [("not heart", "not heart")],  # the label brain was not asked about
    ]
    # The most confident wrong label stands for its paper.
    assert [
        (row.id, row.predicted, row.predicted_probability, row.gold_probability) for row in confident_errors(rows)
    ] == [
        ("p1", "not heart", 0.8, 0.2),
        ("p2", "heart", 0.6, 0.4),
    ]
    uncertain = uncertain_rows(rows, 2)
    assert [(row.id, row.predicted, row.predicted_probability) for row in uncertain] == [
        ("p2", "not brain", 0.55),
        ("p1", "not brain", 0.6),
    ]


def test_confidence_in_a_label_depends_on_its_threshold():
    table, recipe = topics(["heart", "", "brain", ""], thresholds={"heart": 0.05, "brain": 0.5})
    predictions = Predictions(["heart", "", "brain", "heart"], [[0.3, 0.1], [0.049, 0.1], [0.01, 0.9], [0.4, 0.1]])
    rows = judged(predictions, table, recipe, "topics")
    assert [row.id for row in uncertain_rows(rows)] == ["p1", "p2", "p0", "p3"]
    # 0.4 with the threshold 0.05 is more confident than 0.6 with the threshold 0.5.
    assert [(row.id, row.predicted) for row in confident_errors(rows)] == [("p3", "heart")]
    assert math.isclose(rows[3][0].confidence, math.log(0.4 / 0.6) - math.log(0.05 / 0.95))

import random

import numpy as np
from hypothesis import given
from hypothesis import strategies as st

from papertune.evaluation.checks.label_errors import (
    MIN_ROWS,
    cross_validated,
    cross_validated_sets,
    find_doubted_rows,
    find_in_labels,
    find_in_sets,
)
from papertune.evaluation.report import ColumnReport, with_rows_to_look_at
from papertune.kinds import LabelsColumn
from papertune.kinds.labels.matrix import MAX_LABELS_CHECKED
from papertune.kinds.predictions import Predictions
from papertune.recipe import load_recipe
from papertune.tables import read_table

TOPICS = {
    "1": ["tumour", "patient", "dose", "clinic", "nurse", "fever"],
    "0": ["graph", "steel", "bridge", "solder", "orbit", "cobalt"],
}


def find_label_errors(table, recipe, name, **options):
    column = recipe.columns[name]
    find = find_in_sets if isinstance(column, LabelsColumn) else find_in_labels
    return find(table, recipe, name, column, **options)


def recipe(labels=("1", "0")):
    return load_recipe(
        {
            "model": "m",
            "table": {"id": "uuid", "document": "{title}"},
            "columns": {"label": {"kind": "label", "question": "?", "labels": list(labels)}},
        }
    )


def rows(count, wrong=()):
    rng = random.Random(0)
    made = []
    for row in range(count):
        label = "10"[row % 2]
        title = " ".join(rng.choices(TOPICS[label], k=12))
        made.append({"uuid": f"p{row}", "title": title, "label": "01"[row % 2] if row in wrong else label})
    return read_table(made)


def doubted_by_loops(probabilities, gold_ids):
    """Compute `find_doubted_rows` with loops, from the equations of the paper."""
    labels = len(probabilities[0])
    thresholds = []
    for label in range(labels):
        own = [row[label] for row, gold in zip(probabilities, gold_ids, strict=True) if gold == label]
        thresholds.append(sum(own) / len(own) if own else float("inf"))
    doubted = {}
    for row, gold in enumerate(gold_ids):
        confident = [label for label in range(labels) if probabilities[row][label] >= thresholds[label] - 1e-12]
        if confident:
            suggested = max(confident, key=lambda label: probabilities[row][label])
            if probabilities[row][suggested] > probabilities[row][gold]:
                doubted[row] = suggested
    return doubted


@st.composite
def some_rows(draw):
    """Draw rows of (gold label, weight of each label)."""
    labels = draw(st.integers(2, 4))
    weights = st.lists(st.integers(1, 50), min_size=labels, max_size=labels)
    return draw(st.lists(st.tuples(st.integers(0, labels - 1), weights), min_size=1, max_size=20))


@given(some_rows())
def test_doubted_rows_agree_with_the_equations(made):
    gold_ids = np.array([gold for gold, _ in made])
    probabilities = np.array([weights for _, weights in made], dtype=np.float64) + np.arange(len(made[0][1])) * 1e-6
    probabilities /= probabilities.sum(axis=1, keepdims=True)
    found, suggested = find_doubted_rows(probabilities, gold_ids)
    by_row = dict(zip(found.tolist(), suggested.tolist(), strict=True))
    assert by_row == doubted_by_loops(probabilities.tolist(), gold_ids)
    lead = probabilities[found, suggested] - probabilities[found, gold_ids[found]]
    assert np.all(np.diff(lead) <= 0)


def test_wrong_labels_are_found():
    wrong = {3, 40, 77}
    found = find_label_errors(rows(120, wrong), recipe(), "label")
    assert found.rows == 120
    assert found.table == "list of rows"
    assert {row.id for row in found.candidates[:3]} == {f"p{row}" for row in wrong}
    assert found.doubted == len(found.candidates) == 3
    first = found.candidates[0]
    assert first.gold != first.predicted
    assert first.predicted_probability > 0.5 > first.gold_probability
    assert len(find_label_errors(rows(120, wrong), recipe(), "label", count=1).candidates) == 1


def test_correct_labels_are_not_doubted():
    assert find_label_errors(rows(80), recipe(), "label").candidates == []


def test_few_rows_or_a_single_label_are_not_checked():
    assert find_label_errors(rows(MIN_ROWS), recipe(), "label") is not None
    assert find_label_errors(rows(MIN_ROWS - 1), recipe(), "label") is None
    same = read_table([{"uuid": str(row), "title": "t", "label": "1"} for row in range(60)])
    assert find_label_errors(same, recipe(), "label") is None


def test_labels_without_training_rows_have_probability_0():
    texts = [" ".join(TOPICS["10"[row % 2]]) for row in range(50)]
    given_labels = ["10"[row % 2] for row in range(49)] + ["rare"]
    probabilities = cross_validated(texts, given_labels, ["1", "0", "rare", "never"])
    assert probabilities.shape == (50, 4)
    assert np.allclose(probabilities.sum(axis=1), 1)
    assert np.all(probabilities[:, 3] == 0)
    assert probabilities[49, 2] == 0  # no other row has this label


def sets(labels=("medical", "technical", "other")):
    return load_recipe(
        {
            "model": "m",
            "table": {"id": "uuid", "document": "{title}"},
            "columns": {"topics": {"kind": "labels", "question": "About {label}?", "labels": list(labels)}},
        }
    )


def set_rows(count, wrong=()):
    """Return titles about one topic, both or none; `wrong` has pairs of a row and the label that is wrong there."""
    rng = random.Random(0)
    made = []
    for row in range(count):
        topics = {"medical": row % 2 == 0, "technical": row % 3 == 0}
        words = [word for topic, key in (("medical", "1"), ("technical", "0")) if topics[topic] for word in TOPICS[key]]
        title = " ".join([*rng.choices(words or ["about", "something", "else"], k=12), "paper"])
        given = [topic for topic, has in topics.items() if has != ((row, topic) in wrong)]
        made.append({"uuid": f"p{row}", "title": title, "topics": "; ".join(given)})
    return made


def test_wrong_labels_of_a_labels_column_are_found():
    wrong = {(4, "medical"), (11, "medical"), (9, "technical")}
    found = find_label_errors(read_table(set_rows(120, wrong)), sets(), "topics")
    assert (found.table, found.rows, list(found.labels)) == ("list of rows", 120, ["medical", "technical"])
    assert found.checked == 240
    wrong_rows = {(row.id, row.gold, row.predicted) for row in found.candidates[:3]}
    assert wrong_rows == {
        ("p4", "not medical", "medical"),  # 4 is even, and the table says that it is not medical
        ("p11", "medical", "not medical"),
        ("p9", "not technical", "technical"),
    }
    assert found.doubted == 3
    leads = [row.predicted_probability - row.gold_probability for row in found.candidates]
    assert leads == sorted(leads, reverse=True)
    assert all(row.predicted_probability + row.gold_probability == 1 for row in found.candidates)
    assert len(find_label_errors(read_table(set_rows(120, wrong)), sets(), "topics", count=1).candidates) == 1


def test_a_labels_column_of_one_label_agrees_with_a_label_column_of_two():
    made = set_rows(90, {(4, "medical"), (11, "medical")})
    for row in made:
        row["topics"] = "medical" if "medical" in row["topics"] else ""
        row["label"] = "1" if row["topics"] else "0"
    in_sets = find_label_errors(read_table(made), sets(["medical"]), "topics")
    alone = find_label_errors(read_table(made), recipe(), "label")
    assert in_sets.doubted == alone.doubted == 2
    assert [row.id for row in in_sets.candidates] == [row.id for row in alone.candidates]
    probabilities = [[row.predicted_probability for row in found.candidates] for found in (in_sets, alone)]
    assert np.allclose(probabilities[0], probabilities[1])
    assert in_sets.checked == alone.checked == alone.rows == 90


def test_instruction_entries_about_one_label_are_grouped_by_paper():
    papers = set_rows(60, {(4, "medical")})
    entries = [
        {
            "instruction": f"About {label}?",
            "input": row["title"],
            "output": "yes" if label in row["topics"].split("; ") else "no",
        }
        for row in papers
        for label in ("medical", "technical", "other")
    ]
    asked = find_label_errors(read_table(entries), sets(), "topics")
    plain = find_label_errors(read_table(papers), sets(), "topics")
    assert (asked.rows, asked.doubted, asked.labels) == (plain.rows, plain.doubted, plain.labels)
    assert [(row.document, row.gold) for row in asked.candidates] == [
        (row.document, row.gold) for row in plain.candidates
    ]
    assert asked.candidates[0].id == "row 13"  # the first of the paper's three
    # Papers without an entry for each label are not checked.
    assert find_label_errors(read_table(entries[1::3]), sets(), "topics") is None


def test_labels_columns_with_few_rows_or_no_labels_are_not_checked():
    assert find_label_errors(read_table(set_rows(MIN_ROWS - 1)), sets(), "topics") is None
    assert find_label_errors(read_table([{**row, "topics": ""} for row in set_rows(60)]), sets(), "topics") is None
    assert find_label_errors(read_table([{"uuid": "a", "title": "t"}]), sets(), "topics") is None


def test_only_the_most_frequent_labels_are_checked(monkeypatch):
    labels = [f"l{number}" for number in range(MAX_LABELS_CHECKED + 2)]
    made = [{"uuid": str(row), "title": "t", "topics": "; ".join(labels[row % 20 :])} for row in range(60)]
    monkeypatch.setattr(
        "papertune.evaluation.checks.label_errors.cross_validated_sets", lambda _, has: np.full(has.shape, 0.5)
    )
    found = find_label_errors(read_table(made), sets(labels), "topics")
    assert found.labels == labels[:1:-1]
    assert found.doubted == 0


def test_probabilities_of_a_row_come_from_models_trained_without_it():
    has = np.array([[row % 2 == 0, row == 0] for row in range(40)])
    texts = [" ".join(TOPICS["10"[row % 2]]) for row in range(40)]
    found = cross_validated_sets(texts, has)
    assert found.shape == (40, 2)
    assert np.array_equal(found[:, 0] > 0.5, has[:, 0])
    assert found[0, 1] == 0  # no other row has this label


def test_review_rows_are_added_to_a_labels_column():
    column = ColumnReport("topics", "labels", "?", [])
    table = read_table(set_rows(60, {(4, "medical")}))
    full = with_rows_to_look_at(column, Predictions(["medical"] * 60, [[0.9, 0.1, 0.1]] * 60), table, None, sets())
    # Each paper has one line in each list, the first ten of equals.
    assert len(full.confident_errors) == len(full.uncertain_rows) == 10
    assert {(row.gold, row.predicted) for row in full.confident_errors} == {("not medical", "medical")}
    assert [row.id for row in full.uncertain_rows] == [f"p{number}" for number in range(10)]
    assert [row.id for row in full.label_errors.candidates] == ["p4"]


def test_review_rows_are_added_to_a_label_column():
    train, scored = rows(120, {3, 40}), rows(60, {5})
    answers = Predictions(
        ["10"[row % 2] for row in range(60)], [[0.9, 0.1] if row % 2 == 0 else [0.3, 0.7] for row in range(60)]
    )
    column = ColumnReport("label", "label", "?", [])
    full = with_rows_to_look_at(column, answers, scored, train, recipe())
    assert [row.id for row in full.confident_errors] == ["p5"]
    assert [row.id for row in full.uncertain_rows[:2]] == ["p1", "p3"]
    assert {row.id for row in full.label_errors.candidates} == {"p3", "p40"}
    alone = with_rows_to_look_at(column, answers, scored, None, recipe())
    assert [row.id for row in alone.label_errors.candidates] == ["p5"]
    # In a training table without the column no labels are checked.
    without = read_table([{"uuid": "a", "title": "t"}])
    assert with_rows_to_look_at(column, answers, scored, without, recipe()) == alone


def test_review_rows_are_not_added_to_a_keywords_column():
    keywords = load_recipe(
        {"model": "m", "table": {"document": "{title}"}, "columns": {"Keywords": {"kind": "keywords", "question": "?"}}}
    )
    column = ColumnReport("Keywords", "keywords", "?", [])
    assert with_rows_to_look_at(column, Predictions([""]), rows(1), None, keywords) == column

import random

import numpy as np
from hypothesis import given
from hypothesis import strategies as st

from papertune.config import load_recipe
from papertune.evaluation.answers import Answers
from papertune.evaluation.label_noise import LEAST_ROWS, cross_validated, doubted_rows, find_label_noise
from papertune.evaluation.report import ColumnReport, with_rows_to_look_at
from papertune.tables import read_table

TOPICS = {
    "1": ["tumour", "patient", "dose", "clinic", "nurse", "fever"],
    "0": ["graph", "steel", "bridge", "solder", "orbit", "cobalt"],
}


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


def plain_doubted(probabilities, given_ids):
    """The same by loops, from the paper's equations."""
    labels = len(probabilities[0])
    thresholds = []
    for label in range(labels):
        own = [row[label] for row, wanted in zip(probabilities, given_ids, strict=True) if wanted == label]
        thresholds.append(sum(own) / len(own) if own else float("inf"))
    doubted = {}
    for row, wanted in enumerate(given_ids):
        confident = [label for label in range(labels) if probabilities[row][label] >= thresholds[label] - 1e-12]
        if confident:
            likely = max(confident, key=lambda label: probabilities[row][label])
            if probabilities[row][likely] > probabilities[row][wanted]:
                doubted[row] = likely
    return doubted


@st.composite
def some_rows(draw):
    """Rows of (given label, weight of each label)."""
    labels = draw(st.integers(2, 4))
    weights = st.lists(st.integers(1, 50), min_size=labels, max_size=labels)
    return draw(st.lists(st.tuples(st.integers(0, labels - 1), weights), min_size=1, max_size=20))


@given(some_rows())
def test_doubted_rows_are_those_of_the_equations(made):
    given_ids = np.array([wanted for wanted, _ in made])
    probabilities = np.array([weights for _, weights in made], dtype=np.float64) + np.arange(len(made[0][1])) * 1e-6
    probabilities /= probabilities.sum(axis=1, keepdims=True)
    found, likely = doubted_rows(probabilities, given_ids)
    assert dict(zip(found.tolist(), likely.tolist(), strict=True)) == plain_doubted(probabilities.tolist(), given_ids)
    lead = probabilities[found, likely] - probabilities[found, given_ids[found]]
    assert np.all(np.diff(lead) <= 0)


def test_turned_labels_are_found():
    wrong = {3, 40, 77}
    found = find_label_noise(rows(120, wrong), recipe(), "label")
    assert found.rows == 120
    assert found.table == "list of rows"
    assert {row.id for row in found.candidates[:3]} == {f"p{row}" for row in wrong}
    assert found.doubted == len(found.candidates) == 3
    first = found.candidates[0]
    assert first.given != first.said
    assert first.said_probability > 0.5 > first.given_probability
    assert len(find_label_noise(rows(120, wrong), recipe(), "label", count=1).candidates) == 1


def test_nothing_is_doubted_without_reason():
    assert find_label_noise(rows(80), recipe(), "label").candidates == []


def test_few_rows_or_one_label_allow_no_doubt():
    assert find_label_noise(rows(LEAST_ROWS), recipe(), "label") is not None
    assert find_label_noise(rows(LEAST_ROWS - 1), recipe(), "label") is None
    same = read_table([{"uuid": str(row), "title": "t", "label": "1"} for row in range(60)])
    assert find_label_noise(same, recipe(), "label") is None


def test_labels_of_few_rows_and_no_rows():
    texts = [" ".join(TOPICS["10"[row % 2]]) for row in range(50)]
    given_labels = ["10"[row % 2] for row in range(49)] + ["rare"]
    probabilities = cross_validated(texts, given_labels, ["1", "0", "rare", "never"])
    assert probabilities.shape == (50, 4)
    assert np.allclose(probabilities.sum(axis=1), 1)
    assert np.all(probabilities[:, 3] == 0)
    assert probabilities[49, 2] == 0  # no other row has this label


def test_rows_to_look_at_are_added_to_a_label_column():
    learnt, scored = rows(120, {3, 40}), rows(60, {5})
    answers = Answers(
        ["10"[row % 2] for row in range(60)], [[0.9, 0.1] if row % 2 == 0 else [0.3, 0.7] for row in range(60)]
    )
    column = ColumnReport("label", "label", "?", [])
    full = with_rows_to_look_at(column, answers, scored, learnt, recipe())
    assert [row.id for row in full.mistakes] == ["p5"]
    assert [row.id for row in full.unsure[:2]] == ["p1", "p3"]
    assert {row.id for row in full.noise.candidates} == {"p3", "p40"}
    alone = with_rows_to_look_at(column, answers, scored, None, recipe())
    assert [row.id for row in alone.noise.candidates] == ["p5"]
    # A table to learn from that lacks the column says nothing about its labels.
    without = read_table([{"uuid": "a", "title": "t"}])
    assert with_rows_to_look_at(column, answers, scored, without, recipe()) == alone


def test_a_column_of_another_kind_stays_as_it_is():
    keywords = load_recipe(
        {"model": "m", "table": {"document": "{title}"}, "columns": {"Keywords": {"kind": "keywords", "question": "?"}}}
    )
    column = ColumnReport("Keywords", "keywords", "?", [])
    assert with_rows_to_look_at(column, Answers([""]), rows(1), None, keywords) is column

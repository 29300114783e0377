import random
import re

import pytest

from papertune.evaluation.checks.shortcuts import MAX_ROWS, MIN_ROWS, find_surface_feature

SURNAMES = ["Okafor", "Lindqvist", "Marchetti", "Yamada", "Petrov", "Nguyen", "Haddad", "Costa", "Weiss", "Sato"]
GIVEN = ["Ada", "Bo", "Carla", "Dmitri", "Elena", "Femi", "Grace", "Hugo", "Ines", "Jun"]
WORDS = ["cell", "graph", "tumour", "model", "steel", "patient", "algorithm", "dose", "bridge", "protein"]


def rows(count=200, seed=0):
    rng = random.Random(seed)
    return rng, [rng.choice("10") for _ in range(count)]


def sentence(rng, words=30):
    return " ".join(rng.choices(WORDS, k=words)).capitalize() + "."


def test_two_formats_of_names_are_a_shortcut():
    rng, labels = rows()

    def authors(label):
        people = [(rng.choice(GIVEN), rng.choice(SURNAMES)) for _ in range(rng.randint(1, 6))]
        if label == "1":
            return ",".join(f"{given} {surname}" for given, surname in people * 2)
        return "; ".join(f"{surname}, {given}" for given, surname in people)

    found = find_surface_feature([authors(label) for label in labels], labels)
    assert found.accuracy > 0.98
    assert found.majority == pytest.approx(max(labels.count("1"), labels.count("0")) / len(labels))
    # Repeats and semicolons predict nearly as well, but two people of label 0 may share a given name.
    assert found.name == "format"
    count = labels.count("1")
    assert f"{count} of {count} rows are 1" in found.split


def test_format_is_found_if_no_count_differs():
    rng, labels = rows()
    cells = [
        f"{rng.choice(SURNAMES)}, {rng.choice(GIVEN)[0]}."
        if label == "1"
        else f"{rng.choice(SURNAMES)},{rng.choice(GIVEN)[0]}"
        for label in labels
    ]
    found = find_surface_feature([f"{cell}{'x' * rng.randint(1, 9)}" for cell in cells], labels)
    assert found.name == "format"
    assert found.accuracy == 1
    assert "in it, where a, Aa and A are words and 9 is a number, " in found.split


def test_publishers_notice_is_found_at_the_end_of_long_texts():
    rng, labels = rows()
    cells = [
        sentence(rng, rng.randint(60, 90)) + (" (C) 2021 Elsevier Ltd." * (label == "0" and rng.random() < 0.8))
        for label in labels
    ]
    found = find_surface_feature(
        [cell.replace("(C) 2021", rng.choice(["(C) 2021", "Published by"])) for cell in cells], labels
    )
    assert found.name == "publisher's notice"
    assert found.accuracy == pytest.approx(0.9, abs=0.05)
    assert "rows are 0; without it, " in found.split


@pytest.mark.parametrize(
    ("name", "cell"),
    [
        ("length in characters", lambda rng, label: "word" * (rng.randint(1, 9) + (10 if label == "1" else 0))),
        (
            "number of commas",
            lambda rng, label: rng.choice(["a,bb", "aaa,b"]) if label == "1" else rng.choice(["aa.b", "a.bbb", "ab.b"]),
        ),
        ("value as a number", lambda rng, label: str(rng.randint(1000, 4000) + (5000 if label == "1" else 0))),
        (
            "content as a whole",
            lambda rng, label: rng.choice(["Lancet", "Cancer"] if label == "1" else ["Nature", "Solder"]),
        ),
    ],
)
def test_each_feature_is_found(name, cell):
    rng, labels = rows()
    found = find_surface_feature([cell(rng, label) for label in labels], labels)
    assert found.name == name
    assert found.accuracy > 0.95


def test_being_a_number_is_a_feature():
    rng, labels = rows()
    counts = {label: f"{labels.count(label)} of {labels.count(label)} rows are {label}" for label in "10"}
    # Texts of one length: only whether the cell is a number predicts the label.
    cells = [str(rng.randint(1000, 9999)) if label == "1" else f"{rng.randint(1000, 9999)}."[1:] for label in labels]
    found = find_surface_feature(cells, labels)
    assert (found.name, found.accuracy) == ("value as a number", 1)
    assert found.split == f"Where it is a number, {counts['1']}; elsewhere, {counts['0']}."


@pytest.mark.parametrize("high", ["1", "0"])
def test_cells_that_are_not_numbers_join_the_numbers_of_the_same_label(high):
    rng, labels = rows()

    def cell(label):
        if label == "1" and rng.random() < 0.5:
            return "none"
        return str(rng.randint(5000, 9000) if label == high else rng.randint(1000, 4000))

    cells = [cell(label) for label in labels]
    found = find_surface_feature(cells, labels)
    assert (found.name, found.accuracy) == ("value as a number", 1)
    counts = {label: f"{labels.count(label)} of {labels.count(label)} rows are {label}" for label in "10"}
    where = "Above 4" + (r"\d+(\.5)? or where it is not a number" if high == "1" else r"\d+(\.5)?")
    assert re.fullmatch(rf"{where}, {counts[high]}; otherwise, {counts['10'[high == '1']]}\.", found.split), found.split


def test_chinese_punctuation_is_counted():
    rng, labels = rows()
    cells = [
        "，".join(rng.choices("张王李赵", k=2)) if label == "1" else "；".join(rng.choices("张王李赵", k=2))
        for label in labels
    ]
    assert find_surface_feature(cells, labels).name == "number of commas"


def test_the_topic_of_a_text_is_not_a_shortcut():
    rng, labels = rows(400)
    about = {"1": ["tumour", "patient", "dose"], "0": ["graph", "steel", "bridge"]}
    cells = [" ".join(rng.choices(about[label] + WORDS, k=rng.randint(20, 40))) for label in labels]
    assert find_surface_feature(cells, labels) is None
    assert find_surface_feature([""] * 400, labels) is None
    assert find_surface_feature([str(number) for number in range(400)], labels) is None


def test_chance_is_not_a_shortcut():
    for seed in range(8):
        rng, labels = rows(MIN_ROWS, seed)
        assert find_surface_feature([sentence(rng, rng.randint(5, 50)) for _ in labels], labels) is None


def test_few_rows_or_a_single_label_have_no_shortcut():
    cells = [str(number % 2) for number in range(MIN_ROWS)]
    assert find_surface_feature(cells, cells).accuracy == 1
    assert find_surface_feature(cells[1:], cells[1:]) is None
    assert find_surface_feature(cells, ["1"] * MIN_ROWS) is None
    # A label of four rows cannot be in each of the five folds; the other labels are still examined.
    assert find_surface_feature([*cells, *"2222"], [*cells, *"2222"]).accuracy == 1


def test_large_tables_are_sampled():
    labels = [str(number % 2) for number in range(MAX_ROWS + 1000)]
    found = find_surface_feature(labels, labels)
    assert found.accuracy == 1
    assert sum(int(rows.replace(",", "")) for rows in re.findall(r"of ([\d,]+) rows", found.split)) == MAX_ROWS
    assert found == find_surface_feature(labels, labels)


def test_numbers_of_cells_and_labels_must_agree():
    with pytest.raises(ValueError, match="2 cells, but 1 labels"):
        find_surface_feature(["a", "b"], ["1"])

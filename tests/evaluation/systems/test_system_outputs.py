import json

import pytest

from papertune.evaluation.predictions import score_predictions
from papertune.evaluation.systems.outputs import SystemOutput, TrainingRows, compare_outputs, training_rows
from papertune.kinds.predictions import Predictions
from papertune.prompts.examples import RowReader
from papertune.recipe import load_recipe
from papertune.tables import read_table

RECIPE = load_recipe(
    {
        "table": {"document": "{text}"},
        "columns": {
            "label": {"kind": "label", "sources": ["model"], "question": "Medical?", "labels": ["1", "0"]},
            "Keywords": {"kind": "keywords", "question": "Keywords?", "output_separator": " | "},
        },
    }
)
TRAIN = read_table(
    [
        {"text": "patients with a tumour", "label": "1", "Keywords": "tumour"},
        {"text": "a tumour of patients", "label": "1.0", "Keywords": ""},
        {"text": "an energy gap of the lattice", "label": "0", "Keywords": "energy gap; lattice"},
        {"text": "the lattice energy", "label": "0", "Keywords": ""},
    ]
)
TEST = read_table(
    [
        {"text": "the tumour grows", "label": "1", "Keywords": "tumour"},
        {"text": "the lattice vibrates", "label": "0", "Keywords": "lattice"},
        {"text": "patients sleep", "label": "1", "Keywords": "x"},
        {"text": "gap years", "label": "1", "Keywords": "y"},
    ]
)


def test_rows_without_a_gold_answer_are_left_out():
    assert training_rows(TRAIN, RECIPE, "label").answers == ["1", "1", "0", "0"]  # 1.0 is tidied
    known = training_rows(TRAIN, RECIPE, "Keywords")
    assert known.documents == ["patients with a tumour", "an energy gap of the lattice"]
    assert known.answers == ["tumour", "energy gap; lattice"]


def test_baselines_report_their_cost():
    documents = TEST.column("text")
    known = training_rows(TRAIN, RECIPE, "label")
    outputs = {name: fill(known, documents) for name, fill in RECIPE.columns["label"].baselines().items()}
    assert list(outputs) == ["TF-IDF + logistic regression", "ELAS u4", "majority"]
    tfidf, _, majority = outputs.values()
    assert tfidf.predictions.cells[:3] == ["1", "0", "1"]
    assert majority.predictions == Predictions(["1"] * 4)
    shared = ["energy", "lattice", "of", "patients", "the", "the lattice", "tumour"]  # terms of two training documents
    assert tfidf.trained_weights == len(shared) + 1
    assert majority.trained_weights == majority.training_s == 0
    (keywords,) = (fill(known, documents) for fill in RECIPE.columns["Keywords"].baselines().values())
    assert keywords.predictions.cells == ["tumour grows", "lattice vibrates", "patients sleep", "gap years"]
    assert keywords.rows_per_s > 0
    assert keywords.training_s >= 0


def test_a_system_output_survives_json():
    output = SystemOutput(Predictions(["1", ""], [[0.1, 0.9], []]), 1 / 3, 0.0, 7, "a note", "a prompt")
    assert SystemOutput.from_dict(json.loads(json.dumps(output.as_dict()))) == output
    assert SystemOutput.from_dict(json.loads(json.dumps(SystemOutput(Predictions(["1"])).as_dict()))) == SystemOutput(
        Predictions(["1"])
    )


def test_all_systems_are_compared_with_the_best_baseline():
    gold = RowReader(TEST, RECIPE)
    outputs = {
        "run": SystemOutput(Predictions(["1", "0", "1", "1"]), rows_per_s=2.0, note="n", prompt="p"),
        "weak": SystemOutput(Predictions(["0", "0", "0", "0"])),
        "strong": SystemOutput(Predictions(["1", "0", "1", "0"])),
        "prompted": SystemOutput(Predictions(["1", "1", "1", "1"])),
    }
    run, weak, strong, prompted = compare_outputs(outputs, ["weak", "strong"], gold, RECIPE, "label", 4)
    assert (run.rows_per_s, run.note, run.prompt, run.training_s) == (2.0, "n", "p", None)
    assert strong.paired is None
    assert [each.paired.difference for each in (run, weak, prompted)] == [0.25, -0.5, 0]
    assert run.scores == score_predictions({"label": outputs["run"].predictions}, gold, RECIPE, range(4))["label"]
    assert run.paired.may_be_noise


def test_rankings_are_compared_with_the_best_ranking_of_a_baseline():
    gold = RowReader(TEST, RECIPE)  # 1, 0, 1, 1

    def ranked(*scores, cells=("0", "0", "0", "0"), raw=None):
        pairs = [[score, 1 - score] for score in scores]
        return SystemOutput(Predictions(list(cells), pairs, raw and [[score, 1 - score] for score in raw]))

    outputs = {
        "run": ranked(0.5, 0.5, 0.5, 0.5, raw=(0.9, 0.1, 0.8, 0.7)),  # as after isotonic regression
        "accurate": ranked(0.1, 0.9, 0.2, 0.3, cells=("1", "0", "1", "0")),
        "ranking": ranked(0.9, 0.8, 0.7, 0.6),
        "majority": SystemOutput(Predictions(["1", "1", "1", "1"])),
        "SetFit": ranked(0.9, 0.1, 0.8, 0.7),  # better, but not a baseline
    }
    found = compare_outputs(outputs, ["accurate", "ranking", "majority"], gold, RECIPE, "label", 4)
    assert [each.name for each in found if each.paired is None] == ["accurate"]
    run, accurate, ranking, majority, other = found
    assert (ranking.paired_average_precision, majority.paired_average_precision) == (None, None)
    best = (1 + 2 / 3 + 3 / 4) / 3
    assert ranking.scores.average_precision == pytest.approx(best)
    assert run.paired_average_precision.difference == pytest.approx(1 - best)
    assert other.paired_average_precision == run.paired_average_precision
    assert accurate.paired_average_precision.difference == pytest.approx((1 / 2 + 2 / 3 + 3 / 4) / 3 - best)
    assert accurate.paired_average_precision.p_value is None


def test_without_baselines_or_gold_labels_nothing_is_compared():
    gold = RowReader(TEST, RECIPE)
    (alone,) = compare_outputs({"run": SystemOutput(Predictions(["1"] * 4))}, [], gold, RECIPE, "label", 4)
    assert alone.paired is None
    unlabelled = RowReader(read_table([{"text": "x"}]), RECIPE)
    assert compare_outputs({"run": SystemOutput(Predictions(["1"]))}, [], unlabelled, RECIPE, "label", 1) == []


def test_baselines_can_be_trained_on_one_label_only():
    known = TrainingRows(["a b", "c d"], ["1", "1"])
    tfidf = RECIPE.columns["label"].baselines()["TF-IDF + logistic regression"](known, ["e"])
    assert tfidf.predictions == Predictions(["1"], [pytest.approx([1, 0])])
    assert tfidf.trained_weights == 0

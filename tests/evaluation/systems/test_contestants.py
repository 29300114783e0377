import json

import pytest

from papertune.evaluation.predictions import Answers, score_answers
from papertune.evaluation.systems.contestants import Attempt, LearntRows, compared, learnt_rows, plain_baselines
from papertune.prompts.examples import RowReader
from papertune.recipe import load_recipe
from papertune.tables import read_table

RECIPE = load_recipe(
    {
        "table": {"document": "{text}"},
        "columns": {
            "label": {"kind": "label", "question": "Medical?", "labels": ["1", "0"]},
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


def test_rows_with_nothing_to_learn_are_left_out():
    assert learnt_rows(TRAIN, RECIPE, "label").answers == ["1", "1", "0", "0"]  # 1.0 is tidied
    known = learnt_rows(TRAIN, RECIPE, "Keywords")
    assert known.documents == ["patients with a tumour", "an energy gap of the lattice"]
    assert known.answers == ["tumour", "energy gap; lattice"]


def test_baselines_say_what_they_cost():
    documents = TEST.column("text")
    known = learnt_rows(TRAIN, RECIPE, "label")
    attempts = {name: fill(known, documents) for name, fill in plain_baselines(RECIPE.columns["label"]).items()}
    assert list(attempts) == ["TF-IDF + logistic regression", "majority"]
    tfidf, majority = attempts.values()
    assert tfidf.answers.cells[:3] == ["1", "0", "1"]
    assert majority.answers == Answers(["1"] * 4)
    shared = ["energy", "lattice", "of", "patients", "the", "the lattice", "tumour"]  # by two training documents
    assert tfidf.trained_weights == len(shared) + 1
    assert majority.trained_weights == majority.training_s == 0
    (keywords,) = (fill(known, documents) for fill in plain_baselines(RECIPE.columns["Keywords"]).values())
    assert keywords.answers.cells == ["tumour grows", "lattice vibrates", "patients sleep", "gap years"]
    assert keywords.rows_per_s > 0
    assert keywords.training_s >= 0


def test_an_attempt_is_the_same_after_json():
    attempt = Attempt(Answers(["1", ""], [[0.1, 0.9], []]), 1 / 3, 0.0, 7, "a note", "a prompt")
    assert Attempt.from_dict(json.loads(json.dumps(attempt.as_dict()))) == attempt
    assert Attempt.from_dict(json.loads(json.dumps(Attempt(Answers(["1"])).as_dict()))) == Attempt(Answers(["1"]))


def test_all_are_compared_with_the_best_baseline():
    truth = RowReader(TEST, RECIPE)
    attempts = {
        "run": Attempt(Answers(["1", "0", "1", "1"]), rows_per_s=2.0, note="n", prompt="p"),
        "weak": Attempt(Answers(["0", "0", "0", "0"])),
        "strong": Attempt(Answers(["1", "0", "1", "0"])),
        "prompted": Attempt(Answers(["1", "1", "1", "1"])),
    }
    run, weak, strong, prompted = compared(attempts, ["weak", "strong"], truth, RECIPE, "label", 4)
    assert (run.rows_per_s, run.note, run.prompt, run.training_s) == (2.0, "n", "p", None)
    assert strong.paired is None
    assert [each.paired.difference for each in (run, weak, prompted)] == [0.25, -0.5, 0]
    assert run.scores == score_answers({"label": attempts["run"].answers}, truth, RECIPE, range(4))["label"]
    assert run.paired.may_be_noise


def test_rankings_are_compared_with_the_baseline_that_ranks_best():
    truth = RowReader(TEST, RECIPE)  # 1, 0, 1, 1

    def ranked(*scores, cells=("0", "0", "0", "0"), raw=None):
        pairs = [[score, 1 - score] for score in scores]
        return Attempt(Answers(list(cells), pairs, raw and [[score, 1 - score] for score in raw]))

    attempts = {
        "run": ranked(0.5, 0.5, 0.5, 0.5, raw=(0.9, 0.1, 0.8, 0.7)),  # as isotonic regression leaves them
        "accurate": ranked(0.1, 0.9, 0.2, 0.3, cells=("1", "0", "1", "0")),
        "ranking": ranked(0.9, 0.8, 0.7, 0.6),
        "majority": Attempt(Answers(["1", "1", "1", "1"])),
        "SetFit": ranked(0.9, 0.1, 0.8, 0.7),  # no plain method, however good
    }
    found = compared(attempts, ["accurate", "ranking", "majority"], truth, RECIPE, "label", 4)
    assert [each.name for each in found if each.paired is None] == ["accurate"]
    run, accurate, ranking, majority, other = found
    assert (ranking.paired_average_precision, majority.paired_average_precision) == (None, None)
    best = (1 + 2 / 3 + 3 / 4) / 3
    assert ranking.scores.average_precision == pytest.approx(best)
    assert run.paired_average_precision.difference == pytest.approx(1 - best)
    assert other.paired_average_precision == run.paired_average_precision
    assert accurate.paired_average_precision.difference == pytest.approx((1 / 2 + 2 / 3 + 3 / 4) / 3 - best)
    assert accurate.paired_average_precision.p_value is None


def test_without_baselines_or_truth_nothing_is_compared():
    truth = RowReader(TEST, RECIPE)
    (alone,) = compared({"run": Attempt(Answers(["1"] * 4))}, [], truth, RECIPE, "label", 4)
    assert alone.paired is None
    untold = RowReader(read_table([{"text": "x"}]), RECIPE)
    assert compared({"run": Attempt(Answers(["1"]))}, [], untold, RECIPE, "label", 1) == []


def test_one_label_only_is_a_baseline_too():
    known = LearntRows(["a b", "c d"], ["1", "1"])
    tfidf = plain_baselines(RECIPE.columns["label"])["TF-IDF + logistic regression"](known, ["e"])
    assert tfidf.answers == Answers(["1"], [pytest.approx([1, 0])])
    assert tfidf.trained_weights == 0

import math
import random

import numpy as np
import pytest
from sklearn import metrics

from papertune.metrics.intervals import Interval, counted_interval, mean_interval
from papertune.metrics.label_scores import score_labels


def test_scores_worked_out_by_hand():
    gold = ["1", "1", "1", "0", "0"]
    predicted = ["1", "1", "0", "0", ""]
    probabilities = np.array([[0.9, 0.1], [0.8, 0.2], [0.3, 0.7], [0.4, 0.6], [0.5, 0.5]])
    scores = score_labels(gold, predicted, ["1", "0"], probabilities)
    assert (scores.rows, scores.abstained) == (5, 1)
    assert scores.accuracy == 3 / 5
    assert scores.accuracy_answered == 3 / 4
    one, zero = scores.per_label
    assert (one.label, one.precision, one.recall, one.f1, one.support) == ("1", 1, 2 / 3, pytest.approx(0.8), 3)
    assert (zero.precision, zero.recall, zero.f1, zero.support) == (1 / 2, 1 / 2, 1 / 2, 2)
    assert scores.macro_f1 == pytest.approx(0.65)
    assert scores.confusion == ((2, 1), (0, 1))  # the empty prediction has no column
    assert scores.auc == pytest.approx(4 / 6)  # of the 6 pairs, 0.3 < 0.4 and 0.3 < 0.5 are in the wrong order
    assert scores.log_loss == pytest.approx(-(math.log(0.9 * 0.8 * 0.3 * 0.6 * 0.5)) / 5)
    assert scores.average_precision == pytest.approx((1 + 1 + 3 / 5) / 3)  # the third "1" is found last of five
    assert scores.average_precision_interval.low < scores.average_precision < scores.average_precision_interval.high
    assert scores.wss_at_95 == pytest.approx(1 - 5 / 5 - 0.05)
    assert scores.main == (scores.macro_f1 + scores.average_precision) / 2
    assert scores.dev_measures()["average_precision"] == scores.average_precision


def test_the_main_score_without_a_ranking_is_macro_f1():
    scores = score_labels(["a", "b", "c"], ["a", "b", "b"], ["a", "b", "c"], np.eye(3))
    assert scores.main == scores.macro_f1
    assert "average_precision" not in scores.dev_measures()


def test_columns_of_probabilities_follow_the_label_set_and_are_not_sorted():
    # scikit-learn sorts labels; a mix-up would turn the best loss into the worst.
    scores = score_labels(["b", "a", "c"], ["b", "a", "c"], ["b", "c", "a"], np.eye(3)[[0, 2, 1]])
    assert scores.log_loss == pytest.approx(0, abs=1e-12)
    assert scores.auc == 1


def test_scores_equal_scikit_learn_on_random_rows():
    random_rows = random.Random(3)
    labels = ["c", "a", "b", "unused"]
    gold = [random_rows.choice("abc") for _ in range(300)]
    predicted = [random_rows.choice([wanted, "a", "b", ""]) for wanted in gold]
    probabilities = np.random.default_rng(0).dirichlet([1, 1, 1, 0.2], size=300).astype(np.float32)
    scores = score_labels(gold, predicted, labels, probabilities)
    assert scores.accuracy == pytest.approx(metrics.accuracy_score(gold, predicted))
    assert scores.macro_f1 == pytest.approx(
        metrics.f1_score(gold, predicted, labels=labels, average="macro", zero_division=0)
    )
    gold_probability = [row[labels.index(wanted)] for wanted, row in zip(gold, probabilities, strict=True)]
    assert scores.log_loss == pytest.approx(-np.mean(np.log(gold_probability)), rel=1e-5)
    one_against_rest = [
        metrics.roc_auc_score([wanted == label for wanted in gold], probabilities[:, labels.index(label)])
        for label in "abc"
    ]
    assert scores.auc == pytest.approx(np.mean(one_against_rest))
    three = probabilities[:, :3] / probabilities[:, :3].sum(axis=1, keepdims=True)
    assert score_labels(gold, predicted, labels[:3], three).auc == pytest.approx(
        metrics.roc_auc_score(gold, three[:, [1, 2, 0]], multi_class="ovr"), rel=1e-5
    )
    # The interval of F1 resamples the confusion matrix; here the rows themselves are drawn.
    rows = np.random.default_rng(1).integers(0, 300, size=(400, 300))
    slow = [
        metrics.f1_score(
            [gold[i] for i in drawn], [predicted[i] for i in drawn], labels=labels, average="macro", zero_division=0
        )
        for drawn in rows
    ]
    low, high = np.quantile(slow, [0.025, 0.975])
    assert scores.macro_f1_interval.low == pytest.approx(low, abs=0.012)
    assert scores.macro_f1_interval.high == pytest.approx(high, abs=0.012)


def test_a_ranking_orders_rows_whose_calibrated_probabilities_are_equal():
    gold = ["1", "0", "1", "0", "0", "1"]
    probabilities = np.array([[1 / 2, 1 / 2]] * 4 + [[0.1, 0.9]] * 2)
    ranking = np.array([0.9, 0.7, 0.8, 0.6, 0.2, 0.3])
    ranked = score_labels(gold, gold, ["1", "0"], probabilities, ranking)
    positive = [label == "1" for label in gold]
    assert ranked.average_precision == pytest.approx(metrics.average_precision_score(positive, ranking))
    assert ranked.auc == pytest.approx(metrics.roc_auc_score(positive, ranking))
    assert ranked.wss_at_95 == pytest.approx(1 - 5 / 6 - 0.05)
    assert ranked.average_precision_interval.low < ranked.average_precision <= ranked.average_precision_interval.high
    tied = score_labels(gold, gold, ["1", "0"], probabilities)
    assert tied.average_precision == pytest.approx(metrics.average_precision_score(positive, probabilities[:, 0]))
    assert (tied.auc, tied.wss_at_95) < (ranked.auc, ranked.wss_at_95)
    assert (tied.log_loss, tied.accuracy) == (
        ranked.log_loss,
        ranked.accuracy,
    )  # these depend only on the probabilities


def test_undefined_scores_are_none():
    scores = score_labels(["a", "a"], ["", ""], ["a", "b"], np.array([[0.5, 0.5], [1.0, 0.0]]))
    assert scores.auc is None
    assert scores.accuracy_answered is None
    assert scores.log_loss is not None
    plain = score_labels(["a", "b"], ["a", "a"], ["a", "b"])
    assert (plain.auc, plain.log_loss, plain.average_precision, plain.wss_at_95) == (None, None, None, None)
    nothing_to_find = score_labels(["b"], ["b"], ["a", "b"], np.array([[0.5, 0.5]]))
    assert (nothing_to_find.average_precision, nothing_to_find.wss_at_95) == (None, None)
    assert nothing_to_find.average_precision_interval is None
    three = score_labels(["a"], ["a"], ["a", "b", "c"], np.array([[0.5, 0.3, 0.2]]))
    assert (three.average_precision, three.wss_at_95) == (None, None)
    assert score_labels(["a"], ["a"], ["a"], np.ones((1, 1))).log_loss == 0


def test_as_dict_is_plain_data():
    plain = score_labels(["a", "b"], ["a", "a"], ["a", "b"]).as_dict()
    assert plain["confusion"] == [[1, 0], [1, 0]]
    # Wilson for 1 of 2: (1/2 + z^2/4 -+ z sqrt(1/8 + z^2/16)) / (1 + z^2/2), with z = 1.959964.
    assert plain["accuracy_interval"] == pytest.approx({"low": 0.0945312, "high": 0.9054688}, abs=1e-6)
    assert plain["per_label"][1] == {"label": "b", "precision": 0.0, "recall": 0.0, "f1": 0.0, "support": 1}


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        ((["a"], ["a", "b"], ["a", "b"]), "1 gold labels, but 2 predicted"),
        (([], [], ["a"]), "no rows"),
        ((["a"], ["a"], ["a", "a"]), "different, non-empty labels"),
        ((["x"], ["a"], ["a", "b"]), "gold label 'x' is not in"),
        ((["a"], ["x"], ["a", "b"]), "predicted label 'x' is not in"),
        ((["a"], ["a"], ["a", "b"], np.ones((1, 3))), r"shape \(1, 3\)"),
        ((["a"], ["a"], ["a", "b"], np.array([[0.9, 0.9]])), "add up to 1"),
        ((["a"], ["a"], ["a", "b"], np.array([[np.nan, 1.0]])), "add up to 1"),
        ((["a"], ["a"], ["a", "b"], np.array([[-0.5, 1.5]])), "at least 0"),
        ((["a"], ["a"], ["a", "b"], None, np.ones(1)), "a ranking needs a number for each row and the probabilities"),
        ((["a"], ["a"], ["a", "b"], np.array([[0.5, 0.5]]), np.ones(2)), "a ranking needs a number for each row"),
        ((["a"], ["a"], ["a", "b", "c"], np.array([[0.5, 0.5, 0]]), np.ones(1)), "probabilities of two labels"),
    ],
)
def test_invalid_inputs_raise(arguments, message):
    with pytest.raises(ValueError, match=message):
        score_labels(*arguments)


def test_bootstrap_intervals_agree_with_the_normal_approximation():
    values = np.array([1.0] * 320 + [0.0] * 80)
    interval = mean_interval(values)
    half = 1.96 * math.sqrt(0.8 * 0.2 / 400)  # the normal approximation
    assert interval.low == pytest.approx(0.8 - half, abs=0.006)
    assert interval.high == pytest.approx(0.8 + half, abs=0.006)
    assert mean_interval(values) == interval  # seeded
    counted = counted_interval(np.array([320, 80]), lambda counts: counts[:, 0] / 400)
    assert counted.low == pytest.approx(interval.low, abs=0.006)
    assert counted.high == pytest.approx(interval.high, abs=0.006)
    assert mean_interval(np.ones(3)) == Interval(1.0, 1.0)
    for empty in (lambda: mean_interval(np.array([])), lambda: counted_interval(np.zeros(2, int), lambda c: c[:, 0])):
        with pytest.raises(ValueError, match="at least one row"):
            empty()

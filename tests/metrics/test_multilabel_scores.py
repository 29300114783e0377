import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from sklearn.metrics import accuracy_score, average_precision_score, f1_score, precision_recall_fscore_support

from papertune.metrics.intervals import RESAMPLES, SEED
from papertune.metrics.multilabel_scores import micro_f1_difference, samples_f1, score_multilabel

LABELS = ("physics", "maths", "art")


@st.composite
def matrices(draw, count=2):
    rows = draw(st.integers(1, 12))
    row = st.lists(st.booleans(), min_size=3, max_size=3)
    return [np.array(draw(st.lists(row, min_size=rows, max_size=rows)), dtype=np.bool_) for _ in range(count)]


def some_rows(count=200, seed=1):
    random = np.random.default_rng(seed)
    gold = random.random((count, 3)) < [0.5, 0.2, 0.05]
    return gold, np.where(random.random((count, 3)) < 0.8, gold, ~gold)


@settings(max_examples=20)
@given(matrices())
@pytest.mark.filterwarnings("ignore::sklearn.exceptions.UndefinedMetricWarning")
def test_scores_equal_scikit_learn(both):
    gold, predicted = both
    scores = score_multilabel(gold, predicted, LABELS)
    for average, value in (("micro", scores.micro_f1), ("macro", scores.macro_f1)):
        assert value == pytest.approx(f1_score(gold, predicted, average=average, zero_division=0))
    assert scores.samples_f1 == pytest.approx(f1_score(gold, predicted, average="samples", zero_division=1))
    assert scores.subset_accuracy == pytest.approx(accuracy_score(gold, predicted))
    precision, recall, f1, support = precision_recall_fscore_support(gold, predicted, average=None, zero_division=0)
    for n, label in enumerate(scores.per_label):
        assert (label.label, label.support) == (LABELS[n], support[n])
        assert (label.precision, label.recall, label.f1) == pytest.approx((precision[n], recall[n], f1[n]))
    micro = precision_recall_fscore_support(gold, predicted, average="micro", zero_division=0)
    assert (scores.micro_precision, scores.micro_recall) == pytest.approx(micro[:2])


def test_scores_worked_out_by_hand():
    gold = np.array([[1, 1, 0], [0, 0, 0], [1, 0, 0], [0, 0, 1]], dtype=np.bool_)
    predicted = np.array([[1, 0, 0], [0, 0, 0], [1, 1, 0], [0, 0, 0]], dtype=np.bool_)
    scores = score_multilabel(gold, predicted, LABELS)
    assert scores.micro_f1 == pytest.approx(2 * 2 / (4 + 3))
    assert scores.macro_f1 == pytest.approx((1 + 0 + 0) / 3)
    assert samples_f1(gold, predicted).tolist() == pytest.approx([2 / 3, 1, 2 / 3, 0])
    assert (scores.subset_accuracy, scores.true_labels, scores.predicted_labels) == (0.25, 1.0, 0.75)
    assert scores.average_precision is None


def test_average_precision_skips_labels_that_all_or_no_rows_have():
    gold = np.array([[1, 0, 1], [0, 0, 1], [1, 0, 0]], dtype=np.bool_)
    probabilities = np.array([[0.9, 0.2, 0.4], [0.5, 0.1, np.nan], [0.3, 0.3, 0.7]])
    by_label = [
        average_precision_score(gold[:, 0], probabilities[:, 0]),
        average_precision_score(gold[[0, 2], 2], probabilities[[0, 2], 2]),  # no row has the second label
    ]
    assert score_multilabel(gold, gold, LABELS, probabilities).average_precision == pytest.approx(np.mean(by_label))
    nothing = np.zeros_like(gold)
    assert score_multilabel(nothing, gold, LABELS, probabilities).average_precision is None


def test_intervals_equal_those_of_resampled_rows():
    gold, predicted = some_rows()
    scores = score_multilabel(gold, predicted, LABELS)
    random = np.random.default_rng(SEED)
    drawn = [random.integers(0, len(gold), len(gold)) for _ in range(RESAMPLES)]
    for average, interval in (("micro", scores.micro_f1_interval), ("macro", scores.macro_f1_interval)):
        low, high = np.quantile([slow_f1(gold[rows], predicted[rows], average) for rows in drawn], [0.025, 0.975])
        assert (interval.low, interval.high) == pytest.approx((low, high), abs=0.012)
    assert scores.samples_f1_interval.low < scores.samples_f1 < scores.samples_f1_interval.high
    assert scores.subset_accuracy_interval.low < scores.subset_accuracy < scores.subset_accuracy_interval.high


def slow_f1(gold, predicted, average):
    hits, divisors = (gold & predicted).sum(axis=0), gold.sum(axis=0) + predicted.sum(axis=0)
    if average == "micro":
        return 2 * hits.sum() / divisors.sum()
    return np.mean([2 * hit / total if total else 0 for hit, total in zip(hits, divisors, strict=True)])


def test_the_difference_equals_that_of_the_scores():
    gold, first = some_rows()
    _, second = some_rows(seed=2)
    found = micro_f1_difference(gold, first, second)
    scores = [score_multilabel(gold, predicted, LABELS).micro_f1 for predicted in (first, second)]
    assert found.difference == pytest.approx(scores[0] - scores[1])
    assert found.low < found.difference < found.high
    back = micro_f1_difference(gold, second, first)
    assert (back.difference, back.p_value) == pytest.approx((-found.difference, found.p_value), abs=0.02)


def test_a_clear_difference_and_no_difference():
    gold, predicted = some_rows()
    clear = micro_f1_difference(gold, gold, predicted)
    assert clear.low > 0
    assert clear.p_value == 1 / 10_000
    same = micro_f1_difference(gold, predicted, predicted)
    assert (same.difference, same.low, same.high, same.p_value) == (0, 0, 0, 1)


def test_the_p_value_equals_that_of_all_swaps():
    gold = np.array([[1, 0], [1, 1], [0, 1], [1, 0]], dtype=np.bool_)
    first = np.array([[1, 0], [1, 1], [0, 1], [0, 0]], dtype=np.bool_)
    second = np.array([[0, 0], [1, 0], [0, 1], [1, 1]], dtype=np.bool_)
    found = micro_f1_difference(gold, first, second)
    differences = []
    for swaps in np.ndindex(2, 2, 2, 2):
        swap = np.array(swaps, dtype=np.bool_)[:, None]
        one, other = np.where(swap, second, first), np.where(swap, first, second)
        differences.append(slow_f1(gold, one, "micro") - slow_f1(gold, other, "micro"))
    as_far = np.mean(np.abs(differences) >= abs(found.difference) - 1e-12)
    assert found.p_value == pytest.approx(as_far, abs=0.02)


@pytest.mark.parametrize(
    ("gold", "predicted", "probabilities", "message"),
    [
        ((0, 3), (0, 3), None, "no rows to score"),
        ((2, 3), (1, 3), None, r"3 labels, but gold and predicted labels of the shapes \(2, 3\) and \(1, 3\)"),
        ((2, 2), (2, 2), None, r"3 labels, but gold and predicted labels of the shapes \(2, 2\) and \(2, 2\)"),
        ((2, 3), (2, 3), (2, 2), r"probabilities have the shape \(2, 2\), not \(rows, labels\) = \(2, 3\)"),
    ],
)
def test_invalid_inputs_raise(gold, predicted, probabilities, message):
    probabilities = None if probabilities is None else np.zeros(probabilities)
    with pytest.raises(ValueError, match=message):
        score_multilabel(np.zeros(gold, dtype=np.bool_), np.zeros(predicted, dtype=np.bool_), LABELS, probabilities)


def test_a_difference_of_other_rows_raises():
    with pytest.raises(ValueError, match="a difference needs at least one row"):
        micro_f1_difference(*[np.zeros((0, 3), dtype=np.bool_)] * 3)
    with pytest.raises(ValueError, match="the same rows and labels are needed"):
        micro_f1_difference(*[np.zeros((n, 3), dtype=np.bool_) for n in (1, 2, 1)])

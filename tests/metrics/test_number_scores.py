import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from scipy.stats import rankdata
from sklearn.metrics import mean_absolute_error, median_absolute_error

from papertune.metrics.number_scores import score_numbers, within_tolerance

NONE = float("nan")


def scored(gold, predicted, **tolerance):
    near = within_tolerance(gold, predicted, **tolerance)
    return score_numbers(np.array(gold), np.array(predicted), near)


def test_scores_counted_by_hand():
    gold = [100, 100, 100, 10, NONE, NONE, 50]
    predicted = [100, 110, 89, 9.5, NONE, 7, NONE]
    scores = scored(gold, predicted, relative=0.1)
    assert scores.rows == 7
    assert (scores.stated, scores.predicted, scores.both, scores.missing, scores.invented) == (5, 5, 4, 1, 1)
    assert scores.exact == pytest.approx(2 / 7)  # the first row, and the fifth, where neither has a number
    assert scores.within == scores.main == pytest.approx(4 / 7)
    assert scores.mean_absolute_error == pytest.approx((0 + 10 + 11 + 0.5) / 4)
    assert scores.median_absolute_error == pytest.approx(5.25)
    for interval, score in (
        (scores.exact_interval, scores.exact),
        (scores.within_interval, scores.within),
        (scores.mean_absolute_error_interval, scores.mean_absolute_error),
    ):
        assert interval.low <= score <= interval.high
    assert scores.unanswered(is_compared=False) == (
        "1 of 5 rows with a number got none, and 1 of 2 rows without one got one; these count as wrong. Errors are "
        "over the 4 rows where both are numbers."
    )
    first = scores.measures()[0]
    assert (first.key, first.interval) == ("within", scores.within_interval)


@pytest.mark.parametrize(
    ("gold", "predicted", "tolerance", "expected"),
    [
        (100, 110, {"relative": 0.1}, True),
        (100, 90, {"relative": 0.1}, True),
        (100, 110.001, {"relative": 0.1}, False),
        (-100, -110, {"relative": 0.1}, True),
        (-100, 100, {"relative": 0.1}, False),
        (0, 0, {"relative": 0.1}, True),
        (0, 0.1, {"relative": 0.1}, False),
        (0.3, 0.33, {"relative": 0.1}, True),
        (0, 2, {"absolute": 2}, True),
        (1, 3.1, {"absolute": 2}, False),
        (5, 5, {}, True),
        (5, 5.0000001, {}, False),
        (NONE, NONE, {}, True),
        (NONE, 5, {"absolute": 100}, False),
        (5, NONE, {"relative": 100}, False),
    ],
)
def test_a_tolerance_is_a_share_of_the_gold_number_or_a_distance(gold, predicted, tolerance, expected):
    assert within_tolerance([gold], [predicted], **tolerance).tolist() == [expected]


def test_errors_without_two_numbers_are_not_defined():
    scores = scored([NONE, 5], [NONE, NONE])
    assert scores.mean_absolute_error is None
    assert scores.mean_absolute_error_interval is None
    assert scores.median_absolute_error is None
    assert scores.spearman is None
    assert scores.dev_measures() == {"within": 0.5, "exact": 0.5}
    assert scores.unanswered(is_compared=False).startswith("1 of 1 rows with a number got none, and 0 of 1 rows")
    assert scored([5, 5], [4, 6]).spearman is None
    assert scored([5.0], [5.0]).unanswered(is_compared=True) == ""


def test_rows_must_be_the_same():
    with pytest.raises(ValueError, match=r"numbers of the same rows are needed, not of the shapes \(2,\) and \(1,\)"):
        score_numbers(np.zeros(2), np.zeros(1), np.zeros(2, dtype=bool))
    with pytest.raises(ValueError, match="same rows"):
        score_numbers(np.zeros(0), np.zeros(0), np.zeros(0, dtype=bool))


numbers = st.lists(st.tuples(*[st.integers(-50, 50).map(float) | st.just(NONE)] * 2), min_size=1, max_size=30)


@given(numbers)
def test_errors_and_correlation_are_those_of_scikit_learn_and_of_ranks(rows):
    gold, predicted = (np.array(side) for side in zip(*rows, strict=True))
    scores = scored(gold, predicted, absolute=3)
    assert scores.exact <= scores.within <= 1
    both = ~np.isnan(gold) & ~np.isnan(predicted)
    assert scores.both == both.sum()
    if both.any():
        true, said = gold[both], predicted[both]
        assert scores.mean_absolute_error == pytest.approx(mean_absolute_error(true, said))
        assert scores.median_absolute_error == pytest.approx(median_absolute_error(true, said))
        if len(set(true)) > 1 and len(set(said)) > 1:
            ranks = np.corrcoef(rankdata(true), rankdata(said))[0, 1]
            assert scores.spearman == pytest.approx(ranks)
        else:
            assert scores.spearman is None

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from papertune.metrics.paired import mean_difference
from papertune.metrics.text_scores import chrf, exact_match, rouge_l, rouge_l_by_row, score_texts, token_f1

words = st.text(alphabet="ab 中，.", max_size=12)


@pytest.mark.parametrize(
    ("gold", "predicted", "exact", "f1"),
    [
        ("the cat sat on the mat", "A cat on mats!", 0, 4 / 7),  # cat sat on mat; cat on mats
        ("The U.S.A.", "usa", 1, 1),
        ("3.5 g", "35 g", 1, 1),  # as SQuAD's script
        ("a", "the", 1, 1),  # nothing but articles
        ("", "", 1, 1),
        ("", "none", 0, 0),
        ("none", "", 0, 0),
        ("肝癌患者", "肝癌", 0, 2 * 2 / 6),
        ("肝癌。", "肝癌", 1, 1),
        ("ＡＢ１", "ab1", 1, 1),
        ("x x y", "x z", 0, 2 / 5),  # a repeated word counts as often as both have it
    ],
)
def test_exact_match_and_token_f1(gold, predicted, exact, f1):
    assert exact_match(gold, predicted) == exact
    assert token_f1(gold, predicted) == pytest.approx(f1)


@pytest.mark.parametrize(
    ("gold", "predicted", "score"),
    [
        ("the cat sat on the mat", "the cat on mat", 2 * 4 / 10),
        ("the cat sat on the mat", "mat the on cat", 2 * 2 / 10),  # the order counts
        ("The state-of-the-art, 2024", "state of the art (2024)", 2 * 5 / 11),
        ("患者120例", "120例患者", 2 * 2 / 8),
        ("", "", 1),
        ("", "x", 0),
        ("x", "...", 0),
    ],
)
def test_rouge_l(gold, predicted, score):
    assert rouge_l(gold, predicted) == pytest.approx(score)


def slow_common_subsequence(first, second):
    if not first or not second:
        return 0
    if first[-1] == second[-1]:
        return 1 + slow_common_subsequence(first[:-1], second[:-1])
    return max(slow_common_subsequence(first[:-1], second), slow_common_subsequence(first, second[:-1]))


@given(
    st.lists(st.sampled_from("abc"), min_size=1, max_size=6), st.lists(st.sampled_from("abc"), min_size=1, max_size=6)
)
def test_rouge_l_equals_its_definition(gold, predicted):
    common = slow_common_subsequence(gold, predicted)
    expected = 2 * common / (len(gold) + len(predicted))
    assert rouge_l(" ".join(gold), " ".join(predicted)) == pytest.approx(expected)


@pytest.mark.parametrize(
    ("gold", "predicted", "score"),
    [
        ("abc", "abd", (2 / 3 + 1 / 2 + 0) / 3),
        ("ab cd", "a bcd", 1),  # blanks do not count
        ("", "", 1),
        ("a", "", 0),
        ("ab", "xy", 0),
        # Precision 1 and 1, recall 1/2 and 1/3; F2 counts recall four times.
        ("abcd", "ab", 5 * 1 * (5 / 12) / (4 * 1 + 5 / 12)),
    ],
)
def test_chrf(gold, predicted, score):
    assert chrf(gold, predicted) == pytest.approx(score)


@given(words, words)
def test_scores_are_shares_and_highest_for_the_same_text(gold, predicted):
    for score in (exact_match, token_f1, rouge_l, chrf):
        assert 0 <= score(gold, predicted) <= 1
        assert score(gold, gold) == pytest.approx(1)


def test_means_over_rows_with_intervals():
    gold, predicted = ["heart rate", "liver", "", "bone"], ["heart rate", "kidney", "", "bones"]
    scores = score_texts(gold, predicted)
    assert (scores.rows, scores.exact_match, scores.rouge_l) == (4, 0.5, 0.5)
    assert scores.main == scores.rouge_l == rouge_l_by_row(gold, predicted).mean()
    assert scores.chrf > scores.token_f1 == 0.5
    assert scores.rouge_l_interval.low < 0.5 < scores.rouge_l_interval.high
    first, *others = scores.measures()
    assert first.key == "rouge_l"
    assert {first.key, *(each.key for each in others)} == set(scores.dev_measures())
    assert all(each.interval is not None for each in scores.measures())
    assert scores.as_dict()["rouge_l_interval"] == {
        "low": scores.rouge_l_interval.low,
        "high": scores.rouge_l_interval.high,
    }


def test_rows_of_two_systems_can_be_compared():
    gold = ["a b", "c d", "e f"] * 10
    difference = mean_difference(rouge_l_by_row(gold, gold), rouge_l_by_row(gold, ["a b"] * 30))
    assert difference.difference == pytest.approx(2 / 3)
    assert not difference.may_be_noise


def test_nothing_to_score():
    with pytest.raises(ValueError, match="no texts"):
        score_texts([], [])
    with pytest.raises(ValueError, match="shorter"):
        score_texts(["a"], [])
    assert np.array_equal(rouge_l_by_row([], []), [])

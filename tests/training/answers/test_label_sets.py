import math

import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st

from papertune.decoding.scoring.label_scoring import LabelTrie
from papertune.training.answers.label_sets import LabelLosses, LabelSet, above_chance, chance_loss, loss_at_end

TRIE = LabelTrie.build([[5], [6]], 2)


@given(st.lists(st.integers(0, 30), min_size=1, max_size=4), st.lists(st.floats(0.01, 1), min_size=4, max_size=4))
def test_chance_is_the_least_loss_of_answers_that_do_not_depend_on_the_row(sums, other):
    def loss(shares):
        return -sum(n * math.log(p) for n, p in zip(sums, shares, strict=False) if n) / max(1, sum(sums))

    tried = other[: len(sums)]
    assert chance_loss([sums]) <= loss([each / sum(tried) for each in tried]) + 1e-9
    if sum(sums):
        assert chance_loss([sums]) == pytest.approx(loss([each / sum(sums) for each in sums]))


def test_chance_of_several_questions_is_their_weighted_mean():
    assert chance_loss([[1, 1], [6, 0]]) == pytest.approx(math.log(2) * 2 / 8)
    assert chance_loss([[0, 0]]) == 0


def test_losses_of_columns_are_means_over_weights_since_the_last_entry():
    losses = LabelLosses([LabelSet("label", TRIE), LabelSet("topics", TRIE)])
    sets, weights = torch.tensor([0, -1, 0, 1]), torch.tensor([1.0, 5.0, 3.0, 0.5])
    losses.add(torch.tensor([2.0, 0.25, 7.0]), sets, weights)
    losses.add(torch.tensor([4.0, 0.0, 7.0]), sets[:3], weights[:3])
    assert losses.pop(lambda sums: sums) == {"loss_label": 6 / 8, "loss_topics": 0.5}
    losses.add(torch.tensor([2.0, 0.0, 7.0]), sets[:1], weights[:1])
    assert losses.pop(lambda sums: 2 * sums) == {"loss_label": 2.0}, "a column without questions has no loss"


LOG = [
    {"step": 1, "loss": 2.0, "loss_label": 2.0},
    {"step": 10, "loss": 0.9, "loss_label": 0.9},
    {"step": 10, "eval_score": 0.5},
    {"step": 20, "loss": 0.6, "loss_label": 0.6},
    {"step": 25, "loss": 0.9, "loss_label": 0.9},
]


def test_the_loss_at_the_end_is_the_mean_over_the_last_third_of_the_steps():
    assert loss_at_end(LOG, "label") == (pytest.approx((10 * 0.6 + 5 * 0.9) / 15), 11)
    assert loss_at_end(LOG[:1], "label") == (2.0, 1)
    assert loss_at_end(LOG, "other") is None


def test_a_loss_at_the_end_that_is_not_below_chance_is_a_warning():
    (text,) = above_chance([LabelSet("label", TRIE, 0.693), LabelSet("other", TRIE, 0.1)], LOG, 1e-3)
    assert text == (
        'column "label": the loss since step 11 is 0.700, and 0.693 is what answering all rows alike would have. So '
        "the model has not learned this column, and its answers are no better than chance. Try another rate (--set "
        "training.learning_rate=0.0003), more epochs (--set training.epochs=...) or more rows, and look with papertune "
        "compare at what simple baselines do."
    )
    assert above_chance([LabelSet("label", TRIE, 0.71)], LOG, 1e-3) == []

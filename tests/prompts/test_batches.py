import itertools

import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st

from papertune.prompts import LengthBatchSampler, pad_right, shuffled_length_batches, sorted_token_batches

length_lists = st.lists(st.integers(1, 300), max_size=120)


@given(length_lists, st.integers(1, 9), st.integers(0, 3), st.integers(0, 3))
def test_training_batches_have_each_example_once(lengths, batch_size, seed, epoch):
    batches = shuffled_length_batches(lengths, batch_size, seed, epoch)
    assert sorted(index for batch in batches for index in batch) == list(range(len(lengths)))
    assert len(batches) == -(-len(lengths) // batch_size)
    assert all(len(batch) == batch_size for batch in batches[:-1])
    assert batches == shuffled_length_batches(lengths, batch_size, seed, epoch)


def test_training_batches_differ_between_epochs_and_seeds():
    lengths = list(range(1, 101))
    orders = [shuffled_length_batches(lengths, 4, seed, epoch) for seed in (0, 1) for epoch in (0, 1, 2)]
    sets = [{frozenset(batch) for batch in order} for order in orders]
    assert all(a != b for i, a in enumerate(sets) for b in sets[:i]), "two orders have the same batches"
    # The lengths of batches neither rise nor fall: steps up are as frequent as steps down.
    steps = [a[0] < b[0] for order in orders for a, b in itertools.pairwise(order)]
    assert 0.35 < sum(steps) / len(steps) < 0.65


def test_training_batches_have_little_padding():
    generator = torch.Generator().manual_seed(0)
    lengths = torch.randint(20, 500, (512,), generator=generator).tolist()
    batches = shuffled_length_batches(lengths, 8, 0, 0)
    padded = sum(max(lengths[index] for index in batch) * len(batch) for batch in batches)
    assert sum(lengths) / padded > 0.9  # 0.57 in table order


@given(length_lists, st.integers(1, 600), st.integers(1, 9))
def test_prediction_batches_are_sorted_full_and_within_limits(lengths, max_tokens, max_rows):
    batches = sorted_token_batches(lengths, max_tokens, max_rows)
    flat = [index for batch in batches for index in batch]
    assert sorted(flat) == list(range(len(lengths)))
    assert flat == sorted(flat, key=lambda index: (-lengths[index], index)), (
        "not longest first, or ties are not in order"
    )
    for batch in batches:
        assert len(batch) == 1 or max(lengths[index] for index in batch) * len(batch) <= max_tokens
        assert len(batch) <= max_rows
    for batch, following in itertools.pairwise(batches):
        # The batch has no room for another row.
        assert len(batch) == max_rows or lengths[batch[0]] * (len(batch) + 1) > max_tokens, (batch, following)


def test_pad_right():
    padded = pad_right([[1, 2, 3], [4], []], 9)
    assert padded.dtype == torch.int64
    assert padded.tolist() == [[1, 2, 3], [4, 9, 9], [9, 9, 9]]


@pytest.mark.parametrize("rows", [7, 8])
def test_sampler_uses_the_order_of_its_epoch(rows):
    lengths = list(range(1, rows + 1))
    sampler = LengthBatchSampler(lengths, 2, seed=3)
    assert len(sampler) == len(list(sampler)) == 4
    for epoch in (1, 0, 1):
        sampler.set_epoch(epoch)
        assert list(sampler) == list(sampler) == shuffled_length_batches(lengths, 2, 3, epoch)

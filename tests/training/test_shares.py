import pytest

from papertune.prompts import LengthBatchSampler
from papertune.training.shares import SharedBatchSampler, StepTokens

LENGTHS = [3 + (n * 37) % 50 for n in range(61)]


def samplers(count, *, batch_size=4, accumulation=3, lengths=LENGTHS):
    return [
        SharedBatchSampler(lengths, batch_size, 7, accumulation=accumulation, index=index, count=count)
        for index in range(count)
    ]


@pytest.mark.parametrize(("rows", "batch_size", "count", "accumulation"), [
    (61, 4, 2, 3), (61, 4, 3, 1), (64, 4, 4, 2), (61, 5, 5, 2), (3, 4, 2, 1), (1, 1, 4, 2),
])  # fmt: skip
def test_the_processes_together_do_the_steps_of_a_single_process(rows, batch_size, count, accumulation):
    lengths = LENGTHS[:rows] if rows <= len(LENGTHS) else [*LENGTHS, 9, 9, 9]
    alone = LengthBatchSampler(lengths, batch_size, 7)
    shares = samplers(count, batch_size=batch_size, accumulation=accumulation, lengths=lengths)
    for epoch in (0, 1, 5):
        alone.set_epoch(epoch)
        for share in shares:
            share.set_epoch(epoch)
        expected = list(alone)
        batches = [list(share) for share in shares]
        assert {len(own) for own in batches} == {len(share) for share in shares} == {-(-len(expected) // count)}
        for number, start in enumerate(range(0, len(expected), accumulation * count)):
            step = expected[start : start + accumulation * count]
            dealt = [batch for own in batches for batch in own[number * accumulation : (number + 1) * accumulation]]
            assert sorted(batch for batch in dealt if batch) == sorted(step)


def test_a_single_process_keeps_the_order():
    (alone,) = samplers(1)
    assert list(alone) == list(LengthBatchSampler(LENGTHS, 4, 7))


def test_each_process_has_about_the_same_work():
    lengths = [10, 20, 30, 40, 50, 60, 70, 80]
    shares = [list(share) for share in samplers(2, batch_size=1, accumulation=4, lengths=lengths)]
    sizes = [[lengths[row] for (row,) in own] for own in shares]
    assert sizes == [[80, 50, 40, 10], [70, 60, 30, 20]]


def test_missing_batches_are_replaced_by_empty_ones():
    shares = [list(share) for share in samplers(3, batch_size=2, accumulation=1, lengths=[5] * 8)]
    assert [[len(batch) for batch in own] for own in shares] == [[2, 2], [2, 0], [2, 0]]


def test_tokens_before_each_step():
    tokens = StepTokens(LENGTHS, 4, 7, step_batches=3)
    alone = LengthBatchSampler(LENGTHS, 4, 7)
    counted, expected = 0, []
    for epoch in range(3):
        alone.set_epoch(epoch)
        batches = list(alone)
        for start in range(0, len(batches), 3):
            expected.append(counted)
            counted += sum(LENGTHS[row] for batch in batches[start : start + 3] for row in batch)
    assert [tokens.before(step) for step in range(len(expected))] == expected
    assert tokens.before(len(expected)) == counted == 3 * sum(LENGTHS)

"""The fused steps against PyTorch's."""

from concurrent.futures import ThreadPoolExecutor

import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st

from papertune.models.llama.rotation import Rotation
from papertune.models.llama.steps import Steps

pytest.importorskip("numba", reason="the extra speed is not installed")

from papertune.models.fused import kernels
from papertune.models.fused.choice import best_steps
from papertune.models.fused.steps import FusedSteps

PLAIN, FUSED = Steps(), FusedSteps()
DTYPES = st.sampled_from([torch.float32, torch.bfloat16])
# The two ways may round a number to different neighbours: one part in 2^8.
CLOSE = {torch.float32: {"rtol": 2e-6, "atol": 2e-6}, torch.bfloat16: {"rtol": 0.01, "atol": 0.01}}
SIZES = st.sampled_from([0.0, 1e-12, 1.0, 1e6])
shapes = {"rows": st.integers(1, 3), "seq": st.integers(1, 5), "width": st.integers(1, 200), "size": SIZES}
seeds = st.integers(0, 2**31)


@pytest.fixture(autouse=True, scope="module")
def _compiled():
    """Compile what the tests use, as a model does."""
    for dtype, states, to_integers in (
        (torch.float32, torch.float32, True),
        (torch.float32, torch.float32, False),
        (torch.bfloat16, torch.float32, True),
        (torch.bfloat16, torch.bfloat16, False),
    ):
        assert isinstance(best_steps(dtype, states, to_integers=to_integers), FusedSteps)


def numbers(seed, *shape, size=1.0):
    return torch.randn(*shape, generator=torch.Generator().manual_seed(seed)) * size


def assert_same_integers(found, expected, close=2e-6):
    """Integers may differ by one, where the exact number is nearly halfway between them; scales hardly differ."""
    assert found.values.shape == expected.values.shape
    assert found.values.dtype == torch.uint8
    torch.testing.assert_close(found.scales, expected.scales, rtol=close, atol=0)
    differing = (found.values.int() - expected.values.int()).abs()
    assert differing.max() <= 1
    assert differing.count_nonzero() <= 0.002 * differing.numel() + 1


@given(**shapes, seed=seeds)
def test_norms_as_integers(rows, seq, width, size, seed):
    states, weight = numbers(seed, rows, seq, width, size=size), numbers(seed + 1, width)
    arguments = (states, weight, 1e-5)
    assert_same_integers(FUSED.normed(*arguments, to_integers=True), PLAIN.normed(*arguments, to_integers=True))


@given(**shapes, seed=seeds, dtype=DTYPES)
def test_norms_as_numbers(rows, seq, width, size, seed, dtype):
    states, weight = numbers(seed, rows, seq, width, size=size).to(dtype), numbers(seed + 1, width)
    found, expected = (each.normed(states, weight, 1e-5, to_integers=False) for each in (FUSED, PLAIN))
    assert found.scales is None
    assert found.values.dtype == dtype
    torch.testing.assert_close(found.values, expected.values, **CLOSE[dtype])


@given(**shapes, seed=seeds)
def test_gates_as_integers(rows, seq, width, size, seed):
    gate, up = numbers(seed, rows, seq, width, size=size), numbers(seed + 1, rows, seq, width, size=size)
    scales = numbers(seed + 2, rows, seq, 1).abs()
    assert_same_integers(FUSED.gated(gate.clone(), up, scales), PLAIN.gated(gate.clone(), up, scales), close=1e-5)


def test_a_gate_far_below_zero_closes():
    closed = FUSED.gated(torch.full((2, 3), -1e6), torch.full((2, 3), 1e6), torch.ones(2, 1))
    assert torch.equal(closed.values, torch.full((2, 3), 128, dtype=torch.uint8))


heads = {
    "batch": st.integers(1, 3),
    "seq": st.integers(1, 5),
    "groups": st.integers(1, 3),
    "group_size": st.integers(1, 4),
    "half": st.integers(1, 20),
}


@given(
    **heads,
    seed=seeds,
    kind=st.sampled_from([(torch.float32, torch.float32), (torch.float32, torch.bfloat16), (torch.bfloat16,) * 2]),
    is_scaled=st.booleans(),
    one_text=st.booleans(),
)
def test_rotated_heads(batch, seq, groups, group_size, half, seed, kind, is_scaled, one_text):
    states, dtype = kind
    query_heads = groups * group_size
    made = numbers(seed, batch, seq, 2 * half * (query_heads + 2 * groups)).to(states)
    scales = numbers(seed + 1, batch, seq, 1).abs() if is_scaled and states == torch.float32 else None
    angles = numbers(seed + 2, 1 if one_text else batch, seq, half, size=100.0)
    rotation = Rotation(angles.cos(), angles.sin(), query_heads + groups, states)
    found, expected = (
        each.split(made.clone(), scales, rotation, (query_heads, groups), dtype) for each in (FUSED, PLAIN)
    )
    for one, other in zip(found, expected, strict=True):
        assert (one.shape, one.dtype) == (other.shape, dtype)
        torch.testing.assert_close(one, other, rtol=CLOSE[dtype]["rtol"], atol=3 * CLOSE[dtype]["atol"])


def attention_input(seed, batch, seq, groups, group_size, width, earlier, dtype, size):
    queries = numbers(seed, batch, groups, seq, group_size, width, size=size / width**0.5).to(dtype)
    # As a cache has them: the beginning of more room.
    keys, values = (
        numbers(seed + each, batch, groups, earlier + seq + 3, width).to(dtype)[:, :, : earlier + seq]
        for each in (1, 2)
    )
    return queries, keys, values


@settings(max_examples=30)
@given(
    batch=st.integers(1, 2),
    seq=st.sampled_from([1, 2, 3, 95, 96, 97, 100]),
    groups=st.integers(1, 2),
    group_size=st.integers(1, 3),
    width=st.integers(1, 9),
    earlier=st.sampled_from([0, 1, 40]),
    size=st.sampled_from([0.0, 1.0, 5.0]),
    seed=seeds,
    dtype=DTYPES,
    is_masked=st.booleans(),
)
def test_attention(batch, seq, groups, group_size, width, earlier, size, seed, dtype, is_masked):
    queries, keys, values = attention_input(seed, batch, seq, groups, group_size, width, earlier, dtype, size)
    mask = None
    if is_masked:
        mask = numbers(seed + 3, batch, 1, seq, earlier + seq) > 0
        mask |= torch.eye(seq, earlier + seq, dtype=torch.bool)  # each query sees something
    found, expected = (each.attended(queries, keys, values, mask, to_integers=False) for each in (FUSED, PLAIN))
    # Powers in bfloat16 are rounded to other neighbours, and so is each product with a value.
    close = {"rtol": 1e-4, "atol": 1e-5} if dtype == torch.float32 else {"rtol": 0.03, "atol": 0.03}
    torch.testing.assert_close(found.values, expected.values, **close)
    rounded = FUSED.attended(queries, keys, values, mask, to_integers=True)
    seen = found.values.float()
    step = rounded.scales
    assert ((rounded.values.float() - 128) * step - seen).abs().le(0.501 * step + seen.abs() * 2**-8 + 1e-9).all()
    torch.testing.assert_close(step * 127, seen.abs().amax(-1, keepdim=True), rtol=0.01, atol=1e-30)


@pytest.mark.parametrize("dtype", [torch.float32, torch.bfloat16])
def test_scores_too_large_for_powers(dtype):
    queries, keys, values = attention_input(0, 1, 5, 1, 2, 4, 3, dtype, 1e4)
    exact = PLAIN.attended(queries.double().float(), keys.float(), values.float(), None, to_integers=False).values
    found = FUSED.attended(queries, keys, values, None, to_integers=False).values
    # A score of 10,000 in bfloat16 is right to 32, which decides between two keys.
    assert found.isfinite().all()
    if dtype == torch.float32:
        torch.testing.assert_close(found, exact, rtol=1e-3, atol=1e-3)


def test_powers_of_two_are_exact_enough():
    exponents = torch.linspace(-200, 0, 10_001)
    exact = exponents.double().exp2().where(exponents >= -126.5, 0.0)
    scores = torch.zeros(1, 10_001, 2)
    scores[0, :, 0] = exponents / 1.4426950408889634
    kernels.softmax_powers(scores.numpy(), 1, 0, torch.empty(1, 10_001).numpy())
    torch.testing.assert_close(scores[0, :, 1], torch.ones(10_001))
    # The rounded factor of the exponent counts as well.
    torch.testing.assert_close(scores[0, :, 0].double(), exact, rtol=3e-5, atol=1e-38)


def test_nothing_that_is_not_a_number_is_hidden():
    states = torch.ones(2, 40)
    states[1, 7] = torch.nan
    assert FUSED.normed(states, torch.ones(40), 1e-5, to_integers=True).scales.isnan().tolist() == [[False], [True]]
    assert FUSED.normed(states, torch.ones(40), 1e-5, to_integers=False).values.isnan().all(-1).tolist() == [
        False,
        True,
    ]
    queries, keys, values = attention_input(0, 1, 3, 1, 1, 4, 0, torch.float32, 1.0)
    queries[0, 0, 1] = torch.nan
    seen = FUSED.attended(queries, keys, values, None, to_integers=False).values
    assert seen.isnan().all(-1).tolist() == [[False, True, False]]


def test_tokens_in_several_threads_have_the_same_bits():
    states, weight = numbers(0, 64, 300), numbers(1, 300)

    def integers(tokens):
        return FUSED.normed(tokens, weight, 1e-5, to_integers=True).values

    with ThreadPoolExecutor(4) as pool:
        parts = list(pool.map(integers, states.split(1)))
    assert torch.equal(torch.cat(parts), integers(states))

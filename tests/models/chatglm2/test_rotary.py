"""The rotary table compared with that of the published implementation at full size (rope_full_size.json)."""

from pathlib import Path

import pytest
import torch
from safetensors.torch import load_file

from papertune.models.chatglm2.rotary import rotary_table, rotate

DTYPES = {"fp32": torch.float32, "fp16": torch.float16, "bf16": torch.bfloat16}


@pytest.fixture(scope="module")
def goldens():
    return load_file(Path(__file__).parent / "rope_full_size.safetensors")


def table_of(goldens, dtype):
    return torch.stack(rotary_table(goldens["positions"][None], 64, dtype), dim=-1)[0]


@pytest.mark.parametrize("name", DTYPES)
def test_table_in_each_dtype(goldens, name):
    table = table_of(goldens, DTYPES[name])
    assert table.dtype == DTYPES[name]
    assert torch.equal(table, goldens[f"table_{name}"])


def test_errors_of_half_precision_tables(goldens):
    """These numbers are in the docstring of `rotary_table`."""
    exact = goldens["table_fp32"].double()
    errors = {name: (table_of(goldens, DTYPES[name]).double() - exact).abs().amax(dim=(1, 2)) for name in DTYPES}
    at = {position: row for row, position in enumerate(goldens["positions"].tolist())}
    assert errors["fp32"].max() == 0
    assert errors["fp16"][at[500]] == pytest.approx(0.165, abs=0.001)
    assert errors["fp16"][at[2047]] == pytest.approx(0.977, abs=0.001)
    assert errors["bf16"][at[500]] > 1
    assert torch.equal(*rotary_table(torch.tensor([[500, 501]]), 64, torch.bfloat16)[0][0])


def test_rotation(goldens):
    states = goldens["x"].transpose(1, 2)  # (batch, heads, seq, head_dim)
    rotated = rotate(states, rotary_table(goldens["positions"][None], 64)).transpose(1, 2)
    torch.testing.assert_close(rotated, goldens["x_rotated"], rtol=0, atol=1e-6)
    assert torch.equal(rotated[..., 64:], goldens["x"][..., 64:])


def test_half_precision_states_are_rotated_in_float32(goldens):
    states = goldens["x"].transpose(1, 2).half()
    table = rotary_table(goldens["positions"][None], 64)
    rotated = rotate(states, table)
    assert rotated.dtype == torch.float16
    assert torch.equal(rotated, rotate(states.float(), table).half())


@pytest.mark.parametrize("dtype", [torch.float16, torch.bfloat16])
def test_table_of_a_model_is_float32_by_default(make_chatglm2, dtype):
    """For weights of any dtype the keys of the first layer are rotated exactly."""
    ids = torch.tensor([[7]])
    for original in (False, True):
        model = make_chatglm2(rotary_in_weight_dtype=original).to(dtype)

        def keys(position, model=model):
            cache = model(input_ids=ids, position_ids=torch.tensor([[position]]), use_cache=True).past_key_values
            return cache.layers[0].keys

        expected = rotate(keys(0), rotary_table(torch.tensor([[1501]]), 4))
        assert torch.equal(keys(1501), expected) is not original
        coarse = rotate(keys(0), rotary_table(torch.tensor([[1501]]), 4, dtype))
        assert torch.equal(keys(1501), coarse) is original

import copy

import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st
from torch import nn

from papertune.errors import ModelError
from papertune.models import check_int8, precision_name, to_int8
from papertune.models.quantization import int8
from papertune.models.quantization.int8 import Int8Linear, max_int8_weight


def slow_product(x, linear):
    """Compute the product of rounded numbers in float64, by the formula of the module's docstring."""
    # Rounded in float32, so that halves are rounded alike; multiplied and added up in float64.
    w = linear.weight.detach()
    s = w.abs().amax(dim=1, keepdim=True).clamp_min(1e-30) / max_int8_weight()
    r = x.abs().amax(dim=-1, keepdim=True).clamp_min(1e-30) / 127
    q, p = (w / s).round().double(), (x * r.reciprocal()).round().double()
    y = r * (p @ q.T) * s.T
    return y if linear.bias is None else y + linear.bias.detach().double()


def int8_layer(linear):
    return Int8Linear(linear, int8._TokenRounding())


@given(
    st.integers(1, 70),
    st.integers(1, 40),
    st.lists(st.integers(1, 5), min_size=1, max_size=2),
    st.booleans(),
    st.integers(0, 2**31),
    st.sampled_from([1e-12, 1.0, 1e6]),
)
def test_product_equals_that_of_the_rounded_numbers(inputs, outputs, batch, bias, seed, size):
    generator = torch.Generator().manual_seed(seed)
    linear = nn.Linear(inputs, outputs, bias=bias)
    nn.init.normal_(linear.weight, generator=generator)
    x = torch.randn(*batch, inputs, generator=generator) * size
    y = int8_layer(linear)(x)
    expected = slow_product(x, linear)
    assert y.shape == expected.shape
    torch.testing.assert_close(y.double(), expected, rtol=1e-4, atol=1e-5 * size)


@pytest.mark.parametrize("sign", [1, -1])
@pytest.mark.parametrize("inputs", [2, 576, 1536])
def test_largest_numbers_do_not_overflow(inputs, sign):
    linear = nn.Linear(inputs, 3, bias=False)
    nn.init.constant_(linear.weight, 1.0)
    y = int8_layer(linear)(torch.full((4, inputs), sign * 3.0))
    torch.testing.assert_close(y, torch.full((4, 3), sign * 3.0 * inputs))


def test_rounding_errors_are_small():
    torch.manual_seed(0)
    linear, x = nn.Linear(576, 64), torch.randn(50, 576)
    y, full = int8_layer(linear)(x), linear(x).detach()
    assert (y - full).norm() / full.norm() < 0.02


def test_zeros_stay_zeros():
    linear = nn.Linear(8, 4)
    nn.init.zeros_(linear.weight)
    torch.testing.assert_close(int8_layer(linear)(torch.randn(3, 8)), linear.bias.detach().expand(3, -1))
    x = torch.zeros(2, 8)
    torch.testing.assert_close(int8_layer(nn.Linear(8, 4, bias=False))(x), torch.zeros(2, 4))


def test_tokens_are_independent_of_each_other():
    layer = int8_layer(nn.Linear(16, 8))
    x = torch.randn(5, 16) * torch.tensor([1e-3, 1.0, 1e3, 1.0, 1e-3])[:, None]
    together = layer(x)
    for index in range(5):
        torch.testing.assert_close(layer(x[index : index + 1].clone()), together[index : index + 1], rtol=0, atol=0)


@pytest.mark.parametrize("dtype", [torch.bfloat16, torch.float32])
def test_dtype_is_kept(dtype):
    layer = int8_layer(nn.Linear(16, 8).to(dtype))
    assert layer(torch.randn(2, 16, dtype=dtype)).dtype == dtype


class Siblings(nn.Module):
    def __init__(self):
        super().__init__()
        self.q, self.k, self.other = nn.Linear(8, 8), nn.Linear(8, 4), nn.Linear(4, 8)

    def forward(self, x):
        return self.other(self.k(x)) + self.q(x)

    def get_output_embeddings(self):
        return nn.Identity()


def test_siblings_round_a_shared_tensor_once(monkeypatch):
    model, calls = Siblings(), []
    plain = copy.deepcopy(model)
    assert to_int8(model) == 3
    amax = torch.Tensor.amax
    monkeypatch.setattr(torch.Tensor, "amax", lambda self, *a, **k: calls.append(self.shape) or amax(self, *a, **k))
    with torch.inference_mode():
        first = torch.randn(3, 8)
        a = model(first)
        assert calls == [(3, 8), (3, 4)]
        b = model(torch.randn(3, 8))
        assert len(calls) == 4
        torch.testing.assert_close(model(first), a, rtol=0, atol=0)
        torch.testing.assert_close(a, plain(first), rtol=0.1, atol=0.1)
    assert not torch.equal(a, b)


def test_logits_of_a_model_in_int8_hardly_change(make_model):
    model = make_model()
    low = copy.deepcopy(model)
    assert precision_name(low) == "float32"
    assert to_int8(low) == 14
    assert precision_name(low).startswith(f"int8 (weights up to {max_int8_weight()}")
    assert type(low.get_output_embeddings()) is nn.Linear
    ids = torch.arange(3, 43).view(2, 20)
    with torch.inference_mode():
        full, rounded = (m(input_ids=ids).logits for m in (model, low))
    difference = (rounded - full).norm() / full.norm()
    assert 0 < difference < 0.1


def test_rounded_numbers_are_released_with_the_tensor():
    layer, x = int8_layer(nn.Linear(8, 4)), torch.randn(3, 8)
    layer(x)
    assert layer._rounding._numbers is not None
    del x
    assert layer._rounding._numbers is None


def test_model_without_linear_layers_is_rejected():
    model = nn.Sequential(nn.Embedding(5, 8))
    model.get_output_embeddings = nn.Identity
    with pytest.raises(ModelError, match="Sequential has no linear layers that can be converted"):
        to_int8(model)


def test_nan_and_empty_inputs():
    layer = int8_layer(nn.Linear(8, 4))
    x = torch.randn(3, 8)
    x[1, 2] = torch.nan
    assert layer(x).isnan().any(dim=1).tolist() == [False, True, False]
    assert layer(torch.zeros(0, 8)).shape == (0, 4)


def test_reasons_against_int8(monkeypatch):
    with pytest.raises(ModelError) as error:
        check_int8("cuda:0", None)
    assert str(error.value) == (
        "--precision int8 is for CPUs, but the device is cuda:0. Leave it out, or predict with --device cpu."
    )
    with pytest.raises(ModelError) as error:
        check_int8("cpu", 4)
    assert str(error.value) == (
        "--precision int8: the run's base model is already stored in 4 bits (method.base_bits). Leave --precision out."
    )
    check_int8("cpu", None)
    monkeypatch.setattr(torch.backends.mkldnn, "is_available", lambda: False)
    with pytest.raises(ModelError, match=r"needs a PyTorch with oneDNN, which is missing\. Use --precision fp32"):
        check_int8("cpu", None)

import pytest
import torch
import torch.nn.functional as F
from hypothesis import assume, given
from hypothesis import strategies as st

from papertune.models.cpu import packs_weights
from papertune.models.llama.products import DenseProduct, Int8Product, PackedProduct
from papertune.models.quantization.int8 import max_int8_weight

CLOSE = {torch.float32: {"rtol": 1e-4, "atol": 1e-4}, torch.bfloat16: {"rtol": 0.03, "atol": 0.06}}


def made(inputs, outputs, rows, bias, seed, dtype):
    generator = torch.Generator().manual_seed(seed)
    weight = torch.randn(outputs, inputs, generator=generator).to(dtype)
    offset = torch.randn(outputs, generator=generator).to(dtype) if bias else None
    x = torch.randn(*rows, inputs, generator=generator).to(dtype)
    other = torch.randn(*rows, outputs, generator=generator).to(dtype)
    return weight, offset, x, other


def assert_steps(product, x, other, exact, close):
    """Compare all steps with the exact product in float64."""
    steps = {
        "plain": (product.plain(product.prepare(x)), exact),
        "silu": (product.silu(product.prepare(x)), F.silu(exact)),
        "times": (product.times(product.prepare(x), other.clone()), exact * other.double()),
        "plus": (product.plus(product.prepare(x), other.clone()), exact + other.double()),
    }
    for name, (found, expected) in steps.items():
        assert found.dtype == x.dtype, name
        torch.testing.assert_close(found.double(), expected, **close, msg=lambda text, name=name: f"{name}: {text}")


shapes = {
    "inputs": st.integers(1, 70),
    "outputs": st.integers(1, 40),
    "rows": st.lists(st.integers(1, 5), min_size=1, max_size=2),
    "bias": st.booleans(),
    "seed": st.integers(0, 2**31),
    "dtype": st.sampled_from([torch.float32, torch.bfloat16]),
}


@pytest.mark.parametrize(
    "kind",
    [
        DenseProduct,
        pytest.param(
            PackedProduct,
            marks=pytest.mark.skipif(not packs_weights(torch.float32), reason="oneDNN packs no weights on this CPU"),
        ),
    ],
)
@given(**shapes)
def test_floating_point(kind, inputs, outputs, rows, bias, seed, dtype):
    assume(kind is DenseProduct or packs_weights(dtype))
    weight, offset, x, other = made(inputs, outputs, rows, bias, seed, dtype)
    exact = x.double() @ weight.double().T + (0 if offset is None else offset.double())
    scale = max(1.0, inputs**0.5)
    close = {"rtol": CLOSE[dtype]["rtol"], "atol": CLOSE[dtype]["atol"] * scale}
    with torch.inference_mode():
        assert_steps(kind(weight, offset), x, other, exact, close)


@given(**shapes)
def test_integers(inputs, outputs, rows, bias, seed, dtype):
    weight, offset, x, other = made(inputs, outputs, rows, bias, seed, dtype)
    activation = Int8Product.prepare(x)
    p, r = activation.values.double() - 128, activation.scales.double()
    assert p.abs().max() <= 127
    # What is lost by rounding is at most half a step.
    assert ((p * r - x.double()).abs() <= r * 0.501).all()
    s = weight.float().abs().amax(dim=1, keepdim=True).clamp_min(1e-30) / max_int8_weight()
    q = (weight.float() / s).round().double()
    exact = r * (p @ q.T) * s.double().T + (0 if offset is None else offset.double())
    scale = max(1.0, inputs**0.5)
    close = {"rtol": CLOSE[dtype]["rtol"], "atol": CLOSE[dtype]["atol"] * scale}
    assert_steps(Int8Product(weight.float(), offset), x, other, exact, close)


@pytest.mark.parametrize("dtype", [torch.float32, torch.bfloat16])
def test_a_token_of_zeros_stays_zero(dtype):
    product = Int8Product(torch.ones(3, 5), None)
    y = product.plain(product.prepare(torch.zeros(2, 5, dtype=dtype)))
    assert torch.equal(y, torch.zeros(2, 3, dtype=dtype))

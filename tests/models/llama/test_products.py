import pytest
import torch
import torch.nn.functional as F
from hypothesis import assume, given
from hypothesis import strategies as st

from papertune.models.cpu import packs_weights
from papertune.models.fused.choice import best_steps
from papertune.models.llama.products import DenseProduct, Int8Product, PackedProduct
from papertune.models.llama.steps import Steps
from papertune.models.quantization.int8 import max_int8_weight

CLOSE = {torch.float32: {"rtol": 1e-4, "atol": 1e-4}, torch.bfloat16: {"rtol": 0.03, "atol": 0.06}}


PLAIN = Steps()
# Fused ones, where numba is installed.
BEST = best_steps(torch.float32, torch.float32, to_integers=True)


def made(inputs, outputs, rows, bias, seed, dtype):
    generator = torch.Generator().manual_seed(seed)
    weights = [torch.randn(outputs, inputs, generator=generator).to(dtype) for _ in range(2)]
    biases = [torch.randn(outputs, generator=generator).to(dtype) if bias else None for _ in range(2)]
    x = torch.randn(*rows, inputs, generator=generator).to(dtype)
    other = torch.randn(*rows, outputs, generator=generator).to(dtype)
    return list(zip(weights, biases, strict=True)), x, other


def assert_steps(products, x, other, exact, close):
    """Compare all steps with the exact products in float64."""
    one, two = products
    steps = {
        "plain": (one.plain(one.prepare(x)), exact[0]),
        "gated": (as_numbers(one.gated(one.prepare(x), two, PLAIN)), F.silu(exact[0]) * exact[1]),
        "gated, best steps": (as_numbers(one.gated(one.prepare(x), two, BEST)), F.silu(exact[0]) * exact[1]),
        "plus": (one.plus(one.prepare(x), other.clone()), exact[0] + other.double()),
    }
    for name, (found, expected) in steps.items():
        torch.testing.assert_close(found.double(), expected, **close, msg=lambda text, name=name: f"{name}: {text}")


def as_numbers(activation):
    if activation.scales is None:
        return activation.values
    return (activation.values.double() - 128) * activation.scales.double()


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
    layers, x, other = made(inputs, outputs, rows, bias, seed, dtype)
    exact = [x.double() @ weight.double().T + (0 if offset is None else offset.double()) for weight, offset in layers]
    scale = max(1.0, inputs**0.5)
    close = {"rtol": CLOSE[dtype]["rtol"], "atol": CLOSE[dtype]["atol"] * scale}
    with torch.inference_mode():
        assert_steps([kind(*layer) for layer in layers], x, other, exact, close)


@given(**{**shapes, "dtype": st.just(torch.float32)})
def test_integers(inputs, outputs, rows, bias, seed, dtype):
    layers, x, other = made(inputs, outputs, rows, bias, seed, dtype)
    activation = Int8Product.prepare(x)
    numbers = as_numbers(activation)
    assert (activation.values.double() - 128).abs().max() <= 127
    # What is lost by rounding is at most half a step.
    assert ((numbers - x.double()).abs() <= activation.scales.double() * 0.501).all()
    exact = []
    for weight, offset in layers:
        s = weight.abs().amax(dim=1, keepdim=True).clamp_min(1e-30) / max_int8_weight()
        rounded = (weight / s).round().double() * s.double()
        exact.append(numbers @ rounded.T + (0 if offset is None else offset.double()))
    # The product with the gate is rounded to integers itself.
    step = (F.silu(exact[0]) * exact[1]).abs().max().item() / 127
    assert_steps([Int8Product(*layer) for layer in layers], x, other, exact, {"rtol": 1e-4, "atol": 1e-4 + step * 0.51})


@pytest.mark.parametrize("steps", [PLAIN, BEST], ids=["PyTorch's", "best"])
@pytest.mark.parametrize("to_integers", [False, True])
@pytest.mark.parametrize("size", [1e-6, 1.0, 1e6])
def test_norms_before_products_are_the_exact_ones(steps, to_integers, size):
    states = size * torch.randn(2, 5, 576, generator=torch.Generator().manual_seed(0))
    weight = torch.linspace(-2, 2, 576)
    exact = F.rms_norm(states.double(), (576,), weight.double(), 1e-5)
    found = steps.normed(states.clone(), weight, 1e-5, to_integers=to_integers)
    step = 0.0 if found.scales is None else 0.501 * found.scales.double()
    assert ((as_numbers(found).double() - exact).abs() <= step + 1e-5 * exact.abs()).all()


@pytest.mark.parametrize("steps", [PLAIN, BEST], ids=["PyTorch's", "best"])
def test_a_gate_far_below_zero_closes(steps):
    closed, two = Int8Product(torch.full((3, 4), -1.0), None), Int8Product(torch.ones(3, 4), None)
    x = torch.full((2, 4), 500.0)
    assert torch.equal(as_numbers(closed.gated(closed.prepare(x), two, steps)), torch.zeros(2, 3, dtype=torch.float64))


@pytest.mark.parametrize("dtype", [torch.float32, torch.bfloat16])
def test_a_token_of_zeros_stays_zero(dtype):
    product = Int8Product(torch.ones(3, 5), None)
    y = product.plain(product.prepare(torch.zeros(2, 5, dtype=dtype)))
    assert torch.equal(y, torch.zeros(2, 3))

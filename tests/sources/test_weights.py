import numpy as np
import pytest
from scipy.optimize import check_grad, minimize

from papertune.sources.classifier import log_softmax
from papertune.sources.fitting import weights as module
from papertune.sources.fitting.weights import fit_weights, join, mean_log_loss


@pytest.fixture
def rng():
    return np.random.default_rng(0)


@pytest.mark.parametrize("labels", [2, 5])
def test_a_join_is_the_softmax_of_the_weighted_sum(rng, labels):
    first, second = (log_softmax(rng.normal(size=(7, labels))) for _ in range(2))
    offsets = rng.normal(size=labels)
    found = np.exp(join([first, second], [0.3, 1.2], offsets))
    for row in range(7):  # a plain twin, product by product
        products = [
            np.exp(first[row, label]) ** 0.3 * np.exp(second[row, label]) ** 1.2 * np.exp(offsets[label])
            for label in range(labels)
        ]
        assert found[row] == pytest.approx([each / sum(products) for each in products], abs=1e-12)


def test_a_single_source_with_weight_1_is_unchanged(rng):
    source = log_softmax(rng.normal(size=(5, 3)))
    assert np.allclose(join([source], [1.0], [0, 0, 0]), source)


def test_weights_are_those_of_a_search_without_gradients(rng, make_source):
    gold = rng.integers(3, size=80)
    sources = [make_source(rng, gold, 3, strength) for strength in (2.0, 1.0)]

    def loss(values):
        far = values[:2] - 0.5
        total = 80 * mean_log_loss(join(sources, values[:2], values[2:]), gold)
        return total + 2 * module._WEIGHT_PENALTY * far @ far + module._OFFSET_PENALTY * values[2:] @ values[2:]

    bounds = [(0, None)] * 2 + [(None, None)] * 3
    options = {"maxiter": 50_000, "maxfev": 50_000, "xatol": 1e-6, "fatol": 1e-9}
    expected = minimize(loss, [0.5, 0.5, 0, 0, 0], method="Nelder-Mead", bounds=bounds, options=options)
    found = fit_weights(sources, gold)
    assert found.of_sources == pytest.approx(expected.x[:2], abs=0.02)
    assert loss(np.array([*found.of_sources, *found.offsets])) <= expected.fun + 1e-4


def test_the_gradient_is_right(rng, monkeypatch, make_source):
    gold = rng.integers(3, size=40)
    sources = [make_source(rng, gold, 3, 1.0) for _ in range(2)]
    kept = {}

    def check(loss, start, **options):
        point = start + 0.1
        kept["error"] = check_grad(lambda x: loss(x)[0], lambda x: loss(x)[1], point)
        return minimize(loss, start, **options)

    monkeypatch.setattr("scipy.optimize.minimize", check)
    fit_weights(sources, gold)
    assert kept["error"] < 1e-5


def test_a_source_of_noise_gets_hardly_any_weight(rng, make_source):
    gold = rng.integers(2, size=2000)
    good, noise = make_source(rng, gold, 2, 2.0), make_source(rng, gold, 2, 0.0)
    assert fit_weights([good, noise], gold).of_sources[1] < 0.05


def test_a_source_that_is_too_sure_is_calibrated(rng, make_source):
    gold = rng.integers(2, size=2000)
    honest = make_source(rng, gold, 2, 2.0)
    plain = fit_weights([honest], gold).of_sources[0]
    assert fit_weights([log_softmax(4 * honest)], gold).of_sources[0] == pytest.approx(plain / 4, rel=0.1)


def test_not_all_weights_are_0(rng, make_source):
    gold = np.array([0, 1] * 20)
    wrong = [make_source(rng, 1 - gold, 2, 3.0) for _ in range(2)]
    assert fit_weights(wrong, gold).of_sources == (module._SMALLEST, 0.0)


def test_with_few_rows_weights_stay_near_the_mean(rng, make_source):
    gold = rng.integers(2, size=4)
    found = fit_weights([make_source(rng, gold, 2, 8.0), make_source(rng, gold, 2, 8.0)], gold)
    assert max(found.of_sources) < 1.2

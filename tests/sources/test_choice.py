import numpy as np
import pytest

from papertune.kinds.label.record import Join
from papertune.sources.fitting.choice import add_model, choose_sources, first_as_good, standard_error
from papertune.sources.fitting.weights import fit_weights, log_losses

COSTS = {"words": 0, "encoder": 1}


@pytest.fixture
def rng():
    return np.random.default_rng(1)


def test_a_dear_source_that_adds_nothing_is_left_out(rng, make_source):
    gold = rng.integers(2, size=300)
    held_out = {"words": make_source(rng, gold, 2, 2.0), "encoder": make_source(rng, gold, 2, 0.1)}
    join = choose_sources(held_out, gold, COSTS)
    assert join.weights["encoder"] == 0
    assert join.weights["words"] > 0
    assert join.used == ["words"]


def test_a_dear_source_that_knows_more_is_joined_with_the_cheap_one(rng, make_source):
    gold = rng.integers(3, size=400)
    held_out = {"words": make_source(rng, gold, 3, 1.5), "encoder": make_source(rng, gold, 3, 1.5)}
    join = choose_sources(held_out, gold, COSTS)
    assert min(join.weights.values()) > 0.3
    assert join.losses["joined"] < min(join.losses["words"], join.losses["encoder"])
    assert join.rows == 400


def test_a_cheap_source_is_never_dropped_for_a_dear_one_that_is_as_good(rng, make_source):
    gold = rng.integers(2, size=12)
    source = make_source(rng, gold, 2, 1.0)
    assert choose_sources({"words": source, "encoder": source}, gold, COSTS).used == ["words"]


def test_the_model_is_joined_on_rows_of_which_each_has_another_label(rng, make_source):
    gold = np.arange(24)
    words, model = make_source(rng, gold, 24, 0.1), make_source(rng, gold, 24, 8.0)
    plain = Join({"words": 1.0}, [0.0] * 24, "held-out rows", 100)
    assert add_model(plain, {"words": words}, model, gold, "dev rows").asks_model


def test_a_source_that_costs_nothing_stays_in_the_join(rng, make_source):
    gold = rng.integers(2, size=100)
    held_out = {"words": make_source(rng, gold, 2, 0.5), "encoder": make_source(rng, gold, 2, 3.0)}
    assert choose_sources(held_out, gold, COSTS).used == ["words", "encoder"]
    assert set(choose_sources(held_out, gold, COSTS).losses) == {"words", "encoder", "joined"}


def test_a_join_is_judged_on_rows_that_its_weights_were_not_fitted_to():
    random = np.random.default_rng(0)
    chosen = by_fit = 0
    for _ in range(60):
        gold = random.integers(4, size=20)
        scores = np.log(random.dirichlet(np.ones(4), size=20))
        scores[np.arange(20), gold] += 1
        words = scores - np.log(np.exp(scores).sum(axis=1, keepdims=True))
        noise = np.log(random.dirichlet(np.ones(4), size=20))
        chosen += choose_sources({"words": words, "encoder": noise}, gold, COSTS).used != ["words"]
        fits = [log_losses(fit_weights(sources, gold).joined(sources), gold) for sources in ([words], [words, noise])]
        by_fit += first_as_good(dict(enumerate(fits))) == 1
    assert chosen < by_fit


def test_the_first_within_one_standard_error_is_chosen():
    losses = {"a": np.array([1.0, 2.0, 3.0]), "b": np.array([0.0, 2.0, 3.0])}
    assert first_as_good(losses) == "a"  # 1/3 worse, and so is the standard error
    assert first_as_good({"a": np.array([1.0, 2.1, 3.0]), "b": np.array([0.0, 1.0, 2.0])}) == "b"
    assert standard_error(np.array([1.0])) == float("inf")


class TestModel:
    plain = Join({"words": 1.0}, [0.0, 0.0], "held-out rows", 500, {"words": 0.5, "joined": 0.5})

    def test_a_model_that_knows_more_gets_the_weight(self, rng, make_source):
        gold = rng.integers(2, size=200)
        words, model = make_source(rng, gold, 2, 1.0), make_source(rng, gold, 2, 4.0)
        join = add_model(self.plain, {"words": words}, model, gold, "dev rows")
        assert join.asks_model
        assert join.weights["model"] > join.weights["words"]
        assert join.losses["joined"] < join.losses["without model"]
        assert (join.evidence, join.rows) == ("dev rows", 200)

    @pytest.mark.parametrize("seed", [5, 26, 33])
    def test_words_stay_beside_a_model_that_is_better_alone_by_chance_only(self, make_source, seed):
        rng = np.random.default_rng(seed)  # in these three the model alone has the lower cross-fitted loss
        gold = rng.integers(2, size=100)
        words, model = make_source(rng, gold, 2, 1.5), make_source(rng, gold, 2, 3.0)
        join = add_model(self.plain, {"words": words}, model, gold, "dev rows")
        fitted = fit_weights([words, model], gold)
        assert (join.weights["words"], join.weights["model"]) == pytest.approx(fitted.of_sources)
        assert join.weights["words"] > 0

    def test_a_model_that_knows_nothing_is_not_asked(self, rng, make_source):
        gold = rng.integers(2, size=200)
        words, model = make_source(rng, gold, 2, 3.0), make_source(rng, gold, 2, 0.0)
        join = add_model(self.plain, {"words": words}, model, gold, "dev rows")
        assert join.weights == {"words": 1.0, "model": 0.0}
        assert not join.asks_model
        assert join.offsets == [0.0, 0.0]

    def test_the_weights_give_the_join_that_was_measured(self, rng, make_source):
        from papertune.sources.fitting.weights import join as joined
        from papertune.sources.fitting.weights import mean_log_loss

        gold = rng.integers(2, size=300)
        plain = Join({"words": 0.7}, [0.4, -0.4], "held-out rows", 300, {})
        words, model = make_source(rng, gold, 2, 1.5), make_source(rng, gold, 2, 1.5)
        found = add_model(plain, {"words": words}, model, gold, "dev rows")
        again = joined([words, model], [found.weights["words"], found.weights["model"]], found.offsets)
        assert mean_log_loss(again, gold) == pytest.approx(found.losses["joined"], abs=1e-9)

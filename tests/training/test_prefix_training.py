import functools
import shutil

import pytest
import torch
from safetensors.torch import load_file
from test_loop import RESUMED, Training, assert_same_checkpoints, assert_same_weights, make_rows, slow_fit

from papertune.methods import build_trainable, checkpoint_activations, load_adapter, prefix_of
from papertune.recipe import PtuningV2Method

PLAIN = PtuningV2Method(kind="ptuning_v2", prefix_length=5)
PROJECTED = PtuningV2Method(kind="ptuning_v2", prefix_length=5, projection=True)
DROPPED = [method.model_copy(update={"dropout": 0.2}) for method in (PLAIN, PROJECTED)]
IDS = torch.arange(3, 13)[None]

pytestmark = pytest.mark.parametrize("projection", [False, True], ids=["plain", "projected"])


@pytest.fixture
def train(make_model, tmp_path):
    return Training(make_model, tmp_path)


@pytest.mark.parametrize("text", [[], [5, 9, 7]], ids=["random", "text"])
def test_fit_does_the_steps_of_a_plain_loop(train, make_model, projection, text):
    method, train.text = PROJECTED if projection else PLAIN, text
    train(rows=11, method=method, spec={"accumulation": 2, "epochs": 2, "learning_rate": 3e-3})
    model = build_trainable(make_model(), method, seed=0, text=text)
    losses = slow_fit(model, make_rows(11), batch=2, accumulation=2, epochs=2, rate=3e-3, warmup=2)
    assert [entry["loss"] for entry in train.metrics()] == pytest.approx(losses, rel=0, abs=1e-4)
    expected = {name: p.detach() for name, p in model.named_parameters() if p.requires_grad}
    assert_same_weights(train.trained(), expected, rtol=0, atol=1e-5)
    assert not train.model.training


def test_gradient_checkpointing_changes_no_loss(train, projection):
    losses, weights = [], []
    for name, prepare in (("off", lambda _: None), ("on", checkpoint_activations)):
        train.prepare = prepare
        train(name, method=DROPPED[projection])
        losses.append([(entry["loss"], entry["grad_norm"]) for entry in train.metrics()])
        weights.append(train.trained())
    for on, off in zip(*losses, strict=True):
        assert on == pytest.approx(off, rel=1e-5)
        assert off[1] > 0.01
    assert_same_weights(weights[1], weights[0], rtol=0, atol=1e-6)


@pytest.fixture(scope="module")
def uninterrupted(make_model, tmp_path_factory):
    """Return a function that trains with a projection or without, once, and returns folder, metrics and weights."""

    @functools.cache
    def whole(projection, text):
        train = Training(make_model, tmp_path_factory.mktemp("uninterrupted"))
        train.text = list(text)
        train("whole", rows=11, method=DROPPED[projection], spec=RESUMED)
        return train.checkpoints, train.metrics(), train.trained()

    return whole


# Within an epoch or at its end. What a prefix begins as is replaced by a checkpoint wherever that is.
@pytest.mark.slow
@pytest.mark.parametrize(
    ("last", "text"),
    [(1, ()), (3, ()), (5, ()), (6, ()), (1, (5, 9, 7))],
    ids=["1", "3", "5", "6", "1, text"],
)
def test_a_resumed_training_ends_like_an_uninterrupted_one(train, uninterrupted, tmp_path, projection, last, text):
    method, train.text = DROPPED[projection], list(text)
    whole, metrics, weights = uninterrupted(projection, text)
    shutil.copytree(whole, tmp_path / "again")
    for step in range(last + 1, 7):
        shutil.rmtree(tmp_path / "again" / f"checkpoint-{step}")
    shutil.copy(whole.with_suffix(".jsonl"), tmp_path / "again.jsonl")
    train("again", rows=11, method=method, spec=RESUMED, resume=True)
    assert_same_weights(train.trained(), weights, rtol=0, atol=0)
    for step in range(last + 1, 7):
        one, other = (folder / f"checkpoint-{step}" for folder in (train.checkpoints, whole))
        assert_same_checkpoints(one, other)
        encoders = [load_file(folder / "prefix_encoder.safetensors") for folder in (one, other)]
        assert_same_weights(*encoders, rtol=0, atol=0)
    assert train.metrics() == metrics


def test_the_best_weights_are_restored(train, make_model, tmp_path, projection):
    prefixes = []
    values = iter([0.2, 0.9, 0.9, 0.1, 0.3])

    def dev_score(model):
        assert not model.training
        prefixes.append(prefix_of(model))
        return {"score": next(values)}

    spec = {"save_steps": 1, "keep_checkpoints": 1}
    method = DROPPED[projection]
    for resume in (False, True):
        result = train(method=method, spec=spec, dev_score=dev_score, resume=resume)
        assert (result.steps, result.best_step) == (5, 2)
        assert torch.equal(prefix_of(train.model).keys, prefixes[1].keys)
        assert not torch.equal(prefixes[2].keys, prefixes[1].keys)
    PLAIN.save(train.model, tmp_path / "adapter", "tiny", torch.float32)
    kept = prefix_of(load_adapter(make_model(), tmp_path / "adapter"))
    torch.testing.assert_close(kept.keys, prefixes[1].keys, rtol=0, atol=1e-6)
    torch.testing.assert_close(kept.values, prefixes[1].values, rtol=0, atol=1e-6)


def test_a_bfloat16_model_has_float32_parameters(train, make_model, projection):
    train.make_model = lambda: make_model().bfloat16()
    spec = {"epochs": 16, "learning_rate": 0.1}
    train(rows=6, method=PROJECTED if projection else PLAIN, spec=spec, compute_dtype=torch.bfloat16)
    assert {tensor.dtype for tensor in train.trained().values()} == {torch.float32}
    assert {p.dtype for p in train.model.get_base_model().parameters()} == {torch.bfloat16}
    losses = [entry["loss"] for entry in train.metrics() if "loss" in entry]
    assert sum(losses[-12:]) < 0.7 * sum(losses[:12])

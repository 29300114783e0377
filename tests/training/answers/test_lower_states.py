import shutil

import pytest
import torch
from test_loop import Training, assert_same_weights, make_rows

from papertune.methods import build_trainable
from papertune.methods.freeze import FreezeMethod
from papertune.methods.full import FullMethod
from papertune.methods.ptuning_v2 import PtuningV2Method
from papertune.recipe import LoraMethod
from papertune.training.answers import lower_states
from papertune.training.answers.lower_states import LowerStates

UPPER = LoraMethod(rank=4, layers=1)
TWO_EPOCHS = {"epochs": 2, "learning_rate": 3e-3, "save_steps": 1, "keep_checkpoints": 9}


@pytest.fixture
def train(make_model, tmp_path):
    return Training(make_model, tmp_path)


@pytest.fixture
def computed(monkeypatch):
    """Return the rows that have gone through the lower layers."""
    rows = []
    compute = LowerStates._compute
    monkeypatch.setattr(LowerStates, "_compute", lambda self, row: rows.append(row) or compute(self, row))
    return rows


@pytest.mark.slow
@pytest.mark.parametrize("method", [UPPER, FreezeMethod(kind="freeze", layers=1)])
@pytest.mark.parametrize("max_bytes", [2**30, 0])
def test_kept_states_train_like_a_pass_through_all_layers(train, computed, monkeypatch, method, max_bytes):
    with monkeypatch.context() as patch:
        patch.setattr(LowerStates, "of", lambda *_: None)
        train("plain", method=method, spec=TWO_EPOCHS)
    assert computed == []
    expected = train.trained()
    monkeypatch.setattr(lower_states, "MAX_BYTES", max_bytes)
    train("kept", method=method, spec=TWO_EPOCHS)
    assert_same_weights(train.trained(), expected, rtol=1e-4, atol=1e-5)
    assert len(computed) == (10 if max_bytes else 20)


def test_one_epoch_keeps_no_states(train, computed):
    train(method=UPPER, spec=TWO_EPOCHS | {"epochs": 1})
    train(method=UPPER, spec=TWO_EPOCHS | {"max_steps": 5})
    assert computed == []
    train(method=UPPER, spec=TWO_EPOCHS | {"max_steps": 6})
    assert len(computed) == 10


def test_a_resumed_training_computes_the_same_states(train, tmp_path):
    train("whole", method=UPPER, spec=TWO_EPOCHS)
    weights = train.trained()
    shutil.copytree(train.checkpoints, tmp_path / "again")
    for step in range(8, 11):
        shutil.rmtree(tmp_path / "again" / f"checkpoint-{step}")
    train("again", method=UPPER, spec=TWO_EPOCHS, resume=True)
    assert_same_weights(train.trained(), weights, rtol=0, atol=0)


def test_the_states_of_a_row_do_not_depend_on_its_batch(make_model):
    rows = make_rows(6)
    model = build_trainable(make_model(), UPPER, seed=0)
    layers = list(model.get_base_model().model.layers)
    seen = []
    layers[0].register_forward_hook(lambda *_: seen.append(_[-1]))
    states = LowerStates.of(model, rows)
    width = max(map(len, rows))
    with states.given(torch.tensor([3, 5]), width):
        padded = layers[0](None)
    for place, number in enumerate((3, 5)):
        alone = seen[place][0]
        assert torch.equal(padded[place, : len(alone)], alone)
        assert alone.shape[0] == len(rows[number])
        assert not padded[place, len(alone) :].any()
    assert padded.shape[1] == width


@pytest.mark.parametrize(
    "method", [LoraMethod(), FullMethod(kind="full"), PtuningV2Method(kind="ptuning_v2"), LoraMethod(layers=2)]
)
def test_no_states_where_the_first_layer_is_trained(make_model, method):
    assert LowerStates.of(build_trainable(make_model(), method, seed=0), make_rows(2)) is None


def test_no_states_where_embeddings_are_trained_too(make_model):
    model = build_trainable(make_model(), FreezeMethod(kind="freeze", layers=1), seed=0)
    assert LowerStates.of(model, make_rows(2)) is not None
    model.get_input_embeddings().requires_grad_(True)
    assert LowerStates.of(model, make_rows(2)) is None


def test_forward_methods_are_as_before_after_a_pass(make_model):
    model = build_trainable(make_model(), UPPER, seed=0)
    layers = list(model.get_base_model().model.layers)
    layers[0].forward = own = layers[0].forward
    with lower_states._forwards({layers[0]: lambda: 1, layers[1]: lambda: 2}):
        assert (layers[0](), layers[1]()) == (1, 2)
    assert layers[0].forward is own
    assert "forward" not in layers[1].__dict__

"""Killed trainings of a prefix; see test_kill_train.py for LoRA."""

from functools import partial
from types import SimpleNamespace

import pytest
import torch
from processes import die_halfway
from safetensors.torch import load_file
from test_kill_train import STEPS, Training, assert_the_same, in_the_adapter, in_the_state

import papertune

in_the_encoder = partial(die_halfway, "papertune.methods.prefix.tuned", "save_file", file_argument=1)


@pytest.fixture(scope="module", params=["false", "true"], ids=["plain", "projected"])
def prefix_sample(request, sample, tmp_path_factory):
    """Return the sample with a recipe that trains a prefix, with dropout and two batches per step."""
    text = sample.recipe.read_text("utf-8")
    method = f'kind = "ptuning_v2"\nprefix_length = 6\nprojection = {request.param}'
    recipe = tmp_path_factory.mktemp("prefix") / "recipe.toml"
    recipe.write_text(text.replace("rank = 4", method).replace("[training]", "[training]\nlearning_rate = 0.05"))
    return SimpleNamespace(train=sample.train, recipe=recipe)


@pytest.fixture(scope="module")
def whole(prefix_sample, tmp_path_factory):
    """Return a training that was not killed."""
    training = Training(prefix_sample, tmp_path_factory.mktemp("whole"))
    command = training.start()
    assert command.end() == 0, command.printed
    return training


@pytest.mark.once
@pytest.mark.slow
def test_repeatedly_killed_prefix_training_ends_with_the_same_parameters(prefix_sample, whole, tmp_path):
    training = Training(prefix_sample, tmp_path)
    training.dies(partial(in_the_encoder, 1))
    assert training.steps() == []
    training.is_killed_after(2, 0.01)
    assert training.steps()
    training.dies(partial(in_the_adapter, 1))
    training.dies(partial(in_the_encoder, 2))
    training.dies(partial(in_the_state, 1))
    command = training.start()
    assert command.end() == 0, command.printed
    assert training.kills == 5
    assert_the_same(training, whole)
    encoders = [
        load_file(each.run / f"training/checkpoint-{STEPS}/prefix_encoder.safetensors") for each in (training, whole)
    ]
    assert encoders[0].keys() == encoders[1].keys()
    assert all(torch.equal(tensor, encoders[1][name]) for name, tensor in encoders[0].items())
    assert papertune.load_run(training.run).manifest.steps == STEPS

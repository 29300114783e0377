"""`papertune train --stage pt`: killed and resumed, stopped and resumed, in two processes."""

import json
import signal
from functools import partial

import pytest
import torch
from launching import Launch
from processes import Command, die_at
from safetensors.torch import load_file

import papertune

pytestmark = [pytest.mark.slow, pytest.mark.once]

SETTINGS = ("stage.block=48", "training.epochs=3", "stage.mix_instructions=0.3")


def command(sample, run, *options):
    settings = [part for setting in SETTINGS for part in ("--set", setting)]
    files = [sample.train, "-r", sample.recipe, "-o", run, "--dev", sample.new]
    return ["train", *files, "--stage", "pt", "--set", "training.dev_rows=8", *settings, "--resume", *options]


@pytest.fixture(scope="module")
def undisturbed(sample, tmp_path_factory):
    run = tmp_path_factory.mktemp("undisturbed") / "run"
    started = Command(command(sample, run))
    assert started.end() == 0, started.printed
    return run


def adapter(run):
    return load_file(run / "adapter" / "adapter_model.safetensors")


def metrics(run):
    return [json.loads(line) for line in (run / "metrics.jsonl").read_text("utf-8").splitlines()]


def assert_the_same(run, other):
    first, second = adapter(run), adapter(other)
    assert first.keys() == second.keys()
    assert [name for name in first if not torch.equal(first[name], second[name])] == []
    assert metrics(run) == metrics(other)
    results = [papertune.load_run(each).manifest.stage_results for each in (run, other)]
    assert results[0] == results[1]


def test_killed_training_ends_with_the_same_parameters(sample, undisturbed, tmp_path):
    run = tmp_path / "run"
    losses = partial(die_at, "papertune.training.documents.loop", "token_losses")
    patches = [
        partial(die_at, "papertune.training.documents.token_file:TokenWriter", "add", 5),
        partial(die_at, "papertune.training.documents.token_file:TokenWriter", "finish"),
        partial(losses, 2),
        partial(losses, 11),
        partial(die_at, "papertune.training.callbacks", "mark_complete", 2),
        partial(die_at, "papertune.run_directory:RunDirectory", "finish"),
    ]
    for patch in patches:
        killed = Command(command(sample, run), patch)
        assert killed.end() == -signal.SIGKILL, killed.printed
    finished = Command(command(sample, run))
    assert finished.end() == 0, finished.printed
    assert_the_same(run, undisturbed)


def test_two_processes_read_the_same_as_one(sample, tmp_path):
    options = ("--set", "method.dropout=0", "--set", "training.accumulation=1")
    launch = Launch(command(sample, tmp_path / "two", *options))
    assert launch.end() == [0, 0], launch.printed
    one = Command(command(sample, tmp_path / "one", *options, "--set", "training.accumulation=2"))
    assert one.end() == 0, one.printed
    weights = adapter(tmp_path / "one")
    for name, tensor in adapter(tmp_path / "two").items():
        torch.testing.assert_close(tensor, weights[name], rtol=0, atol=1e-5, msg=name)
    results = [papertune.load_run(tmp_path / name).manifest.stage_results for name in ("one", "two")]
    assert results[0] == pytest.approx(results[1], abs=1e-4)
    assert launch.printed[1] == ""
    assert "in each of 2 processes" in launch.printed[0]

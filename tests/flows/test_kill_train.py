import random
import signal
import time
from functools import partial

import pytest
import torch
from processes import Command, die_at, die_halfway, lines, slow_steps
from safetensors.torch import load_file

import papertune
from papertune.training.checkpoints import complete_checkpoints

STEPS = 24


class Training:
    """A `papertune train` command that can be started repeatedly."""

    def __init__(self, sample, folder, *options):
        self.sample = sample
        self.options = options
        self.run = folder / "run"
        self.metrics = self.run / "metrics.jsonl"
        self.kills = 0

    def start(self, *patches):
        files = [self.sample.train, "-r", self.sample.recipe, "-o", self.run]
        return Command(["train", *files, *self.options, "--resume"], *patches)

    def steps(self):
        return [int(path.name.removeprefix("checkpoint-")) for path in complete_checkpoints(self.run / "training")]

    def dies(self, patch):
        """Start it with a patch that kills it."""
        command = self.start(patch)
        assert command.end() == -signal.SIGKILL, command.printed
        self.kills += 1

    def is_killed_after(self, more, delay):
        """Start it, and kill it some steps and seconds later."""
        done = lines(self.metrics)
        command = self.start(slow_steps)
        assert command.wait_for(lambda: lines(self.metrics) > done)  # the lines of repeated steps are removed by then
        from_here = lines(self.metrics)
        assert command.wait_for(lambda: lines(self.metrics) >= from_here + more)
        time.sleep(delay)
        command.send(signal.SIGKILL)
        assert command.end() == -signal.SIGKILL, command.printed
        self.kills += 1


@pytest.fixture
def training(sample, tmp_path):
    return Training(sample, tmp_path)


@pytest.fixture(scope="module")
def undisturbed(sample, tmp_path_factory):
    training = Training(sample, tmp_path_factory.mktemp("undisturbed"))
    command = training.start()
    assert command.end() == 0, command.printed
    assert training.steps() == [STEPS - 2, STEPS]
    return training


def assert_the_same(one, other):
    """Compare two runs bit for bit: their trained parameters and the state of their last checkpoint."""
    for file in ("adapter/adapter_model.safetensors", f"training/checkpoint-{STEPS}/adapter_model.safetensors"):
        first, second = load_file(one.run / file), load_file(other.run / file)
        assert first.keys() == second.keys()
        assert [name for name in first if not torch.equal(first[name], second[name])] == []
    states = [
        torch.load(each.run / "training" / f"checkpoint-{STEPS}" / "optimizer.pt", weights_only=True)
        for each in (one, other)
    ]
    assert states[0]["param_groups"] == states[1]["param_groups"]
    assert states[0]["state"].keys() == states[1]["state"].keys()
    assert len(states[0]["state"]) > 0
    for index, state in states[0]["state"].items():
        assert all(torch.equal(tensor, states[1]["state"][index][name]) for name, tensor in state.items())
    assert one.metrics.read_text("utf-8") == other.metrics.read_text("utf-8")


# The trainer saves the adapter, then with torch.save the optimizer, the schedule, random states and its arguments.
in_the_adapter = partial(die_halfway, "peft.peft_model", "safe_save_file", file_argument=1)
in_the_state = partial(die_halfway, "torch", "save", file_argument=1)


@pytest.mark.slow
def test_repeatedly_killed_training_ends_with_the_same_parameters(training, undisturbed):
    chance = random.Random(7)
    training.dies(partial(in_the_adapter, 1))
    assert training.steps() == []
    training.is_killed_after(1, chance.uniform(0, 0.05))
    training.is_killed_after(2, chance.uniform(0, 0.05))
    assert training.steps()
    training.dies(partial(in_the_state, 1))
    training.dies(partial(in_the_state, 3))
    training.is_killed_after(1, chance.uniform(0, 0.05))
    training.dies(partial(in_the_adapter, 2))
    # The checkpoint is marked complete, but older ones are not removed yet.
    training.dies(partial(die_at, "papertune.training.callbacks", "mark_complete", 1, after=True))
    training.dies(partial(die_at, "papertune.training.checkpoints", "_remove", 1))
    command = training.start()
    assert command.end() == 0, command.printed
    assert training.kills == 9
    assert_the_same(training, undisturbed)


@pytest.mark.once
@pytest.mark.parametrize(
    "patch",
    [
        pytest.param(partial(die_at, "papertune.methods.method:AdapterMethod", "save"), id="before the weights"),
        pytest.param(partial(in_the_adapter, 1 + STEPS // 2), id="in the weights"),
        pytest.param(partial(die_at, "papertune.run_directory", "_readme"), id="before the manifest"),
        pytest.param(
            partial(die_at, "papertune.run_directory:RunDirectory", "finish", after=True), id="right after the manifest"
        ),
    ],
)
def test_training_killed_at_the_end_is_finished_by_resuming(training, undisturbed, patch):
    training.dies(patch)
    command = training.start()
    assert command.end() == 0, command.printed
    assert_the_same(training, undisturbed)
    assert papertune.load_run(training.run).manifest.steps == STEPS


@pytest.mark.once
def test_a_second_training_in_the_folder_is_refused(training, undisturbed):
    first = training.start(slow_steps)
    assert first.wait_for(lambda: lines(training.metrics) >= 3)
    first.send(signal.SIGSTOP)
    try:
        before = {path: path.read_bytes() for path in training.run.rglob("*") if path.is_file()}
        second = training.start()
        assert second.end() == 2
        assert "error: " in second.printed
        assert "another papertune process trains in this folder" in second.printed
        assert "Traceback" not in second.printed
        assert {path: path.read_bytes() for path in training.run.rglob("*") if path.is_file()} == before
    finally:
        first.send(signal.SIGCONT)
    assert first.end() == 0
    assert_the_same(training, undisturbed)


@pytest.mark.once
def test_training_killed_before_its_first_step_starts_again(training, undisturbed):
    training.dies(partial(die_at, "papertune.run_directory", "write_atomically"))
    command = training.start()
    assert command.end() == 0, command.printed
    assert_the_same(training, undisturbed)


@pytest.mark.once
def test_training_killed_after_early_stopping_does_not_continue(sample, tmp_path):
    settings = ["training.patience=1", "training.learning_rate=1e-30"]  # so that no dev score exceeds the first
    options = [part for setting in settings for part in ("--set", setting)]
    training = Training(sample, tmp_path, "--dev", sample.train, *options)
    training.dies(partial(die_at, "papertune.run_directory:RunDirectory", "finish"))
    metrics = training.metrics.read_text("utf-8")
    assert training.steps() == [2, 4]
    command = training.start()
    assert command.end() == 0, command.printed
    assert training.metrics.read_text("utf-8") == metrics
    assert papertune.load_run(training.run).manifest.steps == 4


@pytest.mark.once
def test_training_killed_during_calibration_calibrates_again(sample, tmp_path):
    training = Training(sample, tmp_path, "--dev", sample.train, "--set", "training.max_steps=2")
    training.dies(partial(die_at, "papertune.pipelines.train", "calibrate_run"))
    metrics = training.metrics.read_text("utf-8")
    assert papertune.load_run(training.run).manifest.lacks_calibration
    command = training.start()
    assert command.end() == 0, command.printed
    assert f"{training.run} is trained already" in command.printed
    assert training.metrics.read_text("utf-8") == metrics
    assert not papertune.load_run(training.run).manifest.lacks_calibration

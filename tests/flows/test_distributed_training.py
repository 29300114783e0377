"""`papertune train` in two processes that are connected by gloo."""

import json
import os
import re
import signal
import subprocess
import sys
import time
from functools import partial

import pytest
import torch
from launching import Launch, free_port
from processes import Command, Hung, die, die_at, lines, slow_steps
from safetensors.torch import load_file

import papertune
from papertune import OutputError
from papertune.training.checkpoints import complete_checkpoints

pytestmark = pytest.mark.once

STEPS = 24  # 4 epochs of 24 rows in 2 x 2 a step


def metrics(run):
    return [json.loads(line) for line in (run / "metrics.jsonl").read_text("utf-8").splitlines()]


def adapter(run):
    return load_file(run / "adapter" / "adapter_model.safetensors")


def command(sample, run, *options):
    return ["train", sample.train, "-r", sample.recipe, "-o", run, "--set", "training.accumulation=1", *options]


# 24 rows in batches of 5: the last batch has 4 rows, and in the last pass one process has none.
@pytest.mark.parametrize(("accumulation", "batch_size"), [(1, 2), (1, 5), (2, 5)])
def test_two_processes_train_the_same_parameters_as_one(sample, tmp_path, accumulation, batch_size):
    """In float32, without dropout: losses and gradient norms within 1e-4, parameters within 1e-5."""
    shared = [
        f"training.micro_batch_size={batch_size}",
        "training.epochs=3",
        "training.save_steps=0",
        "method.dropout=0",
    ]
    options = [part for setting in shared for part in ("--set", setting)]
    launch = Launch(
        [*command(sample, tmp_path / "two", *options), "--set", f"training.accumulation={accumulation}",
         "--dev", sample.train, "--set", "training.dev_rows=8"]
    )  # fmt: skip
    assert launch.end() == [0, 0], launch.printed
    one = papertune.train(
        sample.train,
        sample.recipe,
        tmp_path / "one",
        dev=sample.train,
        overrides=[*shared, "training.dev_rows=8", f"training.accumulation={2 * accumulation}"],
    )
    two = papertune.load_run(tmp_path / "two")
    expected, got = metrics(tmp_path / "one"), metrics(tmp_path / "two")
    assert len([entry for entry in got if "score" in entry]) == 3
    for one_entry, two_entry in zip(expected, got, strict=True):
        assert one_entry.keys() == two_entry.keys()
        del one_entry["epoch"], two_entry["epoch"]  # counted in passes of one process
        assert two_entry == pytest.approx(one_entry, abs=1e-4)
    weights = adapter(tmp_path / "one")
    assert weights.keys() == adapter(tmp_path / "two").keys()
    for name, tensor in adapter(tmp_path / "two").items():
        torch.testing.assert_close(tensor, weights[name], rtol=0, atol=1e-5, msg=name)
    assert (two.manifest.steps, two.manifest.examples) == (one.manifest.steps, one.manifest.examples)
    assert two.manifest.dev_score == pytest.approx(one.manifest.dev_score, abs=1e-6)
    assert launch.printed[1] == ""
    assert "in each of 2 processes" in launch.printed[0]


@pytest.fixture(scope="module")
def undisturbed(sample, tmp_path_factory):
    run = tmp_path_factory.mktemp("undisturbed") / "run"
    launch = Launch(command(sample, run))
    assert launch.end() == [0, 0], launch.printed
    return run


def assert_the_same(run, other):
    first, second = adapter(run), adapter(other)
    assert first.keys() == second.keys()
    assert [name for name in first if not torch.equal(first[name], second[name])] == []
    assert metrics(run) == metrics(other)


def steps(run):
    return [int(path.name.removeprefix("checkpoint-")) for path in complete_checkpoints(run / "training")]


def test_a_signal_to_one_process_stops_both_and_resuming_trains_the_same_parameters(sample, undisturbed, tmp_path):
    run = tmp_path / "run"
    first = Launch(command(sample, run), slow_steps)
    assert first.commands[0].wait_for(lambda: lines(run / "metrics.jsonl") >= 8)  # in the second epoch
    first.commands[1].send(signal.SIGTERM)
    assert first.end() == [128 + signal.SIGTERM] * 2, first.printed
    (stopped,) = re.findall(r"stopped by SIGTERM after step (\d+); a checkpoint is", first.printed[0])
    assert first.printed[1] == ""
    assert steps(run)[-1] == int(stopped) >= 8
    assert int(stopped) < STEPS

    with pytest.raises(OutputError) as refused:
        papertune.train(sample.train, sample.recipe, run, overrides=["training.accumulation=1"], resume=True)
    assert str(refused.value) == (
        f"{run}: this is not the training that was begun here (number of processes: 2 before, now 1). Resume it with "
        "the same files and settings, or train in another folder; method.start_from begins with what a finished run "
        "has learned."
    )

    second = Launch(command(sample, run, "--resume"))
    assert second.end() == [0, 0], second.printed
    assert_the_same(run, undisturbed)

    third = Launch(command(sample, run, "--resume"))
    assert third.end() == [0, 0], third.printed
    assert third.printed[0].startswith(f"{run} is finished already\n")
    assert third.printed[1] == ""


@pytest.mark.parametrize("index", [0, 1])
def test_a_process_that_dies_stops_the_other(sample, undisturbed, tmp_path, index):
    run = tmp_path / "run"
    dying = partial(die_at, "papertune.training.answers.loop", "answer_losses", 9)
    launch = Launch(command(sample, run), of_one={index: [dying]})
    codes = launch.end()
    assert codes[index] == -signal.SIGKILL
    assert codes[1 - index] == 1, launch.printed
    printed = "".join(launch.printed)
    assert "Traceback" not in printed
    # The first process reports it; if it has died itself, the launcher does.
    reported = re.findall(
        r"^stopped: another of the 2 processes has ended \(noticed by process 0 on \S+: .+\)\. See its output "
        r"for the reason\. To continue from the last checkpoint, add --resume\.$",
        printed,
        re.MULTILINE,
    )
    assert len(reported) == index, launch.printed
    again = Launch(command(sample, run, "--resume"))
    assert again.end() == [0, 0], again.printed
    assert_the_same(run, undisturbed)


def test_waiting_ends_if_a_process_dies_before_they_have_joined(sample, tmp_path):
    launch = Launch(command(sample, tmp_path / "run"), of_one={0: [die]})
    with pytest.raises(Hung, match="it has not ended in time"):
        launch.end(limit_s=3)
    assert not launch.commands[1].is_running


def test_an_error_of_all_processes_is_printed_once(sample, undisturbed, tmp_path):
    launch = Launch(command(sample, tmp_path / "run", "--set", "training.epochs=none"))
    assert launch.end() == [2, 2]
    assert launch.printed[0].startswith("error: ")
    assert launch.printed[1] == ""

    twice = tmp_path / "twice.csv"
    twice.write_text(sample.train.read_text("utf-8") + "p999,heart 0,heart,heart,1\n", "utf-8")
    launch = Launch(["train", twice, "-r", sample.recipe, "-o", undisturbed])
    assert launch.end() == [2, 2]
    warning, error = launch.printed[0].splitlines()
    assert warning.startswith("warning: ")
    assert error == f"error: {undisturbed} holds a finished run already. Choose another folder, or move it away."
    assert launch.printed[1] == ""


def other_seed():
    """Make this process read another recipe than the others."""
    from papertune.pipelines import train

    read = train.load_recipe
    train.load_recipe = lambda recipe, overrides: read(recipe, [*overrides, "training.seed=5"])


def no_model():
    """Make finding the base model fail in this process."""
    from papertune.errors import ModelError
    from papertune.pipelines.training import job as training_job

    def find_base(*_):
        raise ModelError("tiny: there is no such folder.")

    training_job.find_base = find_base


@pytest.mark.parametrize(
    ("patch", "message"),
    [
        (other_seed, "process 1 of 2 has another recipe than process 0. Give all of them the same files."),
        (no_model, "process 1 of 2: tiny: there is no such folder."),
    ],
)
def test_an_error_of_one_process_ends_both(sample, tmp_path, patch, message):
    launch = Launch(command(sample, tmp_path / "run"), of_one={1: [patch]})
    assert launch.end() == [2, 2]
    assert launch.printed == [f"error: {message}\n", ""]
    assert not (tmp_path / "run").exists()


def test_a_missing_device_is_printed_once(sample, tmp_path):
    launch = Launch(command(sample, tmp_path / "run", "--device", "nonsense"))
    assert launch.end() == [2, 2]
    assert launch.printed[0].startswith("error: --device nonsense is not available: ")
    assert launch.printed[1] == ""


def test_two_processes_cannot_share_a_device(sample, tmp_path):
    launch = Launch(command(sample, tmp_path / "run", "--device", "cpu:0"))
    assert launch.end() == [2, 2]
    assert launch.printed[0] == (
        "error: --device cpu:0 is a single device, but there are 2 processes. Leave out the number: each process takes "
        "a device of its own.\n"
    )
    assert launch.printed[1] == ""


@pytest.mark.slow
def test_sigterm_to_torchrun_stops_at_a_checkpoint(sample, tmp_path):
    run, log = tmp_path / "run", tmp_path / "log"
    launcher = [sys.executable, "-m", "torch.distributed.run", "--nproc-per-node", "2", "--master-port", free_port()]
    arguments = [*launcher, "-m", "papertune", *command(sample, run, "--set", "training.epochs=400")]
    with log.open("wb") as stream:
        process = subprocess.Popen([*map(str, arguments)], stdout=stream, stderr=stream, env=os.environ)
    try:
        while lines(run / "metrics.jsonl") < 3:
            assert process.poll() is None, log.read_text()
            time.sleep(0.05)
        process.terminate()
        assert process.wait(timeout=60) != 0
    finally:
        process.kill()
    printed = log.read_text()
    assert printed.count("; a checkpoint is written. Add --resume to the same command to continue.") == 1
    (stopped,) = re.findall(r"stopped by SIGTERM after step (\d+);", printed)
    assert steps(run)[-1] == int(stopped)


def test_one_process_with_a_launcher_trains_as_without(sample, tmp_path):
    launch = Launch(command(sample, tmp_path / "one", "--set", "training.epochs=1"), count=1)
    alone = Command(command(sample, tmp_path / "alone", "--set", "training.epochs=1"))
    assert launch.end() == [0], launch.printed
    assert alone.end() == 0, alone.printed
    assert_the_same(tmp_path / "one", tmp_path / "alone")

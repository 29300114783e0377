"""`papertune train` in two processes with sharded weights, by FSDP2.

accelerate supports FSDP only on accelerators, so the CPU is presented as one. FSDP2 and papertune work in the same way
with gloo on a CPU.
"""

import json
import os
import re
import shutil
import signal
from functools import partial

import pytest
import torch
from launching import Launch
from processes import lines, slow_steps
from safetensors.torch import load_file

import papertune

pytestmark = pytest.mark.once


def shard_weights(state_dict="FULL_STATE_DICT"):
    """Set the variables of `accelerate launch --use_fsdp --fsdp_version 2`; present the CPU as an accelerator."""
    import torch.distributed as dist
    from accelerate.state import DistributedType, PartialState

    os.environ |= {
        "ACCELERATE_USE_FSDP": "true",
        "ACCELERATE_TORCH_DEVICE": "cpu",
        "FSDP_VERSION": "2",
        "FSDP_AUTO_WRAP_POLICY": "TRANSFORMER_BASED_WRAP",
        "FSDP_TRANSFORMER_CLS_TO_WRAP": "LlamaDecoderLayer",
        "FSDP_STATE_DICT_TYPE": state_dict,
    }

    def prepare_backend(*_):
        if not dist.is_initialized():
            dist.init_process_group("gloo")
        return "gloo", DistributedType.MULTI_GPU

    PartialState._prepare_backend = prepare_backend


def watch_weights():
    """Print the share of the first parameter that this process has when it computes the loss."""
    from papertune.training.answers import loop

    compute_loss = loop._AnswerTrainer.compute_loss

    def watched(trainer, model, *arguments, **options):
        first = next(model.parameters())
        print(f"\nholds {first.to_local().numel() / first.numel()}")
        return compute_loss(trainer, model, *arguments, **options)

    loop._AnswerTrainer.compute_loss = watched


def small_parts():
    """Make parts so small that any batch would be split if the weights were not sharded."""
    from papertune.training.answers import loop

    loop.CPU_PART_TOKENS = 8


def ended_launch(arguments, *patches):
    """Run a training that must succeed, a second time if the first one has damaged its memory.

    FSDP2 on a CPU is for these tests alone, and nobody else tests it: of some dozens of trainings one process was ended
    by the C library ("malloc(): unaligned tcache chunk detected"). papertune has no native code.
    """
    launch = Launch(arguments, *patches)
    codes = launch.end()
    if -signal.SIGABRT in codes and "malloc()" in "".join(launch.printed):
        shutil.rmtree(arguments[arguments.index("-o") + 1])
        launch = Launch(arguments, *patches)
        codes = launch.end()
    assert codes == [0, 0], launch.printed
    return launch


def trained_parameters(run):
    folder = run / "adapter" if (run / "adapter").is_dir() else run / "model"
    (file,) = folder.glob("*.safetensors")
    return load_file(file)


def metrics(run):
    return [json.loads(line) for line in (run / "metrics.jsonl").read_text("utf-8").splitlines()]


@pytest.fixture
def recipe(sample, tmp_path):
    """Return a maker of recipes with another method."""

    def make(method):
        text = re.sub(r"\[method\][^[]*", f"[method]\n{method}\n", sample.recipe.read_text("utf-8"))
        (tmp_path / "recipe.toml").write_text(text, "utf-8")
        return tmp_path / "recipe.toml"

    return make


@pytest.mark.parametrize("method", ["rank = 4", 'kind = "full"'])
def test_sharded_weights_train_the_same_parameters_as_unsharded_ones(sample, recipe, tmp_path, method):
    """In float32, without dropout: losses and gradient norms within 1e-4, parameters within 1e-5."""
    settings = ["training.epochs=1", "training.micro_batch_size=5", "training.learning_rate=1e-4"]
    settings += ["training.dev_rows=4", "training.save_steps=1", "training.precision=fp32"]
    options = [part for setting in [*settings, "training.accumulation=1"] for part in ("--set", setting)]
    arguments = ["train", sample.train, "-r", recipe(method), "-o", tmp_path / "two", "--dev", sample.train, *options]
    launch = ended_launch(arguments, shard_weights, watch_weights, small_parts)
    for printed in launch.printed:
        assert [round(float(share), 1) for share in re.findall(r"holds (\S+)", printed)] == [0.5] * 3
    papertune.train(
        sample.train,
        recipe(method),
        tmp_path / "one",
        dev=sample.train,
        overrides=[*settings, "training.accumulation=2"],
    )
    expected, got = metrics(tmp_path / "one"), metrics(tmp_path / "two")
    assert len(expected) == 6
    for one_entry, two_entry in zip(expected, got, strict=True):
        del one_entry["epoch"], two_entry["epoch"]  # counted in passes of one process
        assert two_entry == pytest.approx(one_entry, abs=1e-4)
    weights = trained_parameters(tmp_path / "one")
    assert weights.keys() == trained_parameters(tmp_path / "two").keys()
    for name, tensor in trained_parameters(tmp_path / "two").items():
        torch.testing.assert_close(tensor, weights[name], rtol=0, atol=1e-5, msg=name)
    one, two = (papertune.load_run(tmp_path / name) for name in ("one", "two"))
    assert two.manifest.dev_score == pytest.approx(one.manifest.dev_score, abs=1e-6)
    assert two.predict(sample.train, precision="fp32").equals(one.predict(sample.train, precision="fp32"))


@pytest.mark.slow
def test_a_training_with_sharded_weights_resumes(sample, tmp_path):
    def command(name, *options):
        settings = ["training.epochs=4", "training.accumulation=1", "training.micro_batch_size=6"]
        sets = [part for setting in settings for part in ("--set", setting)]
        return ["train", sample.train, "-r", sample.recipe, "-o", tmp_path / name, *sets, *options]

    ended_launch(command("whole"), shard_weights)
    first = Launch(command("again"), shard_weights, slow_steps)
    assert first.commands[0].wait_for(lambda: lines(tmp_path / "again" / "metrics.jsonl") >= 3)  # in the second epoch
    first.commands[0].send(signal.SIGTERM)
    assert first.end() == [128 + signal.SIGTERM] * 2, first.printed
    second = Launch(command("again", "--resume"), shard_weights)
    assert second.end() == [0, 0], second.printed
    assert metrics(tmp_path / "again") == metrics(tmp_path / "whole")
    expected = trained_parameters(tmp_path / "whole")
    for name, tensor in trained_parameters(tmp_path / "again").items():
        torch.testing.assert_close(tensor, expected[name], rtol=0, atol=0, msg=name)


@pytest.mark.parametrize(
    ("method", "state_dict", "message"),
    [
        (
            'kind = "ptuning_v2"',
            "FULL_STATE_DICT",
            'method.kind = "ptuning_v2" cannot be trained with FSDP or DeepSpeed. Start without them: a prefix is '
            "small, and each process has the whole model.",
        ),
        (
            "rank = 4",
            "SHARDED_STATE_DICT",
            "FSDP is set to save the part of each process by itself (SHARDED_STATE_DICT), but a run needs all weights "
            "together. Add --fsdp_state_dict_type FULL_STATE_DICT to accelerate launch.",
        ),
    ],
)
def test_settings_that_sharded_weights_do_not_support_raise(sample, recipe, tmp_path, method, state_dict, message):
    command = ["train", sample.train, "-r", recipe(method), "-o", tmp_path / "run", "--quiet"]
    launch = Launch(command, partial(shard_weights, state_dict))
    assert launch.end() == [2, 2], launch.printed
    assert launch.printed == [f"error: {message}\n", ""]

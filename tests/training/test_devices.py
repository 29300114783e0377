"""A single process trains on the device of its model, even if there are others. The GPUs here are simulated."""

from pathlib import Path
from types import SimpleNamespace

import pytest
import torch
from accelerate import DistributedType
from accelerate.state import AcceleratorState

from papertune.methods import build_trainable
from papertune.recipe import LoraMethod, TrainingSpec
from papertune.training import FitSettings, Question, TrainingRow
from papertune.training.answers import loop
from papertune.training.arguments import training_arguments

ROWS = [TrainingRow([3, 4, 5 + index], [Question([[6]])]) for index in range(12)]
SPEC = TrainingSpec(micro_batch_size=3)


@pytest.fixture
def made_current(monkeypatch):
    """Simulate two GPUs; return the list of those that become the current device."""
    devices = []
    monkeypatch.setattr(torch.cuda, "is_available", lambda: True)
    monkeypatch.setattr(torch.cuda, "device_count", lambda: 2)
    monkeypatch.setattr(torch.cuda, "set_device", devices.append)
    yield devices
    AcceleratorState._reset_state(reset_partial_state=True)  # it remembers the device


@pytest.fixture
def trainer_on(made_current, make_model, monkeypatch, tmp_path):
    """Return a maker of trainers on a device, and the list of devices to which trainers move their models."""
    moved_to = []
    monkeypatch.setattr(loop._AnswerTrainer, "_move_model_to_device", lambda *call: moved_to.append(call[2]))

    def make(device):
        arguments = training_arguments(SPEC, tmp_path, torch.device(device), torch.float32)
        model = build_trainable(make_model(), LoraMethod(rank=2), seed=0)
        settings = FitSettings(SPEC, tmp_path, tmp_path / "metrics.jsonl", torch.float32)
        return loop._AnswerTrainer(model, arguments, rows=ROWS, label_sets=[], settings=settings, callbacks=[])

    return make, moved_to


@pytest.mark.parametrize("device", ["cuda:0", "cuda:1"])
def test_a_single_process_trains_on_one_gpu(device, trainer_on, made_current):
    make, moved_to = trainer_on
    trainer = make(device)
    expected = torch.device(device)
    assert (trainer.args.device, trainer.accelerator.device, *moved_to) == (expected, expected, expected)
    assert made_current[-1] == expected
    assert trainer._wrap_model(trainer.model) is trainer.model, "the model would be copied to other GPUs (DataParallel)"
    assert [len(batch) for batch in trainer.get_train_dataloader().batch_sampler] == [3, 3, 3, 3]


def test_a_single_process_trains_on_the_cpu_in_spite_of_gpus(trainer_on, made_current):
    make, moved_to = trainer_on
    trainer = make("cpu")
    cpu = torch.device("cpu")
    assert (trainer.args.device, trainer.accelerator.device, *moved_to) == (cpu, cpu, cpu)
    assert made_current == []
    assert trainer._wrap_model(trainer.model) is trainer.model
    assert [len(batch) for batch in trainer.get_train_dataloader().batch_sampler] == [3, 3, 3, 3]


def test_one_of_several_processes_keeps_its_gpu(made_current, monkeypatch):
    own = torch.device("cuda:1")
    state = SimpleNamespace(distributed_type=DistributedType.MULTI_GPU, device=own, num_processes=2)
    monkeypatch.setattr("transformers.training_args.PartialState", lambda **_: state)
    arguments = training_arguments(SPEC, Path("run"), torch.device("cuda:0"), torch.float32)
    assert (arguments.device, state.device, arguments.n_gpu) == (own, own, 1)
    assert arguments.train_batch_size == SPEC.micro_batch_size
    assert made_current == []

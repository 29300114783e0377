"""The arguments of transformers' Trainer."""

from functools import cached_property
from pathlib import Path
from typing import Any

import torch
from accelerate import DistributedType
from transformers import TrainingArguments

from papertune.recipe import TrainingSpec
from papertune.training.callbacks import SCORE

_SCHEDULES = {"cosine": "cosine", "linear": "linear", "constant": "constant_with_warmup"}


class OnModelDevice:
    """Makes arguments, which derive from this class first, train a single process only on the device of its model.

    By default the Trainer takes the first GPU, and with several GPUs it trains a copy of the model on each of them with
    larger batches. Several processes are the better way to do that; these have a device each.

    Args:
        device: The model's device.
        settings: Settings of TrainingArguments.
    """

    distributed_state: Any  # from the arguments

    def __init__(self, device: torch.device, **settings: Any) -> None:
        self._model_device = device  # TrainingArguments already reads it in its __init__
        super().__init__(**settings)

    @cached_property
    def _setup_devices(self) -> torch.device:
        device: torch.device = super()._setup_devices  # type: ignore[misc]
        if self.distributed_state.distributed_type != DistributedType.NO:
            return device
        self._n_gpu = 1
        self.distributed_state.device = self._model_device  # accelerate moves the model there
        if self._model_device.type == "cuda":
            torch.cuda.set_device(self._model_device)  # for kernels that use the current device
        return self._model_device


class _Arguments(OnModelDevice, TrainingArguments):  # type: ignore[misc]
    """The arguments of a training on answers."""


def training_arguments(spec: TrainingSpec, folder: Path, device: torch.device, dtype: torch.dtype) -> TrainingArguments:
    """Return the Trainer's arguments for a recipe's settings."""
    return _Arguments(device, **argument_values(spec, folder, device, dtype))


def argument_values(spec: TrainingSpec, folder: Path, device: torch.device, dtype: torch.dtype) -> dict[str, Any]:
    """Return what a recipe's settings are among the Trainer's arguments."""
    on_cpu = device.type == "cpu"
    return dict(
        output_dir=str(folder),
        num_train_epochs=spec.epochs,
        max_steps=spec.max_steps or -1,
        per_device_train_batch_size=spec.micro_batch_size,
        gradient_accumulation_steps=spec.accumulation,
        learning_rate=spec.learning_rate,
        lr_scheduler_type=_SCHEDULES[spec.schedule],
        warmup_steps=spec.warmup_steps,
        weight_decay=spec.weight_decay,
        max_grad_norm=spec.max_grad_norm,
        seed=spec.seed,
        bf16=dtype == torch.bfloat16,
        fp16=dtype == torch.float16,
        logging_steps=spec.logging_steps,
        logging_first_step=True,
        eval_strategy="no",  # FlowCallback asks for dev scores
        metric_for_best_model=SCORE,
        greater_is_better=True,
        save_strategy="steps" if spec.save_steps else "epoch",
        save_steps=spec.save_steps or 1,
        report_to=list(spec.report_to) or "none",
        disable_tqdm=True,
        remove_unused_columns=False,
        use_cpu=on_cpu,
        dataloader_pin_memory=not on_cpu,
        ddp_find_unused_parameters=False,  # each pass uses all trainable parameters
        ddp_broadcast_buffers=False,  # they never change
    )

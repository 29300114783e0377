"""What trainings of all stages do in their run directory: agree on it, and write the trained weights."""

import shutil
import signal
import socket
from collections.abc import Iterator
from contextlib import ExitStack, contextmanager
from pathlib import Path
from typing import Any

import torch

from papertune.errors import OutputError, TrainingStopped
from papertune.methods import load_adapter
from papertune.models import Base, load_model
from papertune.recipe import Recipe
from papertune.run_directory import RunDirectory, TrainingPlan
from papertune.training import Processes


def check_together(plan: TrainingPlan, directory: RunDirectory, processes: Processes, *, resume: bool) -> None:
    """Check that all processes have the same training, and that it may be done in the folder."""
    for index, other in enumerate(processes.all_values(plan)):
        if different := plan.differences(other):
            raise OutputError(
                f"process {index} of {processes.count} has another {' and another '.join(different)} than process "
                f"{processes.index}. Give all of them the same files."
            )
    if processes.is_first:
        directory.check_free(plan, resume=resume)


@contextmanager
def claimed_together(
    plan: TrainingPlan, directory: RunDirectory, processes: Processes, *, resume: bool
) -> Iterator[None]:
    """Claim a run directory in the first process, and check that the others see it."""
    with ExitStack() as held:
        with processes.shared_errors():
            if processes.is_first:
                held.enter_context(directory.claimed(plan, resume=resume))
        with processes.shared_errors():
            _check_shared(directory, processes)
        yield


def _check_shared(directory: RunDirectory, processes: Processes) -> None:
    """Check that a process on another machine sees the folder of the first process."""
    if not directory.is_begun:
        raise OutputError(
            f"{directory.path}: process {processes.index} on {socket.gethostname()} does not see the files "
            "that the first process has written there. Choose a folder that all machines share."
        )


def raise_if_stopped(stop_signal: int | None, steps: int) -> None:
    """Raise TrainingStopped if a signal has ended the training after a step."""
    if stop_signal is not None:
        raise TrainingStopped(
            f"stopped by {signal.Signals(stop_signal).name} after step {steps}; a checkpoint is written. Add --resume "
            "to the same command to continue.",
            stop_signal,
        )


def write_weights(recipe: Recipe, model: Any, tokenizer: Any, dtype: torch.dtype, directory: RunDirectory) -> None:
    """Write the trained weights and the tokenizer.

    Args:
        recipe: The recipe.
        model: The trained model, whole.
        tokenizer: Its tokenizer.
        dtype: Of the weights of a whole model.
        directory: The run directory.
    """
    method = recipe.method
    folder = directory.adapter if method.saves_adapter else directory.model
    shutil.rmtree(folder, ignore_errors=True)  # half written before a kill
    method.save(model, folder, recipe.model, dtype)
    tokenizer.save_pretrained(directory.tokenizer)
    if not method.saves_adapter:
        tokenizer.save_pretrained(folder)


def gather_weights(recipe: Recipe, tokenizer: Any, dtype: torch.dtype, checkpoint: Path, base: Base) -> Any:
    """Load a model that is sharded over the processes as a whole, from a checkpoint.

    Args:
        recipe: The recipe.
        tokenizer: The model's tokenizer.
        dtype: Number format of the products.
        checkpoint: The checkpoint's folder.
        base: The base model.
    """
    if recipe.method.saves_adapter:
        model, _ = load_model(base, precision=precision_name(dtype), device="cpu", base_bits=recipe.base_bits)
        return load_adapter(model, checkpoint)
    tokenizer.save_pretrained(checkpoint)  # a model is loaded together with one
    return load_model(str(checkpoint), precision="fp32", device="cpu")[0]


def precision_name(dtype: torch.dtype) -> Any:
    """Return the name of a number format in a recipe."""
    return {torch.bfloat16: "bf16", torch.float16: "fp16", torch.float32: "fp32"}[dtype]

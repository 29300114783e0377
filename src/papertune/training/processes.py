"""The processes of one training, as `torchrun` or `accelerate launch` start them.

Each process has its own copy of the model and its own rows; only the first one writes, tells and decides. Decisions
travel over a group of their own on the CPU (gloo): a GPU is never waited for, and waiting has no time limit that a long
dev score could run into.
"""

import os
import socket
import warnings
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from datetime import timedelta
from typing import Any, TypeVar

import torch
import torch.distributed as dist

from papertune.errors import ModelError, PapertuneError, PapertuneWarning
from papertune.models import choose_device

T = TypeVar("T")

# A process that is gone is noticed at once, by its closed connection. This is for one that hangs.
_LONGEST_WAIT = timedelta(days=1)


class ProcessLost(Exception):
    """Another process of the training has ended before its time; what was wrong is told there."""


class Processes:
    """All processes of a training as one of them sees them; by default it is alone.

    Args:
        index: Which one this is, from 0.
        count: How many there are.
        device: What this one computes on.
        group: Connects them.
        divide_weights: Whether they will divide the weights among them.

    Attributes:
        index: Which one this is.
        count: How many there are.
        device: What this one computes on, for example "cuda:1".
        is_first: Whether this is the one that writes.
        loading_device: Where a model goes when it is loaded: to the CPU where a device is to get only a part of it.
    """

    def __init__(
        self, index: int = 0, count: int = 1, device: str = "cpu", group: Any = None, *, divide_weights: bool = False
    ) -> None:
        self.index = index
        self.count = count
        self.device = device
        self.is_first = index == 0
        self.loading_device = "cpu" if divide_weights else device
        self._group = group

    def wait(self) -> None:
        """Wait until all processes have come here."""
        if self.count > 1:
            dist.barrier(self._group)

    def largest(self, number: int) -> int:
        """Give the largest of the whole numbers that the processes bring."""
        if self.count == 1:
            return number
        # All agree so after each step: one small tensor, where all_values would send twice and unpickle.
        largest = torch.tensor(number, dtype=torch.int64)
        dist.all_reduce(largest, dist.ReduceOp.MAX, self._group)
        return int(largest)

    def all_values(self, value: T) -> list[T]:
        """Give what each process brings, by its index."""
        if self.count == 1:
            return [value]
        values: list[Any] = [None] * self.count
        dist.all_gather_object(values, value, self._group)
        return values

    def first_value(self, make: Callable[[], T], *, together: bool = False) -> T:
        """Give what the first process makes to all of them.

        Args:
            make: Called in the first process; the others wait.
            together: Call it in all processes, because it needs all of them; still the first one's value counts.
        """
        made = [make() if self.is_first or together else None]
        if self.count > 1:
            dist.broadcast_object_list(made, src=0, group=self._group)
        return made[0]  # type: ignore[return-value]

    @contextmanager
    def agreed(self) -> Iterator[None]:
        """Let a mistake that one process meets in here end them all, with that one's message.

        Raises:
            PapertuneError: What this process, or else the first other one, has met; marked as shared.
        """
        mistake: PapertuneError | None = None
        try:
            yield
        except PapertuneError as error:
            mistake = error
        for index, other in enumerate(self.all_values(mistake)):
            if mistake is None and other is not None:
                mistake = other if index == 0 else type(other)(f"process {index} of {self.count}: {other}")
        if mistake is not None:
            mistake.is_shared = True
            raise mistake


def launched_first() -> bool:
    """Tell whether this process is the first of those that a launcher has started, or the only one."""
    return int(os.environ.get("RANK") or 0) == 0


@contextmanager
def joined_processes(device: str | None) -> Iterator[Processes]:
    """Join the processes that a launcher has started, while this is open; without a launcher there is one process.

    In all but the first one our warnings are not shown.

    Args:
        device: "cpu", "cuda", ...; None: a GPU if there is one. Of several processes on a machine each gets its own.

    Raises:
        ModelError: If the device is not there, or is one that several processes would have to share.
        ProcessLost: If another process has ended meanwhile.
    """
    from accelerate.state import AcceleratorState, PartialState

    was_joined = dist.is_initialized()
    state = PartialState(cpu=_is_for_cpu(device))
    index, count = state.process_index, state.num_processes
    try:
        if count == 1:
            yield Processes(device=choose_device(device))
            return
        with warnings.catch_warnings(), _noticing_loss(index, count):
            if index > 0:
                warnings.simplefilter("ignore", PapertuneWarning)
            # Before anything can go wrong in one of them: only connected processes can agree on a mistake.
            group = dist.new_group(backend="gloo", timeout=_LONGEST_WAIT)
            with Processes(index, count, group=group).agreed():
                place = _own_device(device, state.local_process_index, count)
            divide_weights = any(
                os.environ.get(f"ACCELERATE_USE_{engine}", "").lower() == "true" for engine in ("FSDP", "DEEPSPEED")
            )
            yield Processes(index, count, place, group, divide_weights=divide_weights)
    finally:
        if not was_joined and dist.is_initialized():
            dist.destroy_process_group()
            AcceleratorState._reset_state(reset_partial_state=True)


def _is_for_cpu(device: str | None) -> bool:
    """Whether the processes connect over the CPU alone; a device that is not there is told when they have."""
    try:
        return choose_device(device).startswith("cpu")
    except ModelError:
        return True


def _own_device(device: str | None, local_index: int, count: int) -> str:
    """Give the device of one of several processes.

    Args:
        device: As `joined_processes` takes it.
        local_index: Which process of its machine this is, from 0.
        count: How many there are on all machines.

    Raises:
        ModelError: If the device is not there, or is one that several processes would have to share.
    """
    place = choose_device(device)
    if ":" in place:
        raise ModelError(
            f"--device {device} is one device, and {count} processes train. Write it without the number: each takes "
            "its own."
        )
    if place == "cuda":
        gpus = torch.cuda.device_count()
        if local_index >= gpus:
            raise ModelError(
                f"{socket.gethostname()} has {gpus} {'GPU' if gpus == 1 else 'GPUs'}, and more processes train there. "
                f"Start {gpus} on it: each takes its own."
            )
        place = f"cuda:{local_index}"
    return place


@contextmanager
def _noticing_loss(index: int, count: int) -> Iterator[None]:
    """Make what fails in here because another process is gone a ProcessLost.

    Args:
        index: Which process this is.
        count: How many there are.
    """
    try:
        yield
    except RuntimeError as error:
        if not _is_of_lost_process(error):
            raise
        cause = str(error).strip() or type(error).__name__
        raise ProcessLost(
            f"stopped: another of the {count} processes has ended (noticed by process {index} on "
            f"{socket.gethostname()}: {cause.splitlines()[0]}). What was wrong is told there. --resume goes on "
            "from the last checkpoint."
        ) from error


def _is_of_lost_process(error: RuntimeError) -> bool:
    """Whether a collective operation has failed because the other side is gone: gloo says it in words only.

    A fault of NCCL is none of these: the process that meets it has to show all of it.
    """
    if isinstance(error, dist.DistNetworkError):
        return True
    text = str(error)
    return "gloo" in text and any(words in text for words in ("Connection closed", "Connection reset", "Broken pipe"))

"""The processes of one training, as `torchrun` or `accelerate launch` start them.

Each process has its own copy of the model and its own rows. Only the first process writes, reports and decides.
Decisions are exchanged over a separate group on the CPU (gloo): no process waits for a GPU, and a long dev score does
not run into a time limit.
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

# For a process that hangs. A process that has ended is noticed at once, since its connection is closed.
_MAX_WAIT = timedelta(days=1)


class ProcessLost(Exception):
    """Another process of the training has ended early; that process reports the reason."""


class Processes:
    """The processes of a training, seen from one of them; by default there is only one.

    Args:
        index: Index of this process, from 0.
        count: Number of processes.
        device: Device of this process.
        group: Connects the processes.
        divide_weights: Whether the weights will be divided among the processes.

    Attributes:
        index: Index of this process.
        count: Number of processes.
        device: Device of this process, for example "cuda:1".
        is_first: Whether this process writes.
        loading_device: Device to load a model to: the CPU if the weights will be divided.
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
        """Wait until all processes have called this."""
        if self.count > 1:
            dist.barrier(self._group)

    def largest(self, number: int) -> int:
        """Return the largest of the integers that the processes pass."""
        if self.count == 1:
            return number
        # Called after each step, so only one small tensor is sent; all_values would send twice and unpickle.
        largest = torch.tensor(number, dtype=torch.int64)
        dist.all_reduce(largest, dist.ReduceOp.MAX, self._group)
        return int(largest)

    def all_values(self, value: T) -> list[T]:
        """Return the values that the processes pass, by index."""
        if self.count == 1:
            return [value]
        values: list[Any] = [None] * self.count
        dist.all_gather_object(values, value, self._group)
        return values

    def first_value(self, make: Callable[[], T], *, together: bool = False) -> T:
        """Return the value that the first process makes, in all processes.

        Args:
            make: Called in the first process; the others wait.
            together: Call it in all processes because it needs all of them; the value of the first one is returned.
        """
        made = [make() if self.is_first or together else None]
        if self.count > 1:
            dist.broadcast_object_list(made, src=0, group=self._group)
        return made[0]  # type: ignore[return-value]

    @contextmanager
    def shared_errors(self) -> Iterator[None]:
        """Raise an error of any process in all of them.

        Raises:
            PapertuneError: The error of this process, else that of the first process that has one; marked as shared.
        """
        own: PapertuneError | None = None
        try:
            yield
        except PapertuneError as error:
            own = error
        raised = own
        for index, other in enumerate(self.all_values(own)):
            if raised is None and other is not None:
                raised = other if index == 0 else type(other)(f"process {index} of {self.count}: {other}")
        if raised is not None:
            raised.is_shared = True
            raise raised


def is_first_process() -> bool:
    """Whether this process is the only one, or the first that a launcher has started."""
    return int(os.environ.get("RANK") or 0) == 0


@contextmanager
def joined_processes(device: str | None) -> Iterator[Processes]:
    """Connect the processes that a launcher has started while the context is open; without a launcher there is one.

    Only the first process shows papertune's warnings.

    Args:
        device: "cpu", "cuda", ...; None: a GPU if there is one. Each process of a machine gets a GPU of its own.

    Raises:
        ModelError: If the device is not available, or several processes would share it.
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
        with warnings.catch_warnings(), _connection_loss_as_process_lost(index, count):
            if index > 0:
                warnings.simplefilter("ignore", PapertuneWarning)
            # The first thing to do: only connected processes can share errors.
            group = dist.new_group(backend="gloo", timeout=_MAX_WAIT)
            with Processes(index, count, group=group).shared_errors():
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
    """Whether the processes need no GPU to connect; a device that is not available is reported after that."""
    try:
        return choose_device(device).startswith("cpu")
    except ModelError:
        return True


def _own_device(device: str | None, local_index: int, count: int) -> str:
    """Return the device of one of several processes.

    Args:
        device: As in `joined_processes`.
        local_index: Index of the process on its machine, from 0.
        count: Number of processes on all machines.

    Raises:
        ModelError: If the device is not available, or several processes would share it.
    """
    place = choose_device(device)
    if ":" in place:
        raise ModelError(
            f"--device {device} is a single device, but there are {count} processes. Leave out the number: each "
            "process takes a device of its own."
        )
    if place == "cuda":
        gpus = torch.cuda.device_count()
        if local_index >= gpus:
            raise ModelError(
                f"{socket.gethostname()} has {gpus} {'GPU' if gpus == 1 else 'GPUs'}, but more processes. Start "
                f"{gpus} there: each takes a GPU of its own."
            )
        place = f"cuda:{local_index}"
    return place


@contextmanager
def _connection_loss_as_process_lost(index: int, count: int) -> Iterator[None]:
    """Raise an error about a lost connection as ProcessLost.

    Args:
        index: Index of this process.
        count: Number of processes.
    """
    try:
        yield
    except RuntimeError as error:
        if not _is_connection_loss(error):
            raise
        cause = str(error).strip() or type(error).__name__
        raise ProcessLost(
            f"stopped: another of the {count} processes has ended (noticed by process {index} on "
            f"{socket.gethostname()}: {cause.splitlines()[0]}). See its output for the reason. To continue from the "
            "last checkpoint, add --resume."
        ) from error


def _is_connection_loss(error: RuntimeError) -> bool:
    """Whether a collective operation failed because the other side has ended; gloo has only texts for that.

    An error of NCCL does not count: its whole traceback is needed.
    """
    if isinstance(error, dist.DistNetworkError):
        return True
    text = str(error)
    return "gloo" in text and any(words in text for words in ("Connection closed", "Connection reset", "Broken pipe"))

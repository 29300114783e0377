import pickle
import signal
import socket

import pytest
import torch
import torch.distributed as dist

from papertune import ModelError, TableError
from papertune.training import processes
from papertune.training.callbacks import StopRequest
from papertune.training.processes import Processes, ProcessLost

# gloo's message when the other side is killed.
CLOSED = "[/pytorch/third_party/gloo/gloo/transport/tcp/pair.cc:538] Connection closed by peer [127.0.0.1]:1234"


def test_a_signal_during_the_exchange_of_signals_is_not_lost():
    class Slow(Processes):
        def largest(self, number):
            if not number:
                signal.raise_signal(signal.SIGTERM)
            return number

    stop = StopRequest(Slow())
    with stop.handling_signals():
        assert [stop.agreed_signal(), stop.agreed_signal()] == [None, signal.SIGTERM]


def test_a_single_process_needs_no_exchange():
    alone = Processes()
    alone.wait()
    assert (alone.index, alone.count, alone.is_first, alone.loading_device) == (0, 1, True, "cpu")
    assert alone.largest(3) == 3
    assert alone.all_values("mine") == ["mine"]
    assert alone.first_value(lambda: "made") == "made"


def test_largest_is_the_maximum_over_all_processes(monkeypatch):
    def all_reduce(tensor, operation, group):
        assert (tensor.dtype, operation, group) == (torch.int64, dist.ReduceOp.MAX, "group")
        tensor.clamp_(min=signal.SIGTERM)  # the number of the other process

    monkeypatch.setattr(dist, "all_reduce", all_reduce)
    two = Processes(0, 2, group="group")
    assert [two.largest(number) for number in (0, 2, 99)] == [signal.SIGTERM, signal.SIGTERM, 99]


class Two(Processes):
    """One of two processes; the other one passes a value."""

    def __init__(self, index, other):
        super().__init__(index, 2)
        self.other = other

    def all_values(self, value):
        other = pickle.loads(pickle.dumps(self.other))
        return [value, other] if self.is_first else [other, value]


@pytest.mark.parametrize(
    ("index", "own", "other", "kind", "message"),
    [
        (0, TableError("mine"), None, TableError, "mine"),
        (1, TableError("mine"), ModelError("not mine"), TableError, "mine"),
        (1, None, ModelError("not mine"), ModelError, "not mine"),
        (0, None, ModelError("not mine"), ModelError, "process 1 of 2: not mine"),
    ],
)
def test_an_error_of_any_process_is_raised_in_all_and_marked_as_shared(index, own, other, kind, message):
    def work():
        if own is not None:
            raise own

    with pytest.raises(kind) as raised, Two(index, other).shared_errors():
        work()
    assert str(raised.value) == message
    assert raised.value.is_shared
    assert not kind.is_shared, "the class is not changed"


def test_without_an_error_all_processes_continue():
    with Two(0, None).shared_errors():
        continued = True
    assert continued


def test_a_process_takes_the_gpu_of_its_local_index(monkeypatch):
    monkeypatch.setattr(torch.cuda, "is_available", lambda: True)
    monkeypatch.setattr(torch.cuda, "device_count", lambda: 2)
    assert [processes._own_device(None, index, 2) for index in (0, 1)] == ["cuda:0", "cuda:1"]
    with pytest.raises(ModelError) as refused:
        processes._own_device(None, 2, 3)
    assert str(refused.value) == (
        f"{socket.gethostname()} has 2 GPUs, but more processes. Start 2 there: each takes a GPU of its own."
    )


def test_several_processes_cannot_share_a_device():
    assert processes._own_device("cpu", 1, 2) == "cpu"
    with pytest.raises(ModelError) as refused:
        processes._own_device("cpu:0", 1, 2)
    assert str(refused.value) == (
        "--device cpu:0 is a single device, but there are 2 processes. Leave out the number: each process takes a "
        "device of its own."
    )


def test_processes_connect_over_the_cpu_if_the_device_is_not_available():
    assert processes._is_for_cpu("cpu")
    assert processes._is_for_cpu("nonsense")
    assert not processes._is_for_cpu("meta")


@pytest.mark.parametrize(
    ("error", "cause"),
    [
        (RuntimeError(f"{CLOSED}\nsome frame"), CLOSED),
        (dist.DistNetworkError("recv failed: Connection reset\nsome frame"), "recv failed: Connection reset"),
        (dist.DistNetworkError(""), "DistNetworkError"),
    ],
)
def test_process_lost_names_the_cause(error, cause):
    with pytest.raises(ProcessLost) as lost, processes._connection_loss_as_process_lost(1, 2):
        raise error
    assert str(lost.value) == (
        f"stopped: another of the 2 processes has ended (noticed by process 1 on {socket.gethostname()}: "
        f"{cause}). See its output for the reason. To continue from the last checkpoint, add --resume."
    )
    assert lost.value.__cause__ is error


@pytest.mark.parametrize(
    "error",
    [
        dist.DistBackendError("NCCL error in: NCCLUtils.cpp:94, unhandled cuda error"),
        dist.DistStoreError("wait timeout after 300000ms"),
        RuntimeError("CUDA out of memory"),
        RuntimeError("[enforce fail at gloo] no such operation"),
    ],
)
def test_other_runtime_errors_are_raised_unchanged(error):
    with pytest.raises(RuntimeError) as raised, processes._connection_loss_as_process_lost(1, 2):
        raise error
    assert raised.value is error

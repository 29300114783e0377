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

# As gloo words it when the other side is killed.
CLOSED = "[/pytorch/third_party/gloo/gloo/transport/tcp/pair.cc:538] Connection closed by peer [127.0.0.1]:1234"


def test_a_signal_that_comes_while_the_processes_agree_is_not_lost():
    class Slow(Processes):
        def largest(self, number):
            if not number:
                signal.raise_signal(signal.SIGTERM)
            return number

    stop = StopRequest(Slow())
    with stop.listening():
        assert [stop.agreed_signal(), stop.agreed_signal()] == [None, signal.SIGTERM]


def test_alone_a_process_agrees_with_itself():
    alone = Processes()
    alone.wait()
    assert (alone.index, alone.count, alone.is_first, alone.loading_device) == (0, 1, True, "cpu")
    assert alone.largest(3) == 3
    assert alone.all_values("mine") == ["mine"]
    assert alone.first_value(lambda: "made") == "made"


def test_the_largest_number_of_all_processes(monkeypatch):
    def add_up(tensor, operation, group):
        assert (tensor.dtype, operation, group) == (torch.int64, dist.ReduceOp.MAX, "group")
        tensor.clamp_(min=signal.SIGTERM)  # what the other process brings

    monkeypatch.setattr(dist, "all_reduce", add_up)
    two = Processes(0, 2, group="group")
    assert [two.largest(number) for number in (0, 2, 99)] == [signal.SIGTERM, signal.SIGTERM, 99]


class Two(Processes):
    """A process of two, whose other one brings a value."""

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
def test_a_mistake_that_processes_agree_on_is_marked_as_shared(index, own, other, kind, message):
    def work():
        if own is not None:
            raise own

    with pytest.raises(kind) as raised, Two(index, other).agreed():
        work()
    assert str(raised.value) == message
    assert raised.value.is_shared
    assert not kind.is_shared, "others of its kind are not"


def test_where_no_process_is_mistaken_all_go_on():
    with Two(0, None).agreed():
        gone_on = True
    assert gone_on


def test_a_process_takes_the_gpu_of_its_number(monkeypatch):
    monkeypatch.setattr(torch.cuda, "is_available", lambda: True)
    monkeypatch.setattr(torch.cuda, "device_count", lambda: 2)
    assert [processes._own_device(None, index, 2) for index in (0, 1)] == ["cuda:0", "cuda:1"]
    with pytest.raises(ModelError) as refused:
        processes._own_device(None, 2, 3)
    assert str(refused.value) == (
        f"{socket.gethostname()} has 2 GPUs, and more processes train there. Start 2 on it: each takes its own."
    )


def test_one_device_is_not_for_several_processes():
    assert processes._own_device("cpu", 1, 2) == "cpu"
    with pytest.raises(ModelError) as refused:
        processes._own_device("cpu:0", 1, 2)
    assert str(refused.value) == (
        "--device cpu:0 is one device, and 2 processes train. Write it without the number: each takes its own."
    )


def test_a_device_that_is_not_there_leaves_the_cpu_to_agree_over():
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
def test_a_lost_process_is_told_with_its_cause(error, cause):
    with pytest.raises(ProcessLost) as lost, processes._noticing_loss(1, 2):
        raise error
    assert str(lost.value) == (
        f"stopped: another of the 2 processes has ended (noticed by process 1 on {socket.gethostname()}: "
        f"{cause}). What was wrong is told there. --resume goes on from the last checkpoint."
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
def test_other_faults_keep_what_they_say(error):
    with pytest.raises(RuntimeError) as raised, processes._noticing_loss(1, 2):
        raise error
    assert raised.value is error

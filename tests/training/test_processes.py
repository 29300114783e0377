import signal

from papertune.training.callbacks import StopRequest
from papertune.training.processes import Processes


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

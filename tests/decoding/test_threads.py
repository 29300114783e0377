import threading

import pytest
import torch

from papertune.decoding.threads import map_in_threads


@pytest.fixture
def four_threads():
    before = torch.get_num_threads()
    torch.set_num_threads(4)
    yield
    torch.set_num_threads(before)


def test_results_are_in_order_and_threads_are_shared(four_threads):
    meeting = threading.Barrier(2, timeout=20)  # passes only if two items are worked on at the same time

    def work(item):
        if item < 2:
            meeting.wait()
        return item, torch.get_num_threads()

    assert map_in_threads(work, [0, 1]) == [(0, 2), (1, 2)]
    # One to each thread; those that are left have all threads.
    assert map_in_threads(work, range(2, 8)) == [(n, 1) for n in range(2, 6)] + [(n, 4) for n in (6, 7)]
    assert torch.get_num_threads() == 4


@pytest.mark.parametrize("items", [0, 1])
def test_without_company_there_is_no_thread(four_threads, items):
    assert map_in_threads(lambda _: threading.get_ident(), range(items)) == [threading.get_ident()] * items


@pytest.mark.parametrize("interrupt", [ValueError, KeyboardInterrupt])
def test_the_first_error_is_raised_and_the_rest_is_left_out(four_threads, interrupt):
    begun = []

    def work(item):
        begun.append(item)
        if item == 0:
            raise interrupt("broken")
        threading.Event().wait(0.05)

    with pytest.raises(interrupt, match="broken"):
        map_in_threads(work, range(400))
    assert len(begun) < 400
    assert torch.get_num_threads() == 4

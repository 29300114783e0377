import threading

import pytest
import torch

from papertune.decoding.engine import Engine
from papertune.decoding.threads import SharedThreads, map_in_threads, threads_here


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


def test_two_callers_share_threads_and_leave_all_of_them_afterwards(four_threads):
    shared = SharedThreads(2)
    meeting = threading.Barrier(2, timeout=20)  # passes only if parts of both callers are worked on at the same time
    threads = set()

    def work(item):
        threads.add(threading.get_ident())
        if item % 10 == 0:
            meeting.wait()
        return -item, torch.get_num_threads(), map_in_threads(abs, [-1, -2])

    found = {}

    def call(first):
        with shared.used():
            found[first] = map_in_threads(work, range(first, first + 5))

    callers = [threading.Thread(target=call, args=(first,)) for first in (10, 20)]
    for caller in callers:
        caller.start()
    for caller in callers:
        caller.join()
    assert found == {first: [(-n, 1, [1, 2]) for n in range(first, first + 5)] for first in (10, 20)}
    assert len(threads) == 2
    assert torch.get_num_threads() == 4
    assert map_in_threads(lambda _: torch.get_num_threads(), [0, 1]) == [2, 2]


def test_an_error_of_one_caller_leaves_out_its_own_items_only(four_threads):
    begun = []

    def work(item):
        begun.append(item)
        if item == 0:
            raise ValueError("broken")
        threading.Event().wait(0.01)

    with SharedThreads(2).used():
        with pytest.raises(ValueError, match="broken"):
            map_in_threads(work, range(400))
        assert len(begun) < 400
        assert map_in_threads(abs, [-1, -2]) == [1, 2]


def test_a_thread_that_begins_beside_passes_has_all_shared_threads(four_threads):
    shared = SharedThreads(4)
    counts = []

    def begin():
        with shared.used():
            counts.append(threads_here())

    with shared.used():
        map_in_threads(abs, [-1, -2, -3])  # each thread of the pool has one thread for its products
        second = threading.Thread(target=begin)
        second.start()
        second.join()
    assert counts == [4]
    assert threads_here() == 4


def test_rows_of_a_batch_are_divided_among_the_shared_threads(four_threads, make_model):
    engine = Engine(make_model())
    state = engine.prefill([[5, 6], [7], [8]])
    engine.in_threads = True
    parts = []

    def work(state, rows):
        parts.append(len(state.lengths))
        return [f"row {row}" for row in rows]

    with SharedThreads(2).used():
        assert engine.map_rows(work, state) == ["row 0", "row 1", "row 2"]
    assert sorted(parts) == [1, 2]

import asyncio
import math
import threading
import time
from types import SimpleNamespace

import pytest

from papertune.errors import TableError
from papertune.serve.answering import rows as rows_module
from papertune.serve.answering.tasks import RowsTask
from papertune.serve.answering.wanted import Ended, Piece, RowsWanted, WritingWanted
from papertune.serve.answering.worker import MAX_ROWS_TOGETHER, ModelWorker
from papertune.serve.errors import ServeError


class Runs:
    """Runs that answer at once; each opening is noted. `write` is what their writers do."""

    def __init__(self, write=None, in_threads=False):
        self._in_threads = in_threads
        self.opened = []
        self.name = None
        self.lost = None  # what has been deleted or trained anew
        self.closed = 0
        self._write = write

    def open(self, name):
        if name == "broken":
            raise ServeError(404, "not_found", "there is no run")
        if not self.is_current(name):
            self.opened.append(name)
            self.name, self.lost = name, None
        writer = SimpleNamespace(write=self._write)
        return SimpleNamespace(name=name, writer=writer, answers_in_threads=self._in_threads)

    def is_current(self, name):
        return self.name == name != self.lost

    def is_deleted(self):
        return self.name is not None and self.lost == self.name

    def close(self):
        self.closed += self.name is not None
        self.name = None


class Model:
    """Stands for the model: notes the batches, and waits before each until it may go on."""

    def __init__(self):
        self.batches = []
        self.begun = threading.Event()
        self.may_go_on = threading.Event()
        self.may_go_on.set()

    def __call__(self, opened, requests, listener):
        self.batches.append([row for each in requests for row in each.rows])
        self.begun.set()
        assert self.may_go_on.wait(30)
        for step in range(3):
            listener.progress(step)
        return [TableError("no") if each.rows[0] == "bad" else f"{opened.name}: {each.rows}" for each in requests]


@pytest.fixture
def model(monkeypatch):
    made = Model()
    monkeypatch.setattr(rows_module, "fill_together", made)
    return made


@pytest.fixture
def make_worker():
    """Return a maker of workers, which are stopped at the end."""
    workers = []

    def make(runs=None, **options):
        workers.append(ModelWorker(Runs() if runs is None else runs, **options))
        return workers[-1]

    yield make
    for worker in workers:
        worker.stop()


@pytest.fixture
def meeting(monkeypatch):
    """Return what two batches pass only if they are in the model at the same time. No request misses its group."""
    monkeypatch.setattr("papertune.serve.answering.worker.WINDOW_S", 0.1)
    return threading.Barrier(2, timeout=20)


def wanted(*rows):
    return RowsWanted(rows)


async def until(condition):
    for _ in range(3000):
        if condition():
            return
        await asyncio.sleep(0.005)
    raise AssertionError("it did not happen")


async def busy(worker, model):
    """Begin a request that keeps the model busy until `model.may_go_on` is set."""
    model.may_go_on.clear()
    first = asyncio.ensure_future(worker.fill("a", wanted("first")))
    await until(model.begun.is_set)
    return first


def test_requests_that_come_together_share_a_batch(make_worker, model):
    async def ask():
        worker = make_worker()
        return await asyncio.gather(*(worker.fill("a", wanted(n, n)) for n in range(5)))

    assert asyncio.run(ask()) == [f"a: ({n}, {n})" for n in range(5)]
    assert model.batches == [[0, 0, 1, 1, 2, 2, 3, 3, 4, 4]]


def test_a_single_request_waits_for_others(make_worker, model):
    async def ask():
        worker = make_worker()
        await worker.fill("a", wanted(1))  # the thread has begun
        begin = time.monotonic()
        await worker.fill("a", wanted(2))
        return time.monotonic() - begin

    assert asyncio.run(ask()) >= 0.02


def test_a_full_batch_does_not_wait_and_a_large_request_stays_whole(make_worker, model):
    large, small = wanted(*range(MAX_ROWS_TOGETHER + 1)), wanted("x")

    async def ask():
        worker = make_worker()
        first = await busy(worker, model)
        others = [asyncio.ensure_future(worker.fill("a", each)) for each in (small, large, small)]
        await asyncio.sleep(0)
        model.may_go_on.set()
        await asyncio.gather(first, *others)

    asyncio.run(ask())
    assert [len(batch) for batch in model.batches] == [1, 1, MAX_ROWS_TOGETHER + 1, 1]


@pytest.mark.parametrize(("clients", "batches"), [(6, [1, 6]), (7, [1, 4, 3]), (16, [1, 9, 7])])
def test_many_clients_are_answered_in_two_groups_so_that_one_waits_while_the_other_comes_back(
    make_worker, model, clients, batches
):
    async def ask():
        worker = make_worker()
        first = await busy(worker, model)
        others = [asyncio.ensure_future(worker.fill("a", wanted(n))) for n in range(clients)]
        await asyncio.sleep(0)
        model.may_go_on.set()
        await asyncio.gather(first, *others)

    asyncio.run(ask())
    assert [len(batch) for batch in model.batches] == batches
    assert [row for batch in model.batches for row in batch] == ["first", *range(clients)]


def test_two_groups_of_many_clients_are_answered_side_by_side_and_what_is_something_else_waits_for_both(
    make_worker, meeting, monkeypatch
):
    begun, order = [], []

    def fill(opened, requests, listener):
        begun.append(len(requests))
        if opened.name == "a" and len(begun) in (2, 3):
            meeting.wait()
            time.sleep(0.02 * len(begun))
        order.append(opened.name)
        return [each.rows[0] for each in requests]

    monkeypatch.setattr(rows_module, "fill_together", fill)

    async def ask():
        runs = Runs(short, in_threads=True)
        worker = make_worker(runs)
        await worker.fill("a", wanted("first"))
        found = await asyncio.gather(
            *(worker.fill("a", wanted(n)) for n in range(16)),
            text_of(worker.write("a", WritingWanted("x", 3))),
            worker.fill("b", wanted("other run")),
        )
        assert not worker._second._is_busy
        worker.stop()
        await until(lambda: not worker._second._thread.is_alive())
        return found

    *rows, text, other = asyncio.run(ask())
    assert (rows, text, other) == ([*range(16)], ["x0 ", "x1 ", "x2 "], "other run")
    assert sum(begun) == 18
    assert order[-1] == "b"
    assert order.count("a") == len(order) - 1


def test_an_error_in_the_second_thread_is_that_of_its_requests(make_worker, meeting, monkeypatch):
    def fill(opened, requests, listener):
        if len(requests) > 1:
            meeting.wait()
            if threading.current_thread().name == "papertune-model-2":
                raise TableError("no")
        return [each.rows[0] for each in requests]

    monkeypatch.setattr(rows_module, "fill_together", fill)

    async def ask():
        worker = make_worker(Runs(in_threads=True))
        await worker.fill("a", wanted("first"))
        return await asyncio.gather(*(worker.fill("a", wanted(n)) for n in range(15)), return_exceptions=True)

    found = asyncio.run(ask())
    assert [each for each in found if isinstance(each, int)] == [*range(8)]
    assert [str(each) for each in found if not isinstance(each, int)] == ["no"] * 7


def test_a_run_that_changes_or_goes_while_two_groups_are_answered_is_held_by_no_thread_afterwards(
    make_worker, meeting, monkeypatch
):
    def fill(opened, requests, listener):
        if len(requests) > 1:
            meeting.wait()
        return [each.rows[0] for each in requests]

    monkeypatch.setattr(rows_module, "fill_together", fill)
    monkeypatch.setattr("papertune.serve.answering.worker._TRAINING_S", 0.02)

    async def ask():
        runs = Runs(in_threads=True)
        worker = make_worker(runs)
        await worker.fill("a", wanted("first"))
        await asyncio.gather(*(worker.fill("a", wanted(n)) for n in range(15)))
        assert worker._second._opened is not None
        runs.lost = "a"
        await until(lambda: runs.closed)
        assert worker._second._opened is None
        return await worker.fill("a", wanted("again")), runs.opened

    assert asyncio.run(ask()) == ("again", ["a", "a"])


def test_no_thread_beside_the_model_is_an_error_of_the_requests_and_not_the_end_of_all(make_worker, monkeypatch):
    monkeypatch.setattr(rows_module, "fill_together", lambda opened, requests, _: [each.rows[0] for each in requests])

    async def ask():
        worker = make_worker(Runs(in_threads=True))
        await worker.fill("a", wanted("first"))
        monkeypatch.setattr(worker._second, "beside", lambda opened: 1 / 0)
        found = await asyncio.gather(*(worker.fill("a", wanted(n)) for n in range(15)), return_exceptions=True)
        return found, await worker.fill("b", wanted("last"))

    found, last = asyncio.run(ask())
    assert any(isinstance(each, ZeroDivisionError) for each in found)
    assert last == "last"


def test_an_error_is_that_of_its_request(make_worker, model):
    async def ask():
        worker = make_worker()
        return await asyncio.gather(
            *(worker.fill(run, wanted(row)) for run, row in (("a", "good"), ("a", "bad"), ("broken", "x"))),
            return_exceptions=True,
        )

    good, bad, missing = asyncio.run(ask())
    assert good == "a: ('good',)"
    assert isinstance(bad, TableError)
    assert isinstance(missing, ServeError)
    assert model.batches == [["good", "bad"]]


def test_a_bug_reaches_whoever_asked_and_the_thread_goes_on(make_worker, monkeypatch, model):
    async def ask():
        worker = make_worker()
        with monkeypatch.context() as patch:
            patch.setattr(rows_module, "fill_together", lambda *_: 1 / 0)
            with pytest.raises(ZeroDivisionError):
                await worker.fill("a", wanted(1))
        return await worker.fill("a", wanted(2))

    assert asyncio.run(ask()) == "a: (2,)"


def test_a_full_queue_is_429_and_says_when_to_come_back(make_worker, model):
    async def ask():
        worker = make_worker(max_waiting=2)
        first = await busy(worker, model)
        waiting = [asyncio.ensure_future(worker.fill("a", wanted(n))) for n in range(2)]
        await asyncio.sleep(0)
        with pytest.raises(ServeError) as caught:
            await worker.fill("a", wanted("too many"))
        waiting[0].cancel()  # one that has left makes room
        await asyncio.gather(waiting[0], return_exceptions=True)
        waiting.append(asyncio.ensure_future(worker.fill("a", wanted("later"))))
        await asyncio.sleep(0)
        model.may_go_on.set()
        await asyncio.gather(first, *waiting[1:])
        return caught.value

    error = asyncio.run(ask())
    assert (error.status, error.code, error.headers) == (429, "queue_full", {"Retry-After": "1"})
    assert error.message == ("2 requests wait already. Try again in a second, or send more rows in each request.")
    assert model.batches == [["first"], [1, "later"]]


def test_requests_of_clients_that_have_left_never_run(make_worker, model):
    async def ask():
        worker = make_worker()
        first = await busy(worker, model)
        leaving = [asyncio.ensure_future(worker.fill("a", wanted(n))) for n in range(3)]
        await asyncio.sleep(0)
        for each in leaving:
            each.cancel()
        await asyncio.gather(*leaving, return_exceptions=True)
        staying = asyncio.ensure_future(worker.fill("a", wanted("stays")))
        await asyncio.sleep(0)
        model.may_go_on.set()
        await asyncio.gather(first, staying)

    asyncio.run(ask())
    assert model.batches == [["first"], ["stays"]]


def test_rows_that_nobody_waits_for_end_after_their_batch(make_worker, model):
    steps = []

    def fill(opened, requests, listener):
        model.begun.set()
        assert model.may_go_on.wait(30)
        for step in range(5):
            listener.progress(step)
            steps.append(step)

    async def ask():
        worker = make_worker()
        first = await busy(worker, model)
        first.cancel()
        await asyncio.gather(first, return_exceptions=True)
        model.may_go_on.set()
        await worker.fill("a", wanted("next"))

    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(rows_module, "fill_together", lambda *a: fill(*a) or ["x"])
        asyncio.run(ask())
    assert steps == [0, 1, 2, 3, 4]  # of the second request alone


def test_a_request_that_takes_too_long_is_408_and_never_runs(make_worker, model):
    async def ask():
        worker = make_worker(timeout_s=0.2)
        first = await busy(worker, model)
        late = asyncio.ensure_future(worker.fill("a", wanted("late")))
        answers = await asyncio.gather(first, late, return_exceptions=True)
        model.may_go_on.set()
        await worker.fill("a", wanted("next"))
        return answers

    for error in asyncio.run(ask()):
        assert (error.status, error.code, error.headers) == (408, "timeout", {"x-should-retry": "false"})
        assert error.message.startswith("the answer was not ready after 0.2 seconds")
    assert model.batches == [["first"], ["next"]]


def test_during_a_training_runs_are_closed_and_requests_refused(make_worker, model):
    is_training = []

    async def ask():
        runs = Runs()
        worker = make_worker(runs, is_training=lambda: bool(is_training))
        first = await busy(worker, model)
        waiting = asyncio.ensure_future(worker.fill("a", wanted("waits")))
        await asyncio.sleep(0)
        is_training.append(True)
        worker._seen = -math.inf, False  # a second later
        model.may_go_on.set()
        await first
        await until(lambda: runs.closed)
        assert runs.closed == 1
        errors = await asyncio.gather(waiting, worker.fill("a", wanted("new")), return_exceptions=True)
        is_training.clear()
        worker._seen = -math.inf, False  # a second later
        assert await worker.fill("a", wanted("after")) == "a: ('after',)"
        return errors

    for error in asyncio.run(ask()):
        assert (error.status, error.code) == (409, "training")
    assert model.batches == [["first"], ["after"]]


def test_the_longest_waiting_request_comes_first_and_others_of_its_run_join_it(make_worker, model):
    async def ask():
        runs = Runs()
        worker = make_worker(runs)
        first = await busy(worker, model)
        others = [asyncio.ensure_future(worker.fill(run, wanted(run + n))) for run, n in ("b1", "a1", "b2", "a2")]
        await asyncio.sleep(0)
        model.may_go_on.set()
        await asyncio.gather(first, *others)
        return runs.opened

    assert asyncio.run(ask()) == ["a", "b", "a"]
    assert model.batches == [["first"], ["b1", "b2"], ["a1", "a2"]]


def endless(_):
    for number in range(100_000):
        yield Piece(str(number))
        time.sleep(0.001)
    yield Ended("stop", 1, 1, [])


def short(wanted):
    yield from (Piece(f"{wanted.prompt}{number} ") for number in range(3))
    yield Ended("stop", 1, 3, [])


async def text_of(pieces):
    return [each.text async for each in pieces if isinstance(each, Piece)]


def test_texts_are_written_side_by_side(make_worker):
    async def ask():
        worker = make_worker(Runs(lambda wanted: (endless if wanted.prompt == "long" else short)(wanted)))
        long = worker.write("a", WritingWanted("long", 1))
        assert (await anext(long)).text == "0"
        found = await text_of(worker.write("a", WritingWanted("x", 3)))
        assert (await anext(long)).text == "1"
        await long.aclose()
        return found

    assert asyncio.run(ask()) == ["x0 ", "x1 ", "x2 "]


def test_at_most_four_texts_are_written_side_by_side(make_worker):
    async def ask():
        worker = make_worker(Runs(endless))
        first = [worker.write("a", WritingWanted("x", 1)) for _ in range(4)]
        for each in first:
            await anext(each)
        fifth = worker.write("a", WritingWanted("x", 1))
        begun = asyncio.ensure_future(anext(fifth))
        await asyncio.sleep(0.05)
        assert not begun.done()
        await first[2].aclose()
        assert (await begun).text == "0"
        for each in (*first, fifth):
            await each.aclose()

    asyncio.run(ask())


def test_a_text_that_nobody_reads_ends(make_worker, model):
    async def ask():
        worker = make_worker(Runs(endless))
        pieces = worker.write("a", WritingWanted("x", 1))
        assert (await anext(pieces)).text == "0"
        await pieces.aclose()
        await until(lambda: not worker._writing)  # to its end it would take minutes

    asyncio.run(ask())


def test_rows_are_filled_in_while_texts_are_written(make_worker, model):
    async def ask():
        worker = make_worker(Runs(endless))
        pieces = worker.write("a", WritingWanted("x", 1))
        await anext(pieces)
        answer = await worker.fill("a", wanted(1))
        before = (await anext(pieces)).text
        await pieces.aclose()
        return answer, before

    answer, before = asyncio.run(ask())
    assert answer == "a: (1,)"
    assert before == "1"


def test_another_run_waits_until_no_text_is_written(make_worker, model):
    async def ask():
        runs = Runs(endless)
        worker = make_worker(runs)
        pieces = worker.write("a", WritingWanted("x", 1))
        await anext(pieces)
        other = asyncio.ensure_future(worker.fill("b", wanted("other")))
        behind = asyncio.ensure_future(worker.fill("a", wanted("behind")))  # must not pass the other by
        await asyncio.sleep(0.1)
        assert (runs.opened, model.batches) == (["a"], [])
        await pieces.aclose()
        await asyncio.gather(other, behind)
        return runs.opened

    assert asyncio.run(ask()) == ["a", "b", "a"]
    assert model.batches == [["other"], ["behind"]]


def test_a_text_that_fails_fails_alone(make_worker):
    def failing(wanted):
        yield Piece("a")
        raise TableError(f"{wanted.prompt} is wrong")

    async def ask():
        worker = make_worker(Runs(lambda wanted: (failing if wanted.prompt == "bad" else short)(wanted)))
        return await asyncio.gather(
            *(text_of(worker.write("a", WritingWanted(name, 3))) for name in ("bad", "good")), return_exceptions=True
        )

    bad, good = asyncio.run(ask())
    assert str(bad) == "bad is wrong"
    assert good == ["good0 ", "good1 ", "good2 "]


def test_the_thread_ends_with_the_server(make_worker, model):
    async def ask():
        worker = make_worker()
        await worker.fill("a", wanted(1))
        worker.stop()
        assert not worker._thread.is_alive()

    asyncio.run(ask())


def test_an_answer_after_the_end_of_the_event_loop_is_dropped():
    async def make():
        return RowsTask("a", wanted(1))

    task = asyncio.run(make())
    task.put("answer")
    assert task.is_gone

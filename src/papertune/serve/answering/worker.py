"""The model's thread: one model in memory, and requests that share it.

    rows      requests that come within 20 ms, or while the model is busy, go through the model as one table; those of
              many clients as two, side by side in two threads
    texts     up to four are written side by side, a token of each in turns; also between the batches of rows

The request that waits longest comes first. A run is closed for another one when nothing is written with it.
"""

import math
import threading
import time
from collections import deque
from collections.abc import AsyncIterator, Callable, Mapping
from itertools import accumulate

from papertune.events import Progress
from papertune.serve.answering.opened import OpenRun, RunInMemory
from papertune.serve.answering.second import AbandonedError, SecondThread, go_on
from papertune.serve.answering.tasks import RowsTask, Task, WritingTask
from papertune.serve.answering.wanted import Ended, Filled, Piece, RowsWanted, WritingWanted
from papertune.serve.errors import ServeError

# How long a request waits for others, in seconds.
WINDOW_S = 0.02
# Requests that wait at most.
MAX_WAITING = 64
# How long a request may take, waiting included.
TIMEOUT_S = 300.0
# Rows of several requests that go through the model together; one request may have more.
MAX_ROWS_TOGETHER = 64
# So many clients and more are answered in two groups, where the model can be in two threads: while the rows of one are
# read, its cells written and its next requests awaited, the other one has all cores. Elsewhere they take turns.
MIN_CLIENTS_IN_GROUPS = 8
# Texts that are written side by side; each has a cache of its own.
MAX_TEXTS = 4
# How often a training is looked for while nothing is asked, in seconds.
_TRAINING_S = 1.0


class ModelWorker:
    """Answers requests in one thread, which begins with the first of them.

    Args:
        memory: The run in memory.
        is_training: Whether a training runs, which needs the memory and the cores: then the run is closed, and
            requests are refused.
        max_waiting: Maximum number of requests that wait; further ones are refused.
        timeout_s: How long a request may take, waiting included.
    """

    def __init__(
        self,
        memory: RunInMemory,
        *,
        is_training: Callable[[], bool] = lambda: False,
        max_waiting: int = MAX_WAITING,
        timeout_s: float = TIMEOUT_S,
    ) -> None:
        self._memory = memory
        self._is_training = is_training
        self._max_waiting = max_waiting
        self._timeout_s = timeout_s
        self._changed = threading.Condition()
        self._waiting: deque[Task] = deque()  # guarded by `_changed`
        self._writing: list[WritingTask] = []  # of the model's thread alone
        self._answered = ("", 0)  # the run of the last rows, and how many requests they were
        self._thread: threading.Thread | None = None
        self._second = SecondThread(self._changed, self._next_beside, self._fill)
        self._is_stopping = False
        self._are_many = False  # whether the last rows that were taken are those of many clients

    async def fill(self, run: str, wanted: RowsWanted) -> Filled:
        """Fill in rows.

        Args:
            run: Name of the run.
            wanted: The rows.

        Raises:
            ServeError: 404 without such a run, 408 after too long a time, 409 during a training, 429 if too many wait.
            PapertuneError: If the rows do not fit the run, or it cannot be opened.
        """
        task = RowsTask(run, wanted)
        self._add(task)
        return await task.result(self._timeout_s)

    def write(self, run: str, wanted: WritingWanted) -> AsyncIterator[Piece | Ended]:
        """Write a text, piece by piece; closing the iterator ends the writing.

        Raises:
            ServeError, PapertuneError: As in `fill`; while the text is written, from the iterator.
        """
        task = WritingTask(run, wanted)
        self._add(task)
        return task.pieces(self._timeout_s)

    def stop(self) -> None:
        """End the thread after the step that it is in; requests that wait are refused."""
        with self._changed:
            self._is_stopping = True
            self._changed.notify_all()
        self._second.stop()
        if self._thread is not None:
            self._thread.join(timeout=0.5)

    def _add(self, task: Task) -> None:
        if self._is_training():
            raise _training()
        with self._changed:
            waiting = sum(not each.is_gone for each in self._waiting)
            if waiting >= self._max_waiting:
                raise ServeError(
                    429,
                    "queue_full",
                    f"{waiting} requests wait already. Try again in a second, or send more rows in each request.",
                    headers={"Retry-After": "1"},
                    waiting=waiting,
                )
            self._waiting.append(task)
            if self._thread is None:
                self._thread = threading.Thread(target=self._work, name="papertune-model", daemon=True)
                self._thread.start()
            self._changed.notify_all()

    # What follows runs in the model's thread.

    def _work(self) -> None:
        while not self._is_stopping:
            is_training = self._is_training()
            if is_training:
                self._refuse_all(_training())
                if not self._writing:
                    self._second.rest()
                    self._memory.close()
            elif not self._writing and self._memory.is_deleted():
                self._second.rest()
                self._memory.close()
            begun = [] if is_training else self._next()
            if begun:
                self._begin(begun)
            self._write_on()
            if not begun and not self._writing:
                self._wait(_TRAINING_S)
        self._second.stop()
        self._refuse_all(ServeError(409, "stopping", "the server ends. Start it again, and repeat the request."))

    def _wait(self, longest_s: float) -> None:
        """Wait for a request; with one, until others may have joined it."""
        with self._changed:
            left_s = longest_s
            if self._waiting:
                left_s = min(left_s, self._waiting[0].arrived + WINDOW_S - time.monotonic())
            if left_s > 0 and not self._is_stopping:
                self._changed.wait(left_s)

    def _next(self) -> list[Task]:
        """Take the request that waits longest, with others that share its batch; none if it cannot begin yet."""
        with self._changed:
            self._waiting = deque(task for task in self._waiting if not task.is_gone)
            for task in self._waiting:
                if self._writing and self._memory.name not in (None, task.run):
                    return []  # it comes before what could begin now
                if isinstance(task, WritingTask) and len(self._writing) >= MAX_TEXTS:
                    continue
                if not isinstance(task, RowsTask):
                    self._waiting.remove(task)
                    return [task]
                return [*self._take(task)]
        return []

    def _next_beside(self) -> list[RowsTask] | None:
        """Take requests for the second thread, with the lock; None if the first one is not for it.

        It must be for rows, and for the run that answers now; one that has changed is opened again by the first thread.
        """
        first = next((task for task in self._waiting if not task.is_gone), None)
        return self._take(first) if isinstance(first, RowsTask) and self._memory.is_current(first.run) else None

    def _take(self, first: RowsTask) -> list[RowsTask]:
        """Take a request with those that share its batch; none while others may come."""
        together = self._sharing(first.run)
        is_full = sum(len(each.wanted.rows) for each in together) >= MAX_ROWS_TOGETHER
        if not is_full and time.monotonic() < first.arrived + WINDOW_S:
            return []
        self._waiting = deque(each for each in self._waiting if each not in together)
        self._answered = first.run, len(together)
        return together

    def _sharing(self, run: str) -> list[RowsTask]:
        """Return the requests for rows of a run that go through the model together, at least one."""
        waiting = [
            task for task in self._waiting if isinstance(task, RowsTask) and task.run == run and not task.is_gone
        ]
        last_run, answered = self._answered
        clients = len(waiting) + (answered if last_run == run else 0)
        self._are_many = clients >= MIN_CLIENTS_IN_GROUPS
        if self._are_many:
            waiting = waiting[: math.ceil(clients / 2)]
        sizes = accumulate(len(task.wanted.rows) for task in waiting)
        fitting = sum(rows <= MAX_ROWS_TOGETHER for rows in sizes)
        return waiting[: max(1, fitting)]

    def _begin(self, tasks: list[Task]) -> None:
        """Fill in rows, or begin a text."""
        first = tasks[0]
        rows = [task for task in tasks if isinstance(task, RowsTask)]
        if not rows or not self._memory.is_current(first.run):
            self._second.rest()  # another model takes the place of this one
        try:
            opened = self._memory.open(first.run)
            if isinstance(first, WritingTask):
                first.steps = opened.writer.write(first.wanted)
                self._writing.append(first)
            elif self._are_many and not self._writing and opened.answers_in_threads:
                with self._second.beside(opened):
                    self._fill(opened, rows, self.between_batches)
            else:
                self._second.rest()
                self._fill(opened, rows, self.between_batches)
        except Exception as error:  # the thread must go on; whoever asked raises it
            for task in tasks:
                task.put(error)

    def _fill(self, opened: "OpenRun", rows: list[RowsTask], between: Callable[[list[RowsTask]], None]) -> None:
        """Fill in rows; one of two threads may do so."""
        from papertune.serve.answering.rows import fill_together

        try:
            answers = fill_together(opened, [task.wanted for task in rows], _Between(between, rows))
            for each, answer in zip(rows, answers, strict=True):
                each.put(answer)
        except AbandonedError:
            pass
        except Exception as error:  # the thread must go on; whoever asked raises it
            for task in rows:
                task.put(error)

    def _write_on(self) -> None:
        """Write a token of each text."""
        for task in list(self._writing):
            item: Piece | Ended | Exception | None = None
            if not task.is_gone:
                try:
                    item = next(task.steps)
                except Exception as error:
                    item = error
                task.put(item)
            if not isinstance(item, Piece):  # gone, failed or ended
                task.steps = iter(())
                self._writing.remove(task)

    def _refuse_all(self, error: ServeError) -> None:
        with self._changed:
            refused, self._waiting = self._waiting, deque()
        for task in refused:
            task.put(error)

    def between_batches(self, tasks: list[RowsTask]) -> None:
        """Do what must not wait for all batches of some rows.

        Raises:
            AbandonedError: If nobody waits for the rows any more.
        """
        go_on(tasks, is_stopping=self._is_stopping)
        self._write_on()


class _Between:
    """A listener that acts between batches."""

    def __init__(self, between: Callable[[list[RowsTask]], None], tasks: list[RowsTask]) -> None:
        self._between = between
        self._tasks = tasks

    def message(self, text: str) -> None:
        """Do nothing: there are no messages."""

    def progress(self, step: Progress) -> None:
        """Act after a batch."""
        self._between(self._tasks)

    def metrics(self, step: int, values: Mapping[str, float]) -> None:
        """Do nothing: nothing is trained."""


def _training() -> ServeError:
    return ServeError(
        409,
        "training",
        "a training runs, which needs the memory and the cores of this machine. Ask again when it has ended.",
        headers={"x-should-retry": "false"},
    )

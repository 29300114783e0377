"""A second thread that fills in rows beside the model's thread, with the same run, while many clients ask."""

import threading
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from typing import TYPE_CHECKING

from papertune.serve.answering.opened import OpenRun
from papertune.serve.answering.tasks import RowsTask

if TYPE_CHECKING:
    from papertune.decoding.threads import SharedThreads

# How often requests that may still be joined by others are looked at, in seconds.
_LOOK_EVERY_S = 0.005

Fill = Callable[[OpenRun, list[RowsTask], Callable[[list[RowsTask]], None]], None]


class AbandonedError(Exception):
    """Nobody waits for the rows that are being filled in."""


def go_on(tasks: Sequence[RowsTask], *, is_stopping: bool = False) -> None:
    """Check that somebody waits for the rows of some requests.

    Raises:
        AbandonedError: If nobody does.
    """
    if is_stopping or all(task.is_gone for task in tasks):
        raise AbandonedError


class SecondThread:
    """Takes requests as long as the model's thread answers many clients. It begins with the first of them.

    Args:
        changed: Guards the requests, and is notified of new ones.
        take: Takes requests for the run that answers now, none while others may join them; None if there are none.
            It is called with the lock.
        fill: Fills them in.
    """

    def __init__(self, changed: threading.Condition, take: Callable[[], list[RowsTask] | None], fill: Fill) -> None:
        self._changed = changed
        self._take = take
        self._fill = fill
        self._opened: OpenRun | None = None  # guarded by `changed`, as what follows
        self._is_busy = self._is_stopping = False
        self._thread: threading.Thread | None = None
        self._shared: SharedThreads | None = None

    @contextmanager
    def beside(self, opened: OpenRun) -> Iterator[None]:
        """Take requests beside the model's thread, which shares the threads of the passes; until `rest`."""
        from papertune.decoding.threads import SharedThreads

        if self._shared is None:
            import torch

            self._shared = SharedThreads(torch.get_num_threads())
        with self._changed:
            self._opened = opened
            if self._thread is None:
                self._thread = threading.Thread(target=self._work, name="papertune-model-2", daemon=True)
                self._thread.start()
            self._changed.notify_all()
        with self._shared.used():
            yield

    def rest(self) -> None:
        """Take no more requests, and wait until those that were taken are answered."""
        with self._changed:
            self._opened = None
            self._changed.wait_for(lambda: not self._is_busy)

    def stop(self) -> None:
        """End the thread after what it does."""
        with self._changed:
            self._is_stopping = True
            self._changed.notify_all()

    def _work(self) -> None:
        while True:
            with self._changed:
                tasks = None if self._opened is None else self._take()
                while not tasks and not self._is_stopping:
                    self._changed.wait(None if tasks is None else _LOOK_EVERY_S)
                    tasks = None if self._opened is None else self._take()
                opened = self._opened
                if not tasks or opened is None or self._shared is None:
                    return  # the server ends
                self._is_busy = True
            try:
                with self._shared.used():
                    self._fill(opened, tasks, go_on)
            finally:
                del opened  # it may be the last to hold a model
                with self._changed:
                    self._is_busy = False
                    self._changed.notify_all()

"""A process that makes and checks recipes, so that large tables and tokenizers of models never hold up the server."""

import threading
import time
from collections.abc import Callable
from concurrent.futures import CancelledError, Future, ProcessPoolExecutor
from concurrent.futures import TimeoutError as TooLate
from concurrent.futures.process import BrokenProcessPool
from contextlib import suppress
from multiprocessing import get_context
from pathlib import Path
from typing import TypeVar

from papertune.serve.errors import ServeError
from papertune.serve.recipes.tasks import prepare_process

# The longest check of a table of 20,000 rows takes a tenth of it.
LIMIT_S = 300.0
# The process ends if nothing is asked of it for so long.
IDLE_S = 300.0

_ASK_EVERY_S = 0.5

_Result = TypeVar("_Result")


class Worker:
    """Runs functions in one process, one after the other. It starts with the first one.

    Args:
        folder: The folder in which it works: relative paths in recipes are looked for there.
    """

    def __init__(self, folder: Path) -> None:
        self._folder = folder
        self._lock = threading.Lock()
        self._pool: ProcessPoolExecutor | None = None
        self._timer: threading.Timer | None = None
        self._asked = 0

    def run(
        self, function: Callable[..., _Result], *arguments: object, is_wanted: Callable[[], bool] = lambda: True
    ) -> _Result:
        """Return what a function returns; both must be importable and picklable.

        Args:
            function: The function.
            arguments: Its arguments.
            is_wanted: Asked twice a second; if nobody wants the result any more, a call that waits is not begun.

        Raises:
            PapertuneError: What it raises.
            ServeError: 400 if it takes too long, or ends the process, as full memory does; 499 if nobody wants it.
        """
        pool, future = self._submit(function, *arguments)
        try:
            return _wait(future, is_wanted)
        except (TooLate, BrokenProcessPool, CancelledError) as error:
            self._end(pool)
            is_late = isinstance(error, TooLate)
            what = "took too long" if is_late else "was ended, perhaps since the memory was full"
            message = f"the check {what}. Check a smaller table, or use papertune check."
            raise ServeError(400, "check_too_long" if is_late else "check_ended", message, "table") from None
        finally:
            with self._lock:
                self._asked -= 1
                if not self._asked and self._pool is pool:
                    self._timer = threading.Timer(IDLE_S, self._end, [pool, True])
                    self._timer.daemon = True
                    self._timer.start()

    def _submit(
        self, function: Callable[..., _Result], *arguments: object
    ) -> tuple[ProcessPoolExecutor, Future[_Result]]:
        with self._lock:
            self._stop_timer()
            self._asked += 1
            if self._pool is not None:
                with suppress(BrokenProcessPool):  # it may have been killed while nobody asked
                    return self._pool, self._pool.submit(function, *arguments)
            self._pool = ProcessPoolExecutor(
                1, mp_context=get_context("spawn"), initializer=prepare_process, initargs=(str(self._folder),)
            )
            return self._pool, self._pool.submit(function, *arguments)

    def close(self) -> None:
        """End the process."""
        with self._lock:
            self._stop_timer()
            pool = self._pool
        if pool is not None:
            self._end(pool)

    def _end(self, pool: ProcessPoolExecutor, only_if_idle: bool = False) -> None:
        with self._lock:
            if only_if_idle and self._asked:
                return  # asked again at the moment when the time was over
            if self._pool is not pool:
                return  # ended by another call that waited for it: two cannot shut it down at once
            self._pool = None
        for process in list((pool._processes or {}).values()):
            process.kill()
        pool.shutdown(wait=True, cancel_futures=True)

    def _stop_timer(self) -> None:
        if self._timer is not None:
            self._timer.cancel()
            self._timer = None


def _wait(future: "Future[_Result]", is_wanted: Callable[[], bool]) -> _Result:
    """Return the result of a call.

    Raises:
        TooLate: If it takes too long.
        ServeError: If nobody wants it any more.
    """
    deadline = time.monotonic() + LIMIT_S
    while True:
        try:
            return future.result(min(_ASK_EVERY_S, LIMIT_S))
        except TooLate:
            if future.done() or time.monotonic() >= deadline:
                raise  # done: the function's own
            if not is_wanted():
                future.cancel()
                raise ServeError(499, "client_left", "the client has gone. Ask again.") from None

"""A process that makes and checks recipes, so that large tables and tokenizers of models never hold up the server."""

import threading
from collections.abc import Callable
from concurrent.futures import ProcessPoolExecutor
from concurrent.futures import TimeoutError as TooLate
from concurrent.futures.process import BrokenProcessPool
from multiprocessing import get_context
from pathlib import Path
from typing import TypeVar

from papertune.serve.errors import ServeError
from papertune.serve.recipes.tasks import prepare_process

# The longest check of a table of 20,000 rows takes a tenth of it.
LIMIT_S = 300.0
# The process ends if nothing is asked of it for so long.
IDLE_S = 300.0

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

    def run(self, function: Callable[..., _Result], *arguments: object) -> _Result:
        """Return what a function returns; both must be importable and picklable.

        Raises:
            PapertuneError: What it raises.
            ServeError: 400 if it takes too long, or ends the process, as full memory does.
        """
        with self._lock:
            self._stop_timer()
            self._asked += 1
            if self._pool is None:
                self._pool = ProcessPoolExecutor(
                    1, mp_context=get_context("spawn"), initializer=prepare_process, initargs=(str(self._folder),)
                )
            pool = self._pool
            future = pool.submit(function, *arguments)
        try:
            return future.result(LIMIT_S)
        except (TooLate, BrokenProcessPool) as error:
            self._end(pool)
            what = "took too long" if isinstance(error, TooLate) else "was ended, perhaps since the memory was full"
            raise ServeError(
                400, "too_large", f"the check {what}. Check a smaller table, or use papertune check.", "table"
            ) from None
        finally:
            with self._lock:
                self._asked -= 1
                if not self._asked and self._pool is pool:
                    self._timer = threading.Timer(IDLE_S, self._end, [pool])
                    self._timer.daemon = True
                    self._timer.start()

    def close(self) -> None:
        """End the process."""
        with self._lock:
            self._stop_timer()
            pool = self._pool
        if pool is not None:
            self._end(pool)

    def _end(self, pool: ProcessPoolExecutor) -> None:
        with self._lock:
            if self._pool is pool:
                if self._asked and self._timer is not None:
                    return  # asked again at the moment when the time was over
                self._pool = None
        for process in list((pool._processes or {}).values()):
            process.kill()
        pool.shutdown(wait=True, cancel_futures=True)

    def _stop_timer(self) -> None:
        if self._timer is not None:
            self._timer.cancel()
            self._timer = None

"""Several passes through a model at the same time, each with its share of the threads.

Between two products there are many small steps. Threads that share each of them wait for each other after each; threads
with a pass of their own do not. Python's global lock hardly matters, since PyTorch releases it in each step.
"""

import threading
from collections.abc import Callable, Iterator, Sequence
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager
from typing import TypeVar

import torch

Item = TypeVar("Item")
Result = TypeVar("Result")


_shared = threading.local()


class SharedThreads:
    """Threads for the passes of several callers: while one of them does something else, another has all threads.

    Args:
        threads: How many.
    """

    def __init__(self, threads: int) -> None:
        self._threads = threads
        self._lock = threading.Lock()
        self._callers = 0
        self._pool: ThreadPoolExecutor | None = None

    @contextmanager
    def used(self) -> Iterator[None]:
        """Let `map_in_threads` use them in this thread; they end with the last caller."""
        with self._lock:
            self._callers += 1
            if self._pool is None:
                self._pool = ThreadPoolExecutor(self._threads, initializer=torch.set_num_threads, initargs=(1,))
            _shared.pool, _shared.count = self._pool, self._threads
        try:
            yield
        finally:
            _shared.pool = None
            with self._lock:
                self._callers -= 1
                if self._callers == 0:
                    self._pool.shutdown()
                    self._pool = None
                    # The number of threads of a product in float32 is one for the whole process.
                    torch.set_num_threads(self._threads)


def threads_here() -> int:
    """Return how many items `map_in_threads` works on at a time in this thread."""
    if getattr(_shared, "pool", None) is not None:
        # PyTorch would say one: a thread begins with the number that any thread, here one of the pool, has set last.
        return int(_shared.count)
    return torch.get_num_threads()


def map_in_threads(function: Callable[[Item], Result], items: Sequence[Item]) -> list[Result]:
    """Call a function with each item, as many at a time as `threads_here` says.

    Items that would leave threads idle at the end run one after another, each with all threads; with `SharedThreads`
    other callers use these threads.

    Args:
        function: Safe in several threads.
        items: About equally much work.

    Returns:
        The results, in the order of the items.

    Raises:
        Exception: What the function raises for the first item that fails; items that have not begun are left out.
    """
    if (shared := getattr(_shared, "pool", None)) is not None:
        return _map_in(shared, function, items)
    threads = torch.get_num_threads()
    workers = min(threads, len(items))
    if workers < 2:
        return [function(item) for item in items]
    together = len(items) - len(items) % workers
    pool = ThreadPoolExecutor(workers, initializer=torch.set_num_threads, initargs=(threads // workers,))
    try:
        results = list(pool.map(function, items[:together]))
    finally:
        pool.shutdown(cancel_futures=True)
        # The number of threads of a product in float32 is one for the whole process.
        torch.set_num_threads(threads)
    return results + [function(item) for item in items[together:]]


def _map_in(pool: ThreadPoolExecutor, function: Callable[[Item], Result], items: Sequence[Item]) -> list[Result]:
    futures = [pool.submit(function, item) for item in items]
    try:
        return [future.result() for future in futures]
    finally:
        for future in futures:
            future.cancel()

"""Computes features, groups of near duplicates and rankings in a thread, so that nobody waits for them."""

import threading
from collections.abc import Callable
from typing import Generic, TypeVar

Result = TypeVar("Result")


class Latest(Generic[Result]):
    """Computes a result anew after each request; requests during a computation are answered by one more together.

    Args:
        compute: Computes the result; it runs in the thread of this object only.

    Attributes:
        result: The last result; None before the first.
        error: What the last computation raised, if it failed; the last result then stays.
    """

    def __init__(self, compute: Callable[[], Result]) -> None:
        self.result: Result | None = None
        self.error: BaseException | None = None
        self._compute = compute
        self._condition = threading.Condition()
        self._wanted = self._done = 0
        self._closed = False
        self._thread = threading.Thread(target=self._run, name="screening", daemon=True)
        self._thread.start()

    def request(self) -> None:
        """Ask for a computation that begins after this call."""
        with self._condition:
            self._wanted += 1
            self._condition.notify_all()

    def wait(self, timeout_s: float | None = None) -> bool:
        """Wait until all requests so far are answered.

        Returns:
            Whether they are.
        """
        with self._condition:
            wanted = self._wanted
            return self._condition.wait_for(lambda: self._done >= wanted, timeout_s)

    def close(self) -> None:
        """End the thread after the computation that is running."""
        with self._condition:
            self._closed = True
            self._condition.notify_all()
        self._thread.join()

    def _run(self) -> None:
        while True:
            with self._condition:
                self._condition.wait_for(lambda: self._closed or self._wanted > self._done)
                if self._closed:
                    return
                wanted = self._wanted
            try:
                self.result, self.error = self._compute(), None
            except Exception as error:
                self.error = error
            with self._condition:
                self._done = wanted
                self._condition.notify_all()

"""What waits for the model: rows to fill in, and texts to write. Made in the event loop, done in the model's thread."""

import asyncio
import time
from collections.abc import AsyncIterator, Iterator
from typing import Any

from papertune.serve.answering.wanted import Ended, Filled, Piece, RowsWanted, WritingWanted
from papertune.serve.errors import ServeError


class Task:
    """A request. Made in the event loop that waits for the answer.

    Args:
        run: Name of the run that answers.

    Attributes:
        arrived: When it came, in seconds of the monotonic clock.
        is_gone: Whether nobody waits for it any more: the client has left, or its time is up.
    """

    def __init__(self, run: str) -> None:
        self.run = run
        self.arrived = time.monotonic()
        self.is_gone = False
        self._loop = asyncio.get_running_loop()
        self._answers: asyncio.Queue[Any] = asyncio.Queue()

    def put(self, answer: Any) -> None:
        """Answer, in the thread of the model: with what was asked for, a part of it, or an error."""
        try:
            self._loop.call_soon_threadsafe(self._answers.put_nowait, answer)
        except RuntimeError:  # the loop is closed: the server ends
            self.is_gone = True

    async def _next(self, timeout_s: float) -> Any:
        """Return the next answer.

        Raises:
            ServeError: 408 if it takes longer since the task came; an error that is the answer.
        """
        try:
            answer = await asyncio.wait_for(self._answers.get(), self.arrived + timeout_s - time.monotonic())
        except TimeoutError:
            raise too_late(timeout_s) from None
        if isinstance(answer, BaseException):
            raise answer
        return answer


class RowsTask(Task):
    """Rows to fill in.

    Args:
        run: Name of the run.
        wanted: The rows.
    """

    def __init__(self, run: str, wanted: RowsWanted) -> None:
        super().__init__(run)
        self.wanted = wanted

    async def result(self, timeout_s: float) -> Filled:
        """Wait for the answer.

        Raises:
            ServeError: 408 if it takes too long.
        """
        try:
            found: Filled = await self._next(timeout_s)
            return found
        finally:
            self.is_gone = True


class WritingTask(Task):
    """A text to write.

    Args:
        run: Name of the run.
        wanted: The text.

    Attributes:
        steps: The text as it is written, once it has begun.
    """

    def __init__(self, run: str, wanted: WritingWanted) -> None:
        super().__init__(run)
        self.wanted = wanted
        self.steps: Iterator[Piece | Ended] = iter(())

    async def pieces(self, timeout_s: float) -> AsyncIterator[Piece | Ended]:
        """Yield the pieces, then the end.

        Raises:
            ServeError: 408 if the whole takes too long.
        """
        try:
            item: Piece | Ended | None = None
            while not isinstance(item, Ended):
                item = await self._next(timeout_s)
                assert item is not None
                yield item
        finally:
            self.is_gone = True


def too_late(timeout_s: float) -> ServeError:
    """Return the error of a request whose time is up; clients must not repeat it by themselves."""
    return ServeError(
        408,
        "timeout",
        f"the answer was not ready after {timeout_s:g} seconds, and nobody waits for it any more. Ask for fewer rows "
        "or tokens, or try again when fewer requests wait.",
        headers={"x-should-retry": "false"},
        seconds=timeout_s,
    )

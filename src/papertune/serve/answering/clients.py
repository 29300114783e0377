"""Clients that leave before they are answered."""

import asyncio
from collections.abc import Coroutine
from typing import Any, TypeVar

from starlette.requests import Request

from papertune.serve.errors import ServeError

T = TypeVar("T")


async def unless_gone(request: Request, answer: Coroutine[Any, Any, T]) -> T:
    """Wait for an answer; if the client leaves, cancel it.

    Args:
        request: The request, whose body has been read.
        answer: Makes the answer.

    Raises:
        ServeError: 499 if the client has left; nobody reads it.
    """
    waiting = asyncio.ensure_future(answer)
    left = asyncio.ensure_future(_left(request))
    try:
        await asyncio.wait({waiting, left}, return_when=asyncio.FIRST_COMPLETED)
        if waiting.done():
            return waiting.result()
        raise ServeError(499, "client_left", "the client has left.")
    finally:
        for task in (waiting, left):
            task.cancel()


async def _left(request: Request) -> None:
    while (await request.receive())["type"] != "http.disconnect":
        pass

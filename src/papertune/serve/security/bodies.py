"""The size of what is sent: uploads are counted by their route, everything else here."""

from starlette.exceptions import HTTPException
from starlette.types import ASGIApp, Message, Receive, Scope, Send

from papertune.serve.security.refusals import refusal, single_header

MAX_BODY_BYTES = 32 * 1024 * 1024
_UPLOADS = ("PUT", "/api/tables")


class Bodies:
    """Refuses bodies that are too large, by their header or while they stream in.

    Args:
        app: The app.
        max_bytes: A larger body is refused.
    """

    def __init__(self, app: ASGIApp, max_bytes: int = MAX_BODY_BYTES) -> None:
        self._app = app
        self._max_bytes = max_bytes
        self._message = f"more than {max_bytes / 2**20:,.0f} MB were sent. Send them in parts."

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Answer a request."""
        if scope["type"] != "http" or (scope["method"], scope["path"]) == _UPLOADS:
            await self._app(scope, receive, send)
            return
        length = single_header(scope, "content-length") or "0"
        if length.isascii() and length.isdecimal() and int(length[:20]) > self._max_bytes:
            await refusal(scope, 413, "too_large", self._message)(scope, receive, send)
            return
        received = 0

        async def counted() -> Message:
            nonlocal received
            message = await receive()
            received += len(message.get("body", b""))
            if received > self._max_bytes:
                raise HTTPException(413, self._message)
            return message

        await self._app(scope, counted, send)

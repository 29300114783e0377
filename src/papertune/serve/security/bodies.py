"""The size of what is sent: uploads are counted by their route, everything else here."""

from starlette.types import ASGIApp, Message, Receive, Scope, Send

from papertune.serve.errors import RefusedBodyError, ServeError
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
        message = f"more than {max_bytes / 2**20:,.0f} MB were sent. Send them in parts."
        self._error = ServeError(413, "body_too_large", message, limit_mb=round(max_bytes / 2**20))

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Answer a request."""
        if scope["type"] != "http" or (scope["method"], scope["path"]) == _UPLOADS:
            await self._app(scope, receive, send)
            return
        length = single_header(scope, "content-length") or "0"
        if length.isascii() and length.isdecimal() and int(length[:20]) > self._max_bytes:
            await refusal(scope, self._error)(scope, receive, send)
            return
        received = 0

        async def counted() -> Message:
            nonlocal received
            message = await receive()
            received += len(message.get("body", b""))
            if received > self._max_bytes:
                raise RefusedBodyError(self._error)
            return message

        await self._app(scope, counted, send)

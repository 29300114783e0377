"""The check against CSRF: whoever changes something with a cookie is the page itself.

A page on another port of this machine is the same site to a browser, so SameSite alone does not keep it out.
"""

from urllib.parse import urlsplit

from starlette.types import ASGIApp, Receive, Scope, Send

from papertune.serve.errors import ServeError
from papertune.serve.security.access import BY_BEARER
from papertune.serve.security.refusals import refusal, single_header

_READING = {"GET", "HEAD", "OPTIONS"}


class Origins:
    """Refuses requests that change something unless the page itself or a program with a token sends them."""

    def __init__(self, app: ASGIApp) -> None:
        self._app = app

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Answer a request."""
        if scope["type"] != "http" or scope["method"] in _READING or scope.get(BY_BEARER) or _is_same_origin(scope):
            await self._app(scope, receive, send)
            return
        message = "another page has sent this request. Use the page of papertune, or send Authorization: Bearer TOKEN."
        await refusal(scope, ServeError(403, "foreign_origin", message))(scope, receive, send)


def _is_same_origin(scope: Scope) -> bool:
    site = single_header(scope, "sec-fetch-site")
    if site is not None:
        return site in ("same-origin", "none")
    # Browsers send no Sec-Fetch-Site to plain HTTP on another machine, but always an Origin.
    origin, host = single_header(scope, "origin"), single_header(scope, "host")
    if not origin or not host:
        return False
    try:
        return urlsplit(origin).netloc.lower() == host.lower()
    except ValueError:
        return False

"""Answers that middleware gives instead of the app."""

from starlette.datastructures import Headers
from starlette.responses import JSONResponse, Response
from starlette.types import Scope

from papertune.serve.errors import error_body


def refusal(scope: Scope, status: int, code: str, message: str) -> Response:
    """Return the answer to a request that is refused, in the shape of its route."""
    body = error_body(code, message)
    if scope["path"].startswith("/v1/"):
        body["error"] |= {"type": "invalid_request_error", "param": None}
    return JSONResponse(body, status)


def single_header(scope: Scope, name: str) -> str | None:
    """Return a header; None if it is missing or, which only an attacker sends, there more than once."""
    values = Headers(scope=scope).getlist(name)
    return values[0] if len(values) == 1 else None

"""Answers that middleware gives instead of the app."""

from starlette.datastructures import Headers
from starlette.responses import JSONResponse, Response
from starlette.types import Scope

from papertune.serve.errors import ServeError, error_body


def refusal(scope: Scope, error: ServeError) -> Response:
    """Return the answer to a request that is refused, in the shape of its route."""
    if scope["path"].startswith("/v1/"):
        body = error_body(error.code, error.message)
        body["error"] |= {"type": "invalid_request_error", "param": None}
    else:
        body = error_body(error.code, error.message, params=error.params)
    return JSONResponse(body, error.status)


def single_header(scope: Scope, name: str) -> str | None:
    """Return a header; None if it is missing or, which only an attacker sends, there more than once."""
    values = Headers(scope=scope).getlist(name)
    return values[0] if len(values) == 1 else None

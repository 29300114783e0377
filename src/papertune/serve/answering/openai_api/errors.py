"""Errors in the shape of OpenAI's API: a wrong request is 400 and never 422."""

from collections.abc import Callable, Coroutine
from typing import Any

from fastapi import Request, Response
from fastapi.exceptions import RequestValidationError
from fastapi.responses import JSONResponse
from fastapi.routing import APIRoute

from papertune.errors import PapertuneError, coded
from papertune.serve.errors import RefusedBodyError, ServeError, invalid_request

_TYPES = {408: "timeout_error", 409: "conflict_error", 429: "rate_limit_error"}


class OpenAIRoute(APIRoute):
    """A route whose errors have OpenAI's shape."""

    def get_route_handler(self) -> Callable[[Request], Coroutine[Any, Any, Response]]:
        """Return the handler of the route."""
        handle = super().get_route_handler()

        async def handled(request: Request) -> Response:
            try:
                return await handle(request)
            except (ServeError, PapertuneError, RequestValidationError, RefusedBodyError) as error:
                known = as_serve_error(error)
                return JSONResponse(error_body(known), known.status, known.headers)

        return handled


def as_serve_error(error: ServeError | PapertuneError | RequestValidationError | RefusedBodyError) -> ServeError:
    """Return an error with status, code and the parameter that it is about."""
    if isinstance(error, RefusedBodyError):
        return error.error
    if isinstance(error, ServeError):
        return error
    if isinstance(error, PapertuneError):
        return ServeError(400, "invalid", str(error), what=coded(error)[0])
    return invalid_request(error, code="invalid_value")


def error_body(error: ServeError) -> dict[str, Any]:
    """Return the body of an error."""
    kind = _TYPES.get(error.status, "invalid_request_error")
    return {"error": {"message": error.message, "type": kind, "param": error.where, "code": error.code}}


def unsupported(name: str, message: str) -> ServeError:
    """Return the error of a parameter that cannot have its value."""
    return ServeError(400, "unsupported_value", message, name)

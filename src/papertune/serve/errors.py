"""Errors as JSON: `{"error": {"message", "code", "where"?, "params"?}}`.

A mistake of the user is never a status of 500.
"""

import errno
import os
from collections.abc import Mapping, Sequence
from http import HTTPStatus
from math import isfinite
from typing import Any

from fastapi import FastAPI, Request
from fastapi.exceptions import RequestValidationError
from fastapi.responses import JSONResponse, Response
from pydantic import ValidationError
from starlette.exceptions import HTTPException

from papertune.errors import PapertuneError, Param, coded

_DISK_FULL = (errno.ENOSPC, errno.EDQUOT)
# Of a text that a request has named.
_MAX_PARAM_CHARS = 300


class ServeError(Exception):
    """A request that cannot be answered.

    Attributes:
        status: The HTTP status: 4xx, or 507 for a full disk.
        code: One word for programs, such as "not_found".
        message: What is wrong, where, and what to do.
        where: What the message is about, such as a column; None: the whole request.
        headers: Headers of the answer, such as Retry-After.
        params: The values in the message, from which a page makes a sentence in another language; docs/serve.md lists
            those of each code.
    """

    def __init__(
        self,
        status: int,
        code: str,
        message: str,
        where: str | None = None,
        headers: dict[str, str] | None = None,
        **params: Param,
    ) -> None:
        super().__init__(message)
        self.status = status
        self.code = code
        self.message = message
        self.where = where
        self.headers = headers
        self.params = params


class RefusedBodyError(HTTPException):
    """An error while a body is read, where FastAPI lets no other class through."""

    def __init__(self, error: ServeError) -> None:
        super().__init__(error.status, error.message)
        self.error = error


def error_body(
    code: str, message: str, where: str | None = None, params: Mapping[str, Param] | None = None
) -> dict[str, Any]:
    """Return the body of an error; half of a character, which a request can name, becomes its escape."""
    body: dict[str, Any] = {"message": _encodable(message), "code": code}
    if where is not None:
        body["where"] = where
    if params:
        body["params"] = {
            name: _encodable(value)[:_MAX_PARAM_CHARS] if isinstance(value, str) else value
            for name, value in params.items()
        }
    return {"error": body}


def _encodable(text: str) -> str:
    return text.encode(errors="backslashreplace").decode()


def handle_errors(app: FastAPI) -> None:
    """Make every error of an app an answer in JSON."""

    @app.exception_handler(ServeError)
    def _(_: Request, error: ServeError) -> Response:
        return _answer(error)

    @app.exception_handler(PapertuneError)
    def _(_: Request, error: PapertuneError) -> Response:
        if is_disk_full(error):
            return _answer(ServeError(507, "disk_full", str(error)))
        what, params = coded(error)
        invalid = ServeError(400, "invalid", str(error), what=what)
        invalid.params |= params
        return _answer(invalid)

    @app.exception_handler(OSError)
    def _(_: Request, error: OSError) -> Response:
        if not is_disk_full(error):
            raise error
        message = "the disk of the server is full, so nothing was stored. Make room, then do it again."
        return _answer(ServeError(507, "disk_full", message))

    @app.exception_handler(RequestValidationError)
    def _(_: Request, error: RequestValidationError) -> Response:
        return _answer(invalid_request(error))

    @app.exception_handler(HTTPException)
    def _(_: Request, error: HTTPException) -> Response:
        if isinstance(error, RefusedBodyError):
            return _answer(error.error)
        code = HTTPStatus(error.status_code).phrase.lower().replace(" ", "_")
        return _answer(ServeError(error.status_code, code, str(error.detail), headers=dict(error.headers or {})))


def is_disk_full(error: BaseException) -> bool:
    """Whether an error, or one that it comes from, is a full disk."""
    cause: BaseException | None = error
    while cause is not None:
        if isinstance(cause, OSError) and cause.errno in _DISK_FULL:
            return True
        # polars and others have it in their message.
        if any(os.strerror(number) in str(cause) for number in _DISK_FULL):
            return True
        cause = cause.__cause__
    return False


def invalid_request(
    error: ValidationError | RequestValidationError, *within: str, code: str = "invalid_request"
) -> ServeError:
    """Return the error of a request that does not fit its description, about the first problem.

    Args:
        error: All problems.
        within: Where in the request the values stand that were checked.
        code: The word for programs.
    """
    first = error.errors()[0]
    where = _place((*within, *first["loc"]))
    message = f"{where}: {first['msg']}. Correct the request."
    context = {name: value for name, value in first.get("ctx", {}).items() if isinstance(value, str | int | float)}
    limits = {name: value for name, value in context.items() if isinstance(value, str) or isfinite(value)}
    invalid = ServeError(400, code, message, where, place=where, problem=first["type"])
    invalid.params |= limits
    return invalid


def _place(location: Sequence[int | str]) -> str:
    """Write where in a request something is, such as `columns[2].kind`."""
    parts = [part for part in location if part not in ("body", "query", "path")] or list(location)
    return "".join(f"[{part}]" if isinstance(part, int) else f".{part}" for part in parts).lstrip(".")


def _answer(error: ServeError) -> Response:
    return JSONResponse(error_body(error.code, error.message, error.where, error.params), error.status, error.headers)

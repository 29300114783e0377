"""Errors as JSON: `{"error": {"message", "code", "where"?}}`. A mistake of the user is never a status of 500."""

import errno
import os
from collections.abc import Sequence
from http import HTTPStatus
from typing import Any

from fastapi import FastAPI, Request
from fastapi.exceptions import RequestValidationError
from fastapi.responses import JSONResponse, Response
from pydantic import ValidationError
from starlette.exceptions import HTTPException

from papertune.errors import PapertuneError

_DISK_FULL = (errno.ENOSPC, errno.EDQUOT)


class ServeError(Exception):
    """A request that cannot be answered.

    Attributes:
        status: The HTTP status: 4xx, or 507 for a full disk.
        code: One word for programs, such as "not_found".
        message: What is wrong, where, and what to do.
        where: What the message is about, such as a column; None: the whole request.
        headers: Headers of the answer, such as Retry-After.
    """

    def __init__(
        self, status: int, code: str, message: str, where: str | None = None, headers: dict[str, str] | None = None
    ) -> None:
        super().__init__(message)
        self.status = status
        self.code = code
        self.message = message
        self.where = where
        self.headers = headers


def error_body(code: str, message: str, where: str | None = None) -> dict[str, Any]:
    """Return the body of an error; half of a character, which a request can name, becomes its escape."""
    message = message.encode(errors="backslashreplace").decode()
    return {"error": {"message": message, "code": code} | ({} if where is None else {"where": where})}


def handle_errors(app: FastAPI) -> None:
    """Make every error of an app an answer in JSON."""

    @app.exception_handler(ServeError)
    def _(_: Request, error: ServeError) -> Response:
        return _answer(error.status, error.code, error.message, error.where, error.headers)

    @app.exception_handler(PapertuneError)
    def _(_: Request, error: PapertuneError) -> Response:
        if is_disk_full(error):
            return _answer(507, "disk_full", str(error))
        return _answer(400, "invalid", str(error))

    @app.exception_handler(OSError)
    def _(_: Request, error: OSError) -> Response:
        if not is_disk_full(error):
            raise error
        return _answer(
            507, "disk_full", "the disk of the server is full, so nothing was stored. Make room, then do it again."
        )

    @app.exception_handler(RequestValidationError)
    def _(_: Request, error: RequestValidationError) -> Response:
        invalid = invalid_request(error)
        return _answer(invalid.status, invalid.code, invalid.message, invalid.where)

    @app.exception_handler(HTTPException)
    def _(_: Request, error: HTTPException) -> Response:
        code = HTTPStatus(error.status_code).phrase.lower().replace(" ", "_")
        return _answer(error.status_code, code, str(error.detail), headers=dict(error.headers or {}))


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
    return ServeError(400, code, f"{where}: {first['msg']}. Correct the request.", where)


def _place(location: Sequence[int | str]) -> str:
    """Write where in a request something is, such as `columns[2].kind`."""
    parts = [part for part in location if part not in ("body", "query", "path")] or list(location)
    return "".join(f"[{part}]" if isinstance(part, int) else f".{part}" for part in parts).lstrip(".")


def _answer(
    status: int, code: str, message: str, where: str | None = None, headers: dict[str, str] | None = None
) -> Response:
    return JSONResponse(error_body(code, message, where), status, headers)

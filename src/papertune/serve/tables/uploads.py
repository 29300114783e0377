"""Receives a file while it streams in: its size is counted, not believed, and it is never in memory."""

import os
from contextlib import suppress
from io import FileIO
from pathlib import Path

from starlette.concurrency import run_in_threadpool
from starlette.requests import Request

from papertune.serve.errors import ServeError

# Of a file.
MAX_UPLOAD_BYTES = 512 * 1024 * 1024
# Bytes are written in pieces of at least this size: each piece is a change of threads.
_PIECE_BYTES = 1 << 20
# A client that is still sending does not read an answer, so a little more is read and thrown away.
_DRAINED = 4


async def receive(request: Request, path: Path, max_bytes: int) -> None:
    """Write the body of a request to a file.

    Raises:
        ServeError: 413 if it is larger than `max_bytes`, 400 if it is empty.
        OSError: If the disk is full.
        ClientDisconnect: If the client ends before.
    """
    received, piece, failure = 0, bytearray(), None
    with path.open("xb", buffering=0) as file:
        async for chunk in request.stream():
            received += len(chunk)
            if received > max_bytes * _DRAINED:
                break
            if failure or received > max_bytes:
                continue
            piece += chunk
            if len(piece) >= _PIECE_BYTES:
                failure = await run_in_threadpool(_write, file, bytes(piece))
                piece.clear()
        if not failure and received <= max_bytes:
            failure = await run_in_threadpool(_write, file, bytes(piece), last=True)
    if received > max_bytes:
        raise ServeError(
            413,
            "too_large",
            f"the file has more than {max_bytes / 2**20:,.0f} MB. Leave out columns or rows that are not needed, or "
            "compress it: Parquet takes a third of a CSV file.",
            limit_mb=round(max_bytes / 2**20),
        )
    if failure:
        raise failure
    if not received:
        raise ServeError(400, "empty", "the file is empty. Choose another one.")


def _write(file: FileIO, piece: bytes, *, last: bool = False) -> OSError | None:
    """Write a part of a file; after a failure, such as a full disk, return it and free the place."""
    try:
        _write_all(file, piece)
        if last:
            os.fsync(file.fileno())
    except OSError as error:
        with suppress(OSError):
            file.truncate(0)
        return error
    return None


def _write_all(file: FileIO, piece: bytes) -> None:
    while piece:
        piece = piece[file.write(piece) :]

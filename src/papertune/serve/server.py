"""Starting the server: a socket, the token, uvicorn."""

import errno
import secrets
import socket
from collections.abc import Callable
from pathlib import Path

import uvicorn

from papertune.errors import OutputError
from papertune.serve.app import create_app
from papertune.serve.workspace import open_workspace


def serve(work: Path, host: str, port: int, token: str | None, tell: Callable[[str], None]) -> None:
    """Serve a work folder until a signal ends it.

    Args:
        work: The work folder; it is made if it is missing.
        host: Address to listen at.
        port: Port to listen at; 0: any free one.
        token: The token; None: a new one.
        tell: Is given the address of the page as soon as it can be opened.

    Raises:
        OutputError: If the folder cannot be used or the port is not free.
    """
    workspace = open_workspace(work)
    token = token or secrets.token_urlsafe(24)
    listening = _listen(host, port)
    with listening:
        address, used_port = listening.getsockname()[:2]
        app = create_app(workspace, token)
        config = uvicorn.Config(app, log_level="warning", access_log=False, timeout_graceful_shutdown=1)
        shown = f"[{address}]" if ":" in address else address
        tell(f"http://{shown}:{used_port}/?token={token}")
        uvicorn.Server(config).run(sockets=[listening])


def _listen(host: str, port: int) -> socket.socket:
    try:
        family, _, _, _, address = socket.getaddrinfo(host, port, type=socket.SOCK_STREAM)[0]
        listening = socket.socket(family, socket.SOCK_STREAM)
        listening.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        listening.bind(address)
    except OSError as error:
        if error.errno == errno.EADDRINUSE:
            raise OutputError(f"port {port} is in use. Choose another one, or --port 0 for any free one.") from None
        raise OutputError(
            f"{host}:{port} cannot be served: {error.strerror or error}. Choose --host or --port."
        ) from None
    return listening

"""Starting and ending the server: the work folder and its lock, the run, the socket, uvicorn."""

import errno
import os
import re
import socket
import threading
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from types import FrameType

import uvicorn
from filelock import FileLock, Timeout

from papertune.errors import OutputError, RunError
from papertune.files import write_atomically
from papertune.run_directory import RunDirectory
from papertune.serve.app import create_app
from papertune.serve.security.hosts import is_loopback
from papertune.serve.security.keys import open_keys
from papertune.serve.workspace import Workspace, is_name, open_workspace

# After a signal: what answers still gets, then the rest of the server (threads that read a table, a model).
_ANSWERS_SECONDS = 1
_END_SECONDS = 3.0


def serve(work: Path, run: Path | None, host: str, port: int, token: str | None, tell: Callable[[str], None]) -> None:
    """Serve a work folder until a signal ends it.

    Args:
        work: The work folder; it is made if it is missing.
        run: The run that the page opens with: a run directory, or the name of one in the work folder.
        host: Address or name to listen at.
        port: Port to listen at; 0: any free one.
        token: The token; None: a new one.
        tell: Is given the address of the page as soon as it can be opened.

    Raises:
        OutputError: If the folder cannot be used, another server has it, the port is not free, or others could reach
            the server without a token that somebody has chosen.
        RunError: If there is no such run.
    """
    if token is None and not is_loopback(host):
        raise OutputError(
            f"at {host} other machines can reach the server, so it needs a token that you choose: --token, or the "
            "variable PAPERTUNE_TOKEN. Without --host, only this machine can reach it."
        )
    workspace = open_workspace(work)
    with _locked(workspace), _listening(host, port) as listening:
        keys = open_keys(workspace.root, token)
        if run is not None:
            workspace = Workspace(workspace.root, name_of_run(workspace, run))
        used_port = listening.getsockname()[1]
        address = _address(host, used_port)
        write_atomically(workspace.root / "address", address)
        app = create_app(workspace, keys, host=host, port=used_port)
        config = uvicorn.Config(
            app, log_level="warning", access_log=False, timeout_graceful_shutdown=_ANSWERS_SECONDS, server_header=False
        )
        tell(f"{address}?token={keys.token}" if token is None else address)
        _Server(config).run(sockets=[listening])


def name_of_run(workspace: Workspace, run: Path) -> str:
    """Return the name of a run in a work folder; a run elsewhere is linked there.

    Raises:
        RunError: If there is no such run.
        OutputError: If it cannot be linked.
    """
    if not run.exists() and is_name(str(run)) and (workspace.runs / run).is_dir():
        run = workspace.runs / run
    if not RunDirectory(run).is_complete:
        raise RunError(f"{run} is not a run: it has no run.json. Name the output folder of papertune train.")
    target = run.resolve()
    for known in sorted(workspace.runs.iterdir()):
        if known.resolve() == target:
            return known.name
    wanted = re.sub(r"[^A-Za-z0-9._-]+", "-", target.name).lstrip(".")[:60] or "run"
    names = (wanted, *(f"{wanted}-{number}" for number in range(2, 1000)))
    name = next(name for name in names if not os.path.lexists(workspace.runs / name))
    try:
        (workspace.runs / name).symlink_to(target, target_is_directory=True)
    except OSError as error:
        raise OutputError(
            f"{run} cannot be linked into {workspace.runs}: {error.strerror or error}. Copy it there."
        ) from None
    return name


class _Server(uvicorn.Server):
    """Ends in time after a signal even where a thread is in the middle of something: nothing is lost by that."""

    def handle_exit(self, sig: int, frame: FrameType | None) -> None:
        """Begin to end."""
        if not self.should_exit:
            end = threading.Timer(_END_SECONDS, os._exit, (0,))
            end.daemon = True
            end.start()
        super().handle_exit(sig, frame)


@contextmanager
def _locked(workspace: Workspace) -> Iterator[None]:
    lock = FileLock(workspace.root / "lock")
    try:
        lock.acquire(timeout=0)
    except Timeout:
        address = workspace.root / "address"
        where = f" at {address.read_text('utf-8')}" if address.exists() else ""
        raise OutputError(
            f"{workspace.root} is served already{where}. Open that page, end that server, or choose another folder "
            "with --work."
        ) from None
    except OSError as error:
        raise OutputError(f"{workspace.root} cannot be locked: {error.strerror or error}. Choose another.") from None
    try:
        yield
    finally:
        lock.release()


@contextmanager
def _listening(host: str, port: int) -> Iterator[socket.socket]:
    try:
        family, _, _, _, address = socket.getaddrinfo(host, port, type=socket.SOCK_STREAM, flags=socket.AI_PASSIVE)[0]
        # With the protocol named, asyncio switches off Nagle's algorithm, which delays each answer by 40 ms.
        listening = socket.socket(family, socket.SOCK_STREAM, socket.IPPROTO_TCP)
    except OSError as error:
        raise OutputError(f"{host} is no address of this machine: {error.strerror or error}. Correct --host.") from None
    with listening:
        listening.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        try:
            listening.bind(address)
        except OSError as error:
            if error.errno == errno.EADDRINUSE:
                raise OutputError(f"port {port} is in use. Choose another one: --port, or --port 0 for any.") from None
            if error.errno == errno.EACCES:
                raise OutputError(f"port {port} is for administrators. Choose one from 1024: --port.") from None
            raise OutputError(
                f"{host} is no address of this machine: {error.strerror or error}. Correct --host."
            ) from None
        listening.listen(2048)
        yield listening


def _address(host: str, port: int) -> str:
    return f"http://[{host}]:{port}/" if ":" in host else f"http://{host}:{port}/"

"""A server in this process, whose jobs and checks are forked from a process that has imported their modules.

A job in an interpreter of its own imports for 6 s of processor time; test_killed_server.py has some of these.
"""

import os
import socket
import subprocess
import sys
import threading
import time
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from multiprocessing.connection import Connection
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import uvicorn
from processes import FORKS, set_imports_aside

from papertune.serve.app import create_app
from papertune.serve.jobs import process as job_process
from papertune.serve.recipes import worker
from papertune.serve.security.keys import open_keys
from papertune.serve.workspace import open_workspace


class ForkedJob:
    """Replaces `subprocess.Popen` of a job, with what the server needs of it."""

    def __init__(
        self,
        command: Sequence[str],
        *,
        cwd: Path,
        env: dict[str, str],
        stdin: int,
        stdout: Any,
        stderr: Any,
        start_new_session: bool,
    ) -> None:
        arguments = command[len(job_process.PROGRAM) :]
        assert (*job_process.PROGRAM, *arguments) == tuple(command)
        assert stdin == subprocess.DEVNULL
        assert start_new_session
        ends = [Connection(os.dup(file.fileno())) for file in (stdout, stderr)]
        self._process = FORKS.Process(target=_run_job, args=(list(arguments), cwd, env, *ends))
        self._process.start()
        for end in ends:
            end.close()

    @property
    def returncode(self) -> int | None:
        """The exit code; None: it has not ended."""
        return self._process.exitcode

    def poll(self) -> int | None:
        """Return the exit code; None: it has not ended."""
        return self._process.exitcode

    def terminate(self) -> None:
        """Send SIGTERM."""
        self._process.terminate()


def _run_job(arguments: list[str], folder: Path, env: dict[str, str], *ends: Connection) -> None:
    set_imports_aside()
    os.setsid()
    os.chdir(folder)
    os.environ.clear()
    os.environ.update(env)
    for number, end in enumerate(ends, start=1):
        os.dup2(end.fileno(), number)
        end.close()
    from papertune.cli import main

    sys.argv = ["papertune", *arguments]
    main()


@contextmanager
def forking() -> Iterator[None]:
    """Fork the jobs and checks of servers of this process."""
    jobs: list[ForkedJob] = []

    def start(*arguments: Any, **options: Any) -> ForkedJob:
        jobs.append(ForkedJob(*arguments, **options))
        return jobs[-1]

    before = job_process.subprocess, worker.get_context
    job_process.subprocess = SimpleNamespace(**{**vars(subprocess), "Popen": start})  # type: ignore[assignment]
    worker.get_context = lambda _: FORKS  # type: ignore[assignment]
    try:
        yield
    finally:
        job_process.subprocess, worker.get_context = before
        for job in jobs:
            job._process.kill()
            job._process.join()


@contextmanager
def serving(work: Path) -> Iterator[str]:
    """Serve a work folder at a free port; yield the address with the token."""
    workspace = open_workspace(work)
    keys = open_keys(workspace.root, None)
    # With the protocol named, asyncio switches off Nagle's algorithm, which delays each answer by 40 ms.
    with socket.socket(socket.AF_INET, socket.SOCK_STREAM, socket.IPPROTO_TCP) as listening:
        listening.bind(("127.0.0.1", 0))
        port = listening.getsockname()[1]
        app = create_app(workspace, keys, port=port)
        server = uvicorn.Server(uvicorn.Config(app, log_level="warning", timeout_graceful_shutdown=1))
        thread = threading.Thread(target=server.run, args=([listening],))
        thread.start()
        try:
            while not server.started:
                assert thread.is_alive()
                time.sleep(0.01)
            yield f"http://127.0.0.1:{port}/?token={keys.token}"
        finally:
            server.should_exit = True
            thread.join()

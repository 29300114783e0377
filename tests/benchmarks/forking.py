"""Systems of the benchmarks, forked from a process that has already imported their modules."""

import os
import runpy
import subprocess
import sys
from collections.abc import Sequence
from multiprocessing.connection import Connection
from typing import Any

from processes import FORKS, set_imports_aside


class Forked:
    """Replaces `subprocess.Popen` of `python -m MODULE`, with what `contest` needs."""

    def __init__(
        self,
        command: Sequence[str],
        *,
        stdin: int,
        stdout: int,
        stderr: Any,
        text: bool,
        env: dict[str, str],
        start_new_session: bool,
    ) -> None:
        python, option, module = command
        assert (python, option, stdin, stdout) == (sys.executable, "-m", subprocess.PIPE, subprocess.PIPE)
        assert text
        assert start_new_session
        read_end, own_write_end = FORKS.Pipe(duplex=False)
        own_read_end, write_end = FORKS.Pipe(duplex=False)
        errors = Connection(os.dup(stderr.fileno()))
        self._process = FORKS.Process(target=_run_module, args=(module, env, read_end, write_end, errors))
        self._process.start()
        assert self._process.pid is not None
        self.pid = self._process.pid
        self.stdin = os.fdopen(os.dup(own_write_end.fileno()), "w")
        self.stdout = os.fdopen(os.dup(own_read_end.fileno()))
        for end in (read_end, own_write_end, own_read_end, write_end, errors):
            end.close()

    def wait(self, timeout: float | None = None) -> int:
        """Wait for the process and return its exit code."""
        self._process.join(timeout)
        if self._process.exitcode is None:
            assert timeout is not None
            raise subprocess.TimeoutExpired([], timeout)
        return self._process.exitcode


def _run_module(module: str, env: dict[str, str], *ends: Connection) -> None:
    set_imports_aside()
    os.setsid()
    for number, end in enumerate(ends):
        os.dup2(end.fileno(), number)
        end.close()
    sys.stdin = os.fdopen(0)
    os.environ.clear()
    os.environ.update(env)
    sys.path.insert(0, env["PYTHONPATH"])
    runpy.run_module(module, run_name="__main__", alter_sys=True)

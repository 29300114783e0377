"""Processes of jobs: started so that they outlive the server, and found again by pid and start time."""

import os
import signal
import subprocess
import sys
from collections.abc import Sequence
from pathlib import Path
from typing import Any

from papertune.event_file import VARIABLE, began
from papertune.serve.jobs.job import ERRORS, EVENTS, PRINTED

# -P: modules are not looked for in the work folder, into which anybody may put files.
PROGRAM = (sys.executable, "-P", "-m", "papertune")
# What a command must not inherit: it is the server's.
_SECRETS = ("PAPERTUNE_TOKEN",)


def start_process(arguments: Sequence[str], folder: Path, work: Path) -> "subprocess.Popen[bytes]":
    """Start a command in a session of its own, so that signals of the server's terminal do not reach it.

    Args:
        arguments: Arguments of `papertune`.
        folder: The folder of the job.
        work: The work folder, in which the command runs.

    Raises:
        OSError: If it cannot be started.
    """
    surroundings = {name: value for name, value in os.environ.items() if name not in _SECRETS}
    with (folder / PRINTED).open("wb") as printed, (folder / ERRORS).open("ab") as errors:
        return subprocess.Popen(
            [*PROGRAM, *arguments],
            cwd=work,
            env={**surroundings, VARIABLE: str(folder / EVENTS)},
            stdin=subprocess.DEVNULL,
            stdout=printed,
            stderr=errors,
            start_new_session=True,
        )


def is_alive(start: dict[str, Any]) -> bool:
    """Whether the process that has written a start event still runs; another one with its id does not count."""
    pid, then = start.get("pid"), start.get("began")
    return isinstance(pid, int) and then is not None and began(pid) == then


def terminate(start: dict[str, Any]) -> None:
    """Send SIGTERM to the process that has written a start event, if it still runs."""
    if is_alive(start):
        try:
            os.kill(start["pid"], signal.SIGTERM)
        except ProcessLookupError:  # it has just ended
            return

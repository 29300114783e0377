"""Computes in a process of its own what takes long, so that decisions are stored without delay meanwhile."""

import json
import os
import shutil
import subprocess
import sys
import tempfile
from collections.abc import Callable, Iterable, Iterator, Sequence
from contextlib import contextmanager, suppress
from pathlib import Path

from papertune.errors import ScreeningError

_DOCUMENTS = "documents.jsonl"
_ERRORS = "errors.txt"
# Niceness of the processes: they have time, a reader has not.
_NICENESS = 10
_POLL_S = 0.2


class Stopped(Exception):
    """The screening was closed while something was computed."""


@contextmanager
def given_folder(cache: Path, documents: Sequence[str]) -> Iterator[Path]:
    """Make a folder in the cache for what a process is given, and remove it afterwards."""
    cache.mkdir(exist_ok=True)
    folder = Path(tempfile.mkdtemp(prefix="given-", dir=cache))
    try:
        with (folder / _DOCUMENTS).open("wb") as file:
            file.writelines(document_lines(documents))
        yield folder
    finally:
        shutil.rmtree(folder, ignore_errors=True)


def document_lines(documents: Iterable[str]) -> Iterator[bytes]:
    """Yield each document as a line of JSON.

    One call for all of them would hold the interpreter's lock for 0.2 s with 20,000, and nobody could save a decision.
    """
    for document in documents:
        yield json.dumps(document).encode() + b"\n"


def remove_left_folders(cache: Path) -> None:
    """Remove what a kill has left of such folders; nothing may be computed for the screening meanwhile."""
    for folder in cache.glob("given-*/"):
        shutil.rmtree(folder, ignore_errors=True)


def given_documents(folder: Path) -> list[str]:
    """Return the documents that a process is given."""
    with (folder / _DOCUMENTS).open("rb") as file:
        return [str(json.loads(line)) for line in file]


def run_apart(
    module: str,
    given: Path,
    arguments: Sequence[str],
    stopped: Callable[[], bool],
    look: Callable[[], object] = lambda: None,
) -> None:
    """Run a module as a process and wait for its end.

    Args:
        module: Its name; its arguments are the folder, the number of this process, and the others.
        given: The folder.
        arguments: The other arguments.
        stopped: Whether nobody wants the result any more; the process is then killed.
        look: Is called now and then.

    Raises:
        Stopped: If `stopped` has become true.
        ScreeningError: If the process fails.
    """
    command = [sys.executable, "-m", module, str(given), str(os.getpid()), *arguments]
    with (
        (given / _ERRORS).open("wb") as errors,
        subprocess.Popen(command, stdin=subprocess.DEVNULL, stdout=subprocess.DEVNULL, stderr=errors) as process,
    ):
        while process.poll() is None:
            with suppress(subprocess.TimeoutExpired):
                process.wait(_POLL_S)
            look()
            if process.returncode is None and stopped():
                process.kill()
                process.wait()
                raise Stopped
    if process.returncode:
        last = (given / _ERRORS).read_text(errors="replace").strip().rpartition("\n")[2]
        raise ScreeningError(
            f"the ranking could not be computed: {last or f'the process ended with {process.returncode}'}. Make room "
            "on the disk and in memory, then open the screening again."
        )


def yield_to_readers() -> None:
    """Lower the priority of this process, where the system can."""
    if hasattr(os, "nice"):
        os.nice(_NICENESS)


def run_when_idle() -> None:
    """Let this process run only where a core has nothing else to do, where the system can; else as `yield_to_readers`.

    A process of lower priority still ends its turn of some milliseconds before one that wakes up gets the core, and a
    request wakes several one after the other. For what others wait for this would not do: beside a training it stops.
    """
    if hasattr(os, "SCHED_IDLE"):
        with suppress(OSError):
            os.sched_setscheduler(0, os.SCHED_IDLE, os.sched_param(0))
            return
    yield_to_readers()

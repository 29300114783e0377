"""Parses an uploaded file in a process with limits of memory and time."""

import errno
import logging
import os
import signal
import subprocess
import sys
import threading
from pathlib import Path

from papertune.errors import OutputError, TableError, visible

# At most this many files are parsed at once; each may take as much memory as is said below.
_AT_ONCE = threading.BoundedSemaphore(2)
# Of addresses, of which Python, polars and its threads reserve 1 GB. Tables take up to ten times the memory of their
# file (tests/fuzz), compressed ones more.
_BASE_BYTES = 3_000_000_000
_BYTES_PER_BYTE = 20
_MODULE = "papertune.serve.tables.parsing"
# Of processor time: a busy machine is no fault of the file. The wait has an end as well.
_BASE_SECONDS = 20
_BYTES_PER_SECOND = 1_000_000
_WAIT = 10
_SHOWN_CHARACTERS = 4000
_REASON_CHARACTERS = 200

_LOG = logging.getLogger(__name__)


def parse_limited(path: Path, folder: Path, name: str) -> None:
    """Do what `parsing.parse` does, within limits.

    Args:
        path: The file; its suffix is the format.
        folder: Where the cells go.
        name: What messages call the file.

    Raises:
        TableError: If it is no table, or reading it takes too much memory or time.
        OutputError: If the disk is full.
    """
    size = path.stat().st_size
    memory = _BASE_BYTES + _BYTES_PER_BYTE * size
    seconds = _BASE_SECONDS + size // _BYTES_PER_SECOND
    command = [sys.executable, "-m", _MODULE, str(memory), str(seconds), str(path), str(folder)]
    environment = {**os.environ, "POLARS_MAX_THREADS": "2"}
    with _AT_ONCE, subprocess.Popen(
        command, stdin=subprocess.DEVNULL, stdout=subprocess.PIPE, stderr=subprocess.PIPE, env=environment
    ) as process:  # fmt: skip
        try:
            output, errors = process.communicate(timeout=seconds * _WAIT)
        except subprocess.TimeoutExpired:
            process.kill()
            raise _too_long(name) from None
    if process.returncode == 2 and output:
        raise TableError(output.decode(errors="replace").replace(str(path), name))
    if process.returncode:
        _explain(process.returncode, errors.decode(errors="replace"), name, memory)


def _too_long(name: str) -> TableError:
    return TableError(f"{name} takes too long to read. It is damaged, or not a table. Export it again.")


def _explain(code: int, errors: str, name: str, memory: int) -> None:
    if "No space left on device" in errors or "os error 28" in errors:
        raise OutputError(
            f"{name} was not stored: the disk of the server is full. Make room, then upload it again."
        ) from OSError(errno.ENOSPC, os.strerror(errno.ENOSPC))
    if code == -getattr(signal, "SIGXCPU", 0):
        raise _too_long(name)
    out_of_memory = ("MemoryError", "memory allocation", "Cannot allocate memory", "os error 12", "bad_alloc")
    if code in (-signal.SIGKILL, -signal.SIGABRT, -signal.SIGSEGV) or any(word in errors for word in out_of_memory):
        raise TableError(
            f"{name} takes more than {memory / 1e9:.1f} GB of memory to read. It is damaged, or not a table. Split it, "
            "or export it again."
        )
    _LOG.error("reading %s ended with %d: %s", name, code, errors[-_SHOWN_CHARACTERS:])
    reason = visible(errors.strip().rpartition("\n")[2][:_REASON_CHARACTERS])
    raise TableError(f"{name} cannot be read ({reason or code}). Export it again, or in another format.")

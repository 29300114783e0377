"""Parses an uploaded file in a process with limits of memory and time."""

import os
import signal
import subprocess
import sys
import threading
from pathlib import Path

from papertune.errors import OutputError, TableError

# At most this many files are parsed at once; each may take as much memory as is said below.
_AT_ONCE = threading.BoundedSemaphore(2)
# Tables take up to ten times the memory of their file (tests/fuzz); the rest is Python, polars and its threads.
_BASE_BYTES = 1_500_000_000
_BYTES_PER_BYTE = 12
_BASE_SECONDS = 20.0
_BYTES_PER_SECOND = 1_000_000
_SHOWN_BYTES = 4000


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
    command = [sys.executable, "-m", "papertune.serve.tables.parsing", str(path), str(folder)]
    environment = {**os.environ, "POLARS_MAX_THREADS": "2"}
    with _AT_ONCE, subprocess.Popen(
        [sys.executable, "-c", _LIMITED, str(memory), *command],
        stdin=subprocess.DEVNULL, stdout=subprocess.PIPE, stderr=subprocess.PIPE, env=environment,
    ) as process:  # fmt: skip
        try:
            output, errors = process.communicate(timeout=_BASE_SECONDS + size / _BYTES_PER_SECOND)
        except subprocess.TimeoutExpired:
            process.kill()
            raise TableError(
                f"{name} takes too long to read. It is damaged, or not a table. Export it again."
            ) from None
    if process.returncode == 2 and output:
        raise TableError(output.decode(errors="replace").replace(str(path), name))
    if process.returncode:
        _explain(process.returncode, errors.decode(errors="replace"), name, memory)


def _explain(code: int, errors: str, name: str, memory: int) -> None:
    if "No space left on device" in errors or "os error 28" in errors:
        raise OutputError(f"{name} was not stored: the disk of the server is full. Make room, then upload it again.")
    out_of_memory = ("MemoryError", "memory allocation", "Cannot allocate memory", "os error 12", "bad_alloc")
    if code in (-signal.SIGKILL, -signal.SIGABRT, -signal.SIGSEGV) or any(word in errors for word in out_of_memory):
        raise TableError(
            f"{name} takes more than {memory / 1e9:.1f} GB of memory to read. It is damaged, or not a table. Split it, "
            "or export it again."
        )
    raise RuntimeError(f"reading {name} ended with {code}: {errors[-_SHOWN_BYTES:]}")


# `preexec_fn` is not safe beside threads, so the limit is set by a small program that then becomes the parser.
_LIMITED = """
import os, sys
try:
    import resource
    resource.setrlimit(resource.RLIMIT_AS, (int(sys.argv[1]),) * 2)
except ImportError:
    pass
os.execv(sys.argv[2], sys.argv[2:])
"""

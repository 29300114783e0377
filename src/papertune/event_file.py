"""What a command reports, as JSON lines in a file that another program follows.

The environment variable PAPERTUNE_EVENTS names the file; commands append to it. Each line has "event" and "time" (in
seconds since 1970):

    {"event": "start", "pid": 4711, "began": "..."}        once per process; see `began`
    {"event": "message", "level": "note", "text": "..."}    or "warning", "error"; some have "code" and "params"
    {"event": "progress", "phase": "training", "done": 3, "total": 24, "rate": 1.5, "left": 14.0}   or "rows"
    {"event": "loss", "step": 3, "loss": 1.25}              loss of a training
    {"event": "dev", "step": 3, "score": 0.5, "name": "score"}   a score of dev rows; "score" chooses the checkpoint
    {"event": "end", "exit": 0}                             missing after a kill

A training that is resumed repeats the steps after its checkpoint; the later line of a step counts.
"""

import json
import math
import os
import subprocess
import threading
import time
import warnings
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from pathlib import Path
from typing import Any, Literal

from papertune.errors import PapertuneWarning, coded
from papertune.events import SILENT, Listener, Progress

VARIABLE = "PAPERTUNE_EVENTS"
# Seconds between two lines of progress.
PROGRESS_EVERY_S = 0.5
# Lines for which the disk has no room wait for it, up to this number of bytes.
MAX_WAITING_BYTES = 1_000_000

_PROC = Path("/proc")

Level = Literal["note", "warning", "error"]


class EventFile:
    """A listener that appends what it hears to a file. A full disk never ends the command: lines wait for room.

    Args:
        path: The file; it is created if it is missing.
    """

    def __init__(self, path: Path) -> None:
        self._descriptor = os.open(path, os.O_WRONLY | os.O_CREAT | os.O_APPEND | getattr(os, "O_CLOEXEC", 0), 0o644)
        self._waiting = b""
        self._lock = threading.Lock()
        self._last_progress = (-PROGRESS_EVERY_S, "", 0)

    def message(self, text: str, level: Level = "note") -> None:
        """Write a message, with its code and values if it has some."""
        code, params = coded(text)
        with_code = {"code": code, "params": dict(params)} if code else {}
        self._write({"event": "message", "level": level, "text": text, **with_code})

    def progress(self, step: Progress) -> None:
        """Write how far the command has come, twice a second; the last step of a pass is always written."""
        since, phase, total = self._last_progress
        now = time.monotonic()
        is_same = (phase, total) == (step.stage, step.total)
        if step.done < step.total and is_same and now - since < PROGRESS_EVERY_S:
            return
        self._last_progress = (now, step.stage, step.total)
        self._write(
            {
                "event": "progress",
                "phase": step.stage,
                "done": step.done,
                "total": step.total,
                "rate": _finite(step.rows_per_s),
                "left": _finite(step.seconds_left),
            },
            waits=False,
        )

    def metrics(self, step: int, values: Mapping[str, float]) -> None:
        """Write the loss, or the dev scores, of a step."""
        if "loss" in values:
            self._write({"event": "loss", "step": step, "loss": _finite(values["loss"])})
        if "score" in values:
            for key, value in values.items():
                if key == "score" or key.startswith("eval_"):
                    name = key.removeprefix("eval_")
                    self._write({"event": "dev", "step": step, "score": _finite(value), "name": name})

    def start(self) -> None:
        """Write which process this is."""
        self._write({"event": "start", "pid": os.getpid(), "began": began(os.getpid())})

    def end(self, code: int) -> None:
        """Write the exit code of the process, which ends now, and close the file."""
        self._write({"event": "end", "exit": code})
        os.close(self._descriptor)

    def _write(self, event: Mapping[str, Any], *, waits: bool = True) -> None:
        """Append a line.

        Args:
            event: The line without its time.
            waits: Whether the line is kept for later if it cannot be written.
        """
        line = json.dumps({**event, "time": round(time.time(), 3)}).encode() + b"\n"
        with self._lock:
            before = len(self._waiting)
            content = self._waiting + line
            try:
                written = os.write(self._descriptor, content)
            except OSError:
                written = 0
            # The rest of a line that was begun is written before anything else.
            if written <= before and (not waits or len(content) > MAX_WAITING_BYTES):
                content = content[:before]
            self._waiting = content[written:]


_current: EventFile | None = None


def event_listener() -> Listener:
    """Return the listener of the file that PAPERTUNE_EVENTS names; without one it ignores everything."""
    return SILENT if _current is None else _current


def report_message(text: str, level: Level) -> None:
    """Write a message of this process to its event file, if it has one."""
    if _current is not None:
        _current.message(text, level)


@contextmanager
def reported_events() -> Iterator[None]:
    """Report the start and the end of this process, and what happens in between, to the file of PAPERTUNE_EVENTS.

    Of the processes that a launcher starts only the first one reports.
    """
    global _current
    path = os.environ.get(VARIABLE)
    if not path or int(os.environ.get("RANK") or 0) > 0:
        yield
        return
    try:
        _current = EventFile(Path(path))
    except OSError as error:
        warnings.warn(
            f"{VARIABLE}: {path} cannot be written: {error.strerror or error}. Nothing is reported there.",
            PapertuneWarning,
            stacklevel=3,
        )
        yield
        return
    _current.start()
    try:
        yield
    except SystemExit as ended:
        _current.end(ended.code if isinstance(ended.code, int) else int(ended.code is not None))
        raise
    except BaseException:
        _current.end(1)
        raise
    else:
        _current.end(0)
    finally:
        _current = None


def _finite(number: float) -> float | None:
    """Return a number as JSON can have it: None for infinity and NaN."""
    return number if math.isfinite(number) else None


def began(pid: int) -> str | None:
    """Return when a process began, in a form that no later process with the same id has.

    Args:
        pid: The id of the process.

    Returns:
        The boot of the machine and the clock ticks since then, or, where there is no /proc, what `ps` prints; None
        without such a process.
    """
    try:
        boot = (_PROC / "sys/kernel/random/boot_id").read_text("ascii").strip()
    except OSError:
        printed = subprocess.run(["ps", "-o", "lstart=", "-p", str(pid)], capture_output=True, text=True, check=False)
        return printed.stdout.strip() or None
    try:
        # The name of the program stands in parentheses and may hold any bytes.
        fields = (_PROC / str(pid) / "stat").read_bytes().rpartition(b")")[2].split()
    except OSError:
        return None
    is_dead = fields[0] in (b"Z", b"X")
    return None if is_dead else f"{boot} {fields[19].decode()}"

"""Progress of something long: a bar on a terminal, a plain line now and then in a log file."""

import sys
import time
from collections.abc import Callable
from types import TracebackType
from typing import Any

# Seconds between two lines in a log file.
LOG_EVERY_S = 30.0


class ProgressDisplay:
    """Shows progress on standard error. Use it as a context manager.

    Args:
        what: One or two words.
        quiet: Show nothing.
    """

    def __init__(self, what: str, *, quiet: bool = False) -> None:
        self._what = what
        self._quiet = quiet
        self._bar: Any = None
        self._task: Any = None
        self._begun = time.monotonic()
        self._told = -LOG_EVERY_S

    def __enter__(self) -> "ProgressDisplay":
        """Open the bar, on a terminal."""
        if not self._quiet and sys.stderr.isatty():
            from rich.console import Console
            from rich.progress import BarColumn, Progress, TextColumn

            self._bar = Progress(
                TextColumn("{task.description}"),
                BarColumn(),
                TextColumn("{task.completed:.0f}/{task.total:.0f}  {task.fields[note]}"),
                console=Console(stderr=True),
                transient=False,
            )
            self._bar.start()
        return self

    def __exit__(self, *_: type[BaseException] | BaseException | TracebackType | None) -> None:
        """Close the bar."""
        if self._bar is not None:
            self._bar.stop()

    def update(self, done: float, total: float, note: str, left_s: float, *, what: str | None = None) -> None:
        """Tell how much is done, a few words beside it, how many seconds are left, and of what if not the usual."""
        if self._quiet:
            return
        what = what or self._what
        note = f"{note}, {duration(left_s)} left"
        if self._bar is not None:
            if self._task is None:
                self._task = self._bar.add_task(what, total=total, note=note)
            self._bar.update(self._task, description=what, completed=done, total=total, note=note)
            return
        now = time.monotonic() - self._begun
        if done >= total or now - self._told >= LOG_EVERY_S:
            self._told = now
            print(f"{what}: {done:.0f}/{total:.0f}  {note}", file=sys.stderr, flush=True)


class Ticks:
    """Shows progress of one prediction after the other, and says after the first batch of each how long it will take.

    Args:
        display: Shows it.
        tell: Told how long; None: the display is enough.
        what: What is shown to go on; None: what the display is about.
    """

    def __init__(
        self, display: ProgressDisplay, tell: Callable[[str], None] | None = None, what: str | None = None
    ) -> None:
        self._display, self._tell, self._what = display, tell, what
        self._done, self._rows = 0, 0

    def __call__(self, done: int, rows: int, rate: float, left: float) -> None:
        """Tell how many rows of a prediction are done, at how many a second, and how many seconds are left."""
        # Another one has begun if it is of other rows, or the last one was done or further.
        if self._tell is not None and (rows != self._rows or done <= self._done or self._done == rows):
            self._tell(f"about {duration(left)} to go for {rows:,} rows")
        self._done, self._rows = done, rows
        self._display.update(done, rows, f"{rate:.2f} rows/s", left, what=self._what)


def duration(seconds: float) -> str:
    """Write a time span as people say it."""
    if seconds < 60:
        return f"{seconds:.0f} s"
    minutes = round(seconds / 60)
    return f"{minutes} min" if minutes < 60 else f"{minutes // 60} h {minutes % 60:02d} min"

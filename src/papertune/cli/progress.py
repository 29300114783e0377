"""What a command prints while it works: a bar on a terminal, a plain line now and then in a log file."""

import sys
import time
from collections.abc import Mapping
from types import TracebackType
from typing import Any

import typer

from papertune.event_file import event_listener
from papertune.events import Progress

# Seconds between two lines in a log file.
LOG_EVERY_S = 30.0


class TerminalListener:
    """Prints messages and progress to standard error, and passes them to the event file. Use it as a context manager.

    Args:
        title: One or two words for the operation.
        rows_title: The same for passes of rows within the operation. None: they are the operation itself, and the first
            batch of each is followed by an estimate of the time it takes.
        quiet: Print nothing.
    """

    def __init__(self, title: str, *, rows_title: str | None = None, quiet: bool = False) -> None:
        self._title = title
        self._rows_title = rows_title
        self._quiet = quiet
        self._bar: Any = None
        self._task: Any = None
        self._begun = time.monotonic()
        self._last_line = -LOG_EVERY_S
        self._rows_done, self._rows = 0, 0

    def __enter__(self) -> "TerminalListener":
        """Open the bar, on a terminal."""
        if not self._quiet and sys.stderr.isatty():
            from rich.console import Console
            from rich.progress import BarColumn, TextColumn
            from rich.progress import Progress as Bar

            self._bar = Bar(
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

    def message(self, text: str) -> None:
        """Print a line."""
        event_listener().message(text)
        if not self._quiet:
            typer.echo(text, err=True)

    def progress(self, step: Progress) -> None:
        """Move the bar, or print a line if the last one is old enough."""
        event_listener().progress(step)
        title = self._title
        if step.stage == "rows":
            title = self._rows_title or title
            # A pass is new if it is of other rows, or the last one was complete or further.
            is_new = step.total != self._rows or step.done <= self._rows_done or self._rows_done == self._rows
            if self._rows_title is None and is_new:
                self.message(f"about {duration(step.seconds_left)} to go for {step.total:,} rows")
            self._rows_done, self._rows = step.done, step.total
        if self._quiet:
            return
        loss = "" if step.loss is None else f"loss {step.loss:.3f}, "
        loss += "".join(f"{name} {value:.3f}, " for name, value in step.numbers.items())
        note = f"{loss}{step.rows_per_s:.2f} rows/s, {duration(step.seconds_left)} left"
        if self._bar is not None:
            if self._task is None:
                self._task = self._bar.add_task(title, total=step.total, note=note)
            self._bar.update(self._task, description=title, completed=step.done, total=step.total, note=note)
            return
        now = time.monotonic() - self._begun
        if step.done >= step.total or now - self._last_line >= LOG_EVERY_S:
            self._last_line = now
            print(f"{title}: {step.done}/{step.total}  {note}", file=sys.stderr, flush=True)

    def metrics(self, step: int, values: Mapping[str, float]) -> None:
        """Print nothing: the progress shows the loss."""
        event_listener().metrics(step, values)


def duration(seconds: float) -> str:
    """Return a time span in words."""
    if seconds < 60:
        return f"{seconds:.0f} s"
    minutes = round(seconds / 60)
    return f"{minutes} min" if minutes < 60 else f"{minutes // 60} h {minutes % 60:02d} min"

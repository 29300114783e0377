"""events.jsonl: the only truth of a screening. What `append` has returned from survives a kill and a power cut."""

import os
from collections.abc import Sequence
from contextlib import suppress
from pathlib import Path

from papertune.errors import OutputError, ScreeningError
from papertune.screening.events import Event, event_line, read_event


class EventLog:
    """The events of a screening, oldest first. One process at a time may have it open (`Project` holds the lock).

    A last line without its line end is what a kill left of an event that nobody was told about; it is cut off.

    Args:
        path: The file; it is created if it is missing.

    Attributes:
        events: All events as they stand in the file; an id may come twice, then the first one counts.

    Raises:
        ScreeningError: If a complete line is no event.
        OutputError: If the file cannot be opened.
    """

    def __init__(self, path: Path) -> None:
        self.path = path
        try:
            self.events, self._size, size = _read_file(path)
            self._descriptor = os.open(
                path, os.O_WRONLY | os.O_CREAT | os.O_APPEND | getattr(os, "O_CLOEXEC", 0), 0o644
            )
            if self._size < size:
                os.ftruncate(self._descriptor, self._size)
                os.fsync(self._descriptor)
        except OSError as error:
            raise OutputError(f"{path} cannot be opened: {error.strerror or error}. Check its permissions.") from None

    def append(self, events: Sequence[Event]) -> None:
        """Write events and wait until they are on disk.

        Raises:
            OutputError: If they cannot be written; none of them is then in the file, and the next call may succeed.
        """
        content = b"".join(map(event_line, events))
        try:
            if os.fstat(self._descriptor).st_size != self._size:
                os.ftruncate(self._descriptor, self._size)  # what an earlier failure has left
            written = 0
            while written < len(content):
                written += os.write(self._descriptor, content[written:])
            os.fsync(self._descriptor)
        except OSError as error:
            with suppress(OSError):
                os.ftruncate(self._descriptor, self._size)
            raise OutputError(
                f"{self.path}: the decision was not saved: {error.strerror or error}. Make room, or check the disk, "
                "then decide again; nothing that was saved before is lost."
            ) from error
        self._size += len(content)
        self.events += events

    def close(self) -> None:
        """Close the file; what is appended later is an error."""
        os.close(self._descriptor)
        self._descriptor = -1


def read_events(path: Path) -> list[Event]:
    """Return the events of a file that another process, or another part of this one, may be writing.

    Raises:
        ScreeningError: If a complete line is no event.
        OutputError: If the file cannot be read.
    """
    try:
        return _read_file(path)[0]
    except OSError as error:
        raise OutputError(f"{path} cannot be read: {error.strerror or error}. Check its permissions.") from None


def _read_file(path: Path) -> tuple[list[Event], int, int]:
    """Return the events, the length of their lines, and that of the file, in bytes."""
    content = path.read_bytes() if path.exists() else b""
    whole = content[: content.rfind(b"\n") + 1]
    lines = whole.split(b"\n")[:-1]
    return [_read(line, path, number) for number, line in enumerate(lines, start=1)], len(whole), len(content)


def _read(line: bytes, path: Path, number: int) -> Event:
    try:
        return read_event(line)
    except ScreeningError as error:
        raise ScreeningError(
            f"{path}, line {number} is not an event ({str(error).partition('. Send')[0]}). The file was damaged or "
            "comes from a newer papertune: copy it from a backup, or update papertune."
        ) from None

"""events.jsonl: the only truth of a screening."""

from pathlib import Path

from papertune.appending import AppendedLines
from papertune.screening.events import Event, event_line, read_event


class EventLog(AppendedLines[Event]):
    """The events of a screening, oldest first; `Project` holds the lock.

    An id may come twice in `entries`, then the first one counts.
    """

    def __init__(self, path: Path) -> None:
        super().__init__(path, read_event, event_line, "decision")


def read_events(path: Path) -> list[Event]:
    """Return the events of a file that may be open elsewhere; one that is being written is left out.

    Raises:
        ScreeningError: If a complete line is no event.
    """
    return [read_event(line) for line in path.read_bytes().split(b"\n")[:-1]] if path.exists() else []

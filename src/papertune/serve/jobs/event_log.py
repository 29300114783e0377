"""Reading events.jsonl of a job while a command appends to it."""

import json
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from papertune.errors import Sentence


@dataclass(frozen=True)
class Reported:
    """A line of events.jsonl.

    Attributes:
        end: Bytes of the file up to the end of the line.
        event: What the line says; `event["event"]` is its kind.
    """

    end: int
    event: dict[str, Any]


def read_events(path: Path, since: int = 0) -> list[Reported]:
    """Return the complete lines from a place on; lines that are no event are left out.

    Args:
        path: The file; without it there are none.
        since: Bytes to leave out.
    """
    try:
        with path.open("rb") as file:
            file.seek(since)
            content = file.read()
    except FileNotFoundError:
        return []
    found = []
    for line in content[: content.rfind(b"\n") + 1].splitlines(keepends=True):
        since += len(line)
        try:
            event = json.loads(line, parse_constant=lambda _: None)  # NaN is no JSON for a browser
        except ValueError:
            continue
        if isinstance(event, dict) and isinstance(event.get("event"), str):
            found.append(Reported(since, event))
    return found


def without_repeats(events: Sequence[Reported]) -> list[Reported]:
    """Return the events without those that a later one replaces.

    A resumed training repeats steps, whose later loss and score count; of the progress only the last line does.
    """
    last = {_subject(each): each.end for each in events}
    return [each for each in events if last[_subject(each)] == each.end]


def _subject(reported: Reported) -> object:
    event = reported.event
    match event["event"]:
        case "loss":
            return "loss", event.get("step")
        case "dev":
            return "dev", event.get("step"), event.get("name")
        case "progress":
            return "progress"
        case _:
            return reported.end


def last_of(events: Sequence[Reported], kind: str) -> dict[str, Any] | None:
    """Return the last event of a kind; None if there is none."""
    return next((each.event for each in reversed(events) if each.event["event"] == kind), None)


def last_error(events: Sequence[Reported]) -> Sentence | None:
    """Return the text of the last error, with its code and values if it has some; None without one."""
    errors = [each.event for each in events if each.event.get("level") == "error"]
    if not errors:
        return None
    code, params = errors[-1].get("code"), errors[-1].get("params")
    known = code if isinstance(code, str) else ""
    given = params if isinstance(params, dict) else {}
    values = {name: value for name, value in given.items() if isinstance(value, str | int | float)}
    return Sentence(str(errors[-1].get("text")), known, **values)

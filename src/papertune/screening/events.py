"""What can happen in a screening: one frozen model for each kind of event, and its line in events.jsonl."""

from datetime import UTC, datetime
from typing import Annotated, Literal, TypeAlias

from pydantic import BaseModel, ConfigDict, Field, TypeAdapter, ValidationError

from papertune.errors import ScreeningError, quoted
from papertune.records import first_problem

Verdict = Literal["include", "exclude", "unsure"]

EventId = Annotated[str, Field(min_length=1, max_length=64, pattern=r"^[A-Za-z0-9._-]+$")]
Reader = Annotated[str, Field(min_length=1, max_length=60, pattern=r"^\S(.*\S)?$")]
RecordNumber = Annotated[int, Field(ge=0)]


def now() -> str:
    """Return the time for an event, UTC, to the second; it is for people, the order of events is that of the file."""
    return datetime.now(UTC).isoformat(timespec="seconds")


class _Event(BaseModel):
    """What all events have.

    Attributes:
        id: Made by the client, so that sending an event twice is harmless.
        at: Time for people.
        reader: Who did it.
    """

    model_config = ConfigDict(frozen=True, extra="forbid", strict=True)

    id: EventId
    at: Annotated[str, Field(max_length=40)] = Field(default_factory=now)
    reader: Reader


class Decided(_Event):
    """A reader decides about a record; the reader's last decision counts.

    Attributes:
        record: Number of the record, from 0.
        verdict: The decision.
        settles: Whether it ends a conflict: it then counts instead of the decisions of all readers.
    """

    type: Literal["decided"] = "decided"
    record: RecordNumber
    verdict: Verdict
    settles: bool = False


class Noted(_Event):
    """A reader writes a note on a record; it replaces the reader's earlier one, and an empty one removes it."""

    type: Literal["noted"] = "noted"
    record: RecordNumber
    text: Annotated[str, Field(max_length=10_000)]


class Tagged(_Event):
    """A reader sets the tags of a record; they replace the reader's earlier ones."""

    type: Literal["tagged"] = "tagged"
    record: RecordNumber
    tags: Annotated[tuple[Annotated[str, Field(min_length=1, max_length=100)], ...], Field(max_length=50)]


class Undone(_Event):
    """A reader takes back one of their own decisions, notes or tags; the one before it counts again."""

    type: Literal["undone"] = "undone"
    event: EventId


class Added(_Event):
    """A table was added.

    Attributes:
        file: Its file in the folder of the project.
        rows: Number of its rows.
        duplicates: Rows that are no new records, with the number of the record that they repeat.
    """

    type: Literal["added"] = "added"
    file: Annotated[str, Field(pattern=r"^tables/[0-9]{4}\.parquet$")]
    rows: Annotated[int, Field(ge=1)]
    duplicates: dict[RecordNumber, RecordNumber] = {}


class Sampled(_Event):
    """A random sample of all records without a decision was drawn, for a certificate.

    Attributes:
        records: Numbers of the records, in the order of reading.
        unseen: Number of records without a decision.
    """

    type: Literal["sampled"] = "sampled"
    records: Annotated[tuple[RecordNumber, ...], Field(min_length=1)]
    unseen: Annotated[int, Field(ge=1)]


Event: TypeAlias = Decided | Noted | Tagged | Undone | Added | Sampled
_EVENTS: TypeAdapter[Event] = TypeAdapter(Annotated[Event, Field(discriminator="type")])


def check_name(name: str) -> None:
    """Check that a name can be that of a person who decides.

    Raises:
        ScreeningError: If not.
    """
    try:
        TypeAdapter(Reader).validate_python(name)
    except ValidationError:
        raise ScreeningError(
            f"{quoted(name)} is no name of a reader. Choose 1 to 60 characters without blanks at its ends."
        ) from None


def read_event(line: bytes | str) -> Event:
    """Read a line of events.jsonl, or what a client has sent.

    Raises:
        ScreeningError: If it is no event; the message has the first reason.
    """
    try:
        return _EVENTS.validate_json(line)
    except ValidationError as error:
        raise ScreeningError(f"{first_problem(error, 'the event')}. Send an event as the API describes it.") from None


def event_line(event: Event) -> bytes:
    """Return the line of an event, with its line end."""
    return event.model_dump_json().encode() + b"\n"

"""What the page sends: bodies of requests about screenings."""

from typing import Annotated, Literal, TypeAlias

from pydantic import BaseModel, ConfigDict, Field

from papertune.screening import events

Name = Annotated[str, Field(min_length=1, max_length=200)]
Criteria = Annotated[list[Annotated[str, Field(min_length=1, max_length=2000)]], Field(max_length=50)]
Readers = Annotated[list[events.Reader], Field(min_length=1, max_length=50)]
Column = Annotated[str, Field(min_length=1)]
Values = Annotated[list[str], Field(min_length=1, max_length=100)]


class _Body(BaseModel):
    model_config = ConfigDict(extra="forbid")


class NewScreen(_Body):
    """A new screening of a table; columns that are not named are guessed."""

    table: str
    name: Name | None = None
    title: Column | None = None
    abstract: Column | None = None
    id: Column | None = None
    doi: Column | None = None
    criteria: Criteria = []
    exclude: Criteria = []
    readers: Readers = ["reader"]
    readers_per_record: Annotated[int, Field(ge=1, le=50)] = 1
    labels: tuple[Name, Name] | None = None
    encoder: Literal["auto", "none"] = "auto"


class ScreenChanges(_Body):
    """New values of some settings."""

    name: Name | None = None
    criteria: Criteria | None = None
    exclude: Criteria | None = None
    readers: Readers | None = None
    readers_per_record: Annotated[int, Field(ge=1, le=50)] | None = None
    target: Annotated[float, Field(gt=0, le=1)] | None = None

    def settings(self) -> dict[str, object]:
        """Return them by the names of `Settings`."""
        given = self.model_dump(exclude_none=True)
        return {"include" if name == "criteria" else name: value for name, value in given.items()}


class MoreRecords(_Body):
    """A table with new search results."""

    table: str


class PriorDecisions(_Body):
    """A labelled table with decisions that were made before."""

    table: str
    label: Column
    include: Values = ["included", "1", "ASReview_relevant"]
    exclude: Values = ["excluded", "0", "ASReview_irrelevant"]
    reader: events.Reader | None = None


class NewSample(_Body):
    """A random sample to draw for a certificate."""

    size: Annotated[int, Field(ge=1, le=10_000_000)]
    reader: events.Reader | None = None


class NewTable(_Body):
    """The decisions as a table of the work folder."""

    name: Name | None = None


class _Sent(_Body):
    id: events.EventId
    reader: events.Reader


class Decision(_Sent):
    """A decision; `settles`: it ends a conflict."""

    kind: Literal["include", "exclude", "unsure"]
    record: events.RecordNumber
    settles: bool = False

    def event(self) -> events.Event:
        """Return the event."""
        return events.Decided(
            id=self.id, reader=self.reader, record=self.record, verdict=self.kind, settles=self.settles
        )


class Note(_Sent):
    """A note; "" removes the reader's note."""

    kind: Literal["note"]
    record: events.RecordNumber
    text: Annotated[str, Field(max_length=10_000)]

    def event(self) -> events.Event:
        """Return the event."""
        return events.Noted(id=self.id, reader=self.reader, record=self.record, text=self.text)


class Tags(_Sent):
    """The reader's tags of a record, all of them."""

    kind: Literal["tag"]
    record: events.RecordNumber
    tags: Annotated[list[Annotated[str, Field(min_length=1, max_length=100)]], Field(max_length=50)]

    def event(self) -> events.Event:
        """Return the event."""
        return events.Tagged(id=self.id, reader=self.reader, record=self.record, tags=tuple(self.tags))


class Undo(_Sent):
    """An event of the reader that is taken back."""

    kind: Literal["undo"]
    event_id: events.EventId

    def event(self) -> events.Event:
        """Return the event."""
        return events.Undone(id=self.id, reader=self.reader, event=self.event_id)


Sent: TypeAlias = Annotated[Decision | Note | Tags | Undo, Field(discriminator="kind")]
SentEvents: TypeAlias = Annotated[list[Sent], Field(max_length=1000)]

"""What the events of a screening amount to: decisions, notes, tags and samples. It is rebuilt from them alone."""

from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass
from types import MappingProxyType
from typing import Literal, TypeAlias

from papertune.errors import ScreeningError, quoted
from papertune.screening.events import Added, Decided, Event, Noted, Sampled, Tagged, Undone, Verdict

Outcome: TypeAlias = Verdict | Literal["conflict"]
_Mark: TypeAlias = Decided | Noted | Tagged

# The reader of the key under which decisions that end a conflict are kept; no reader has this name.
_ALL = ""


@dataclass(frozen=True)
class DrawnSample:
    """A random sample for a certificate.

    Attributes:
        records: Its records.
        unseen: Number of records without a decision when it was drawn.
        seen: The records with a decision then.
        total: Number of all records then.
    """

    records: tuple[int, ...]
    unseen: int
    seen: frozenset[int]
    total: int


class State:
    """The state after some events.

    Attributes:
        total: Number of records.
        samples: The samples that were drawn, oldest first.
        outcomes: The outcome of each record with a decision, by its number.
    """

    def __init__(self, events: Iterable[Event] = ()) -> None:
        self.total = 0
        self.samples: list[DrawnSample] = []
        self.outcomes: dict[int, Outcome] = {}
        self._known: dict[str, Event] = {}
        self._undone: set[str] = set()
        # What counts is the last event of each list; an undo takes one out.
        self._marks: dict[tuple[str, int, str], list[_Mark]] = {}
        self._readers: dict[int, set[str]] = {}
        for event in events:
            self.apply(event)

    def knows(self, event_id: str) -> bool:
        """Whether an event with this id has been applied."""
        return event_id in self._known

    def check(self, event: Event, earlier: Mapping[str, Event] = MappingProxyType({})) -> None:
        """Check that an event fits.

        Args:
            event: The event.
            earlier: Events that will be applied before it, by id.

        Raises:
            ScreeningError: If its record does not exist, or what it takes back is not the reader's to take back.
        """
        if isinstance(event, Decided | Noted | Tagged):
            self.check_record(event.record)
        if isinstance(event, Undone):
            other = self._known.get(event.event) or earlier.get(event.event)
            if not isinstance(other, Decided | Noted | Tagged):
                raise ScreeningError(
                    f"{quoted(event.event)} is no decision, note or tag, so it cannot be undone. Undo one of "
                    "the history."
                )
            if other.reader != event.reader:
                raise ScreeningError(
                    f"{quoted(event.event)} is by {other.reader}; {event.reader} cannot undo it. Settle the conflict "
                    "instead."
                )

    def check_record(self, record: int) -> None:
        """Check that there is such a record.

        Raises:
            ScreeningError: If not.
        """
        if not 0 <= record < self.total:
            raise ScreeningError(
                f"there is no record {record + 1}; the screening has {self.total:,}. Choose one of these."
            )

    def apply(self, event: Event) -> None:
        """Apply an event; one with a known id changes nothing."""
        if event.id in self._known:
            return
        self._known[event.id] = event
        match event:
            case Decided() | Noted() | Tagged():
                self._marks.setdefault(_key(event), []).append(event)
                self._update(event)
            case Undone():
                other = self._known.get(event.event)
                if isinstance(other, Decided | Noted | Tagged) and event.event not in self._undone:
                    self._undone.add(event.event)
                    self._marks[_key(other)].remove(other)
                    self._update(other)
            case Added():
                self.total += event.rows - len(event.duplicates)
            case Sampled():
                self.samples.append(DrawnSample(event.records, event.unseen, frozenset(self.outcomes), self.total))

    def decision(self, record: int, reader: str) -> Decided | None:
        """Return a reader's decision about a record, if there is one."""
        last = self._last("decided", record, reader)
        return last if isinstance(last, Decided) else None

    def verdict(self, record: int, reader: str) -> Verdict | None:
        """Return what a reader has decided about a record, if they have."""
        decision = self.decision(record, reader)
        return decision.verdict if decision else None

    def verdicts(self, record: int) -> dict[str, Verdict]:
        """Return the decision of each reader about a record, by reader in alphabetical order."""
        found = {reader: self.verdict(record, reader) for reader in sorted(self._readers.get(record, ()))}
        return {reader: verdict for reader, verdict in found.items() if verdict is not None}

    def settled(self, record: int) -> bool:
        """Whether a decision stands that ends a conflict."""
        return self._last("decided", record, _ALL) is not None

    def notes(self, record: int) -> dict[str, str]:
        """Return the note of each reader on a record."""
        return {mark.reader: mark.text for mark in self._of("noted", record) if isinstance(mark, Noted) and mark.text}

    def tags(self, record: int, reader: str | None = None) -> list[str]:
        """Return the tags of a record, each once: those of a reader, or of all readers if none is named."""
        marks = [mark for mark in self._of("tagged", record, reader) if isinstance(mark, Tagged)]
        return list(dict.fromkeys(tag for mark in marks for tag in mark.tags))

    def history(self, reader: str | None = None) -> Iterator[Decided]:
        """Return the decisions that stand, the newest first.

        Args:
            reader: Only those of a reader; None: of all.
        """
        for event in reversed(list(self._known.values())):  # other threads may add some meanwhile
            if isinstance(event, Decided) and event.id not in self._undone and reader in (None, event.reader):
                yield event

    def reading_order(self) -> list[tuple[int, str]]:
        """Return the records with a decision, in the order of the first decision that stands, with its reader."""
        order: dict[int, str] = {}
        for event in list(self._known.values()):
            if isinstance(event, Decided) and event.id not in self._undone:
                order.setdefault(event.record, event.reader)
        return list(order.items())

    def _last(self, kind: str, record: int, reader: str) -> _Mark | None:
        marks = self._marks.get((kind, record, reader))
        return marks[-1] if marks else None

    def _of(self, kind: str, record: int, reader: str | None = None) -> list[_Mark]:
        readers = sorted(self._readers.get(record, ())) if reader is None else [reader]
        found = (self._last(kind, record, each) for each in readers)
        return [mark for mark in found if mark is not None]

    def _update(self, event: _Mark) -> None:
        """Compute the outcome of a record again."""
        record = event.record
        self._readers.setdefault(record, set()).add(event.reader)
        last = self._last("decided", record, _ALL)
        if isinstance(last, Decided):
            self.outcomes[record] = last.verdict
            return
        verdicts = set(self.verdicts(record).values())
        firm = verdicts - {"unsure"}
        if not verdicts:
            self.outcomes.pop(record, None)
        else:
            self.outcomes[record] = "conflict" if len(firm) > 1 else firm.pop() if firm else "unsure"


def _key(event: _Mark) -> tuple[str, int, str]:
    """Return what an event replaces the former value of."""
    settles = isinstance(event, Decided) and event.settles
    return event.type, event.record, _ALL if settles else event.reader

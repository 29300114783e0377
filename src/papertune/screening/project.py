"""A screening on disk: tables, decisions, ranking, certificate.

FOLDER/project.json          what it is about (settings.py)
FOLDER/events.jsonl          all that happened, the only truth (log.py, state.py)
FOLDER/tables/0001.parquet   the tables, in the order in which they were added
FOLDER/cache/                vectors, which can be computed again
FOLDER/lock                  held by the process that has the screening open
"""

import threading
import uuid
from collections.abc import Iterable, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from types import TracebackType
from typing import Self

from papertune.errors import OutputError, ScreeningError, quoted
from papertune.events import SILENT, Listener
from papertune.files import check_new_folder, lock_now
from papertune.screening.events import Added, Decided, Event, Sampled, Undone, Verdict
from papertune.screening.log import EventLog
from papertune.screening.ranking.queue import Queue
from papertune.screening.records import find_duplicates, no_records, read_tables
from papertune.screening.settings import read_settings, settings_for, write_settings
from papertune.screening.state import State
from papertune.screening.stopping import Certificate, Cost, certificate_cost, certify
from papertune.suggest import did_you_mean
from papertune.tables import Table, TableSource, read_table, write_table


@dataclass(frozen=True)
class SampleGaps:
    """What keeps a sample from being judged.

    Attributes:
        added: Records that were added after it was drawn.
        left: Records without a decision, of the sample and the reading before it.
        open: Records that are unsure or in conflict, of the sample and the reading before it.
    """

    added: int
    left: int
    open: int


class Project:
    """A screening, open for reading and writing. Use it as a context manager; many threads may call its methods.

    Attributes:
        folder: Where it is.
        settings: What it is about.
        records: Its records.
        tables: Its tables.
        added: The event with which each of them was added.
        state: What the events amount to.
        queue: The records to read, the most useful first.
        closed: Whether it was closed.
    """

    def __init__(self, folder: str | Path, listener: Listener = SILENT) -> None:
        """Open a screening.

        Args:
            folder: Where it is.
            listener: Gets the progress of the sentence encoder, from another thread.

        Raises:
            ScreeningError: If there is none, it is damaged, or another process has it open.
        """
        self.folder = Path(folder)
        self.settings = read_settings(self.folder)
        busy = f"{self.folder} is open in another process, such as papertune serve. Close it there, or work there."
        self._lock = lock_now(self.folder / "lock", ScreeningError(busy), self.folder, "Check its permissions.")
        try:
            self._changes = threading.RLock()
            self._log = EventLog(self.folder / "events.jsonl")
            self.state = State(self._log.entries)
            self.records = no_records()
            self.tables: list[Table] = []
            self.added: list[Added] = []
            self._read_records()
        except BaseException:
            self._lock.release()
            raise
        self.closed = False
        self.queue = Queue(self, listener)

    @classmethod
    def create(cls, folder: str | Path, source: TableSource, *, name: str | None = None, **settings: object) -> Self:
        """Make a screening of a table and open it.

        Args:
            folder: A new or empty folder.
            source: The first table.
            name: For people; None: the name of the folder.
            settings: Other fields of `Settings`; columns are guessed by their names unless they are given.

        Raises:
            PapertuneError: If the folder is not empty, or table and settings do not fit.
        """
        write_project(folder, source, name=name, **settings)
        return cls(folder)

    def __enter__(self) -> Self:
        """Return the screening."""
        return self

    def __exit__(self, *_: type[BaseException] | BaseException | TracebackType | None) -> None:
        """Close the screening."""
        self.close()

    @contextmanager
    def unchanged(self) -> Iterator[None]:
        """Keep other threads from adding events and tables, for readers of several things that must fit together."""
        with self._changes:
            yield

    def close(self) -> None:
        """End the background threads and let other processes open the screening."""
        self.closed = True
        self.queue.close()
        with self._changes:
            self._log.close()
        self._lock.release()

    def change(self, **values: object) -> None:
        """Change settings, such as criteria or readers.

        Raises:
            ScreeningError: If a value is invalid.
        """
        with self._changes:
            settings = self.settings.changed(**values)
            write_settings(self.folder, settings)
            self.settings = settings
        self.queue.refresh(features=True)

    def add(self, source: TableSource, reader: str | None = None) -> Added:
        """Add a table, such as new search results; rows that repeat a record become no new one.

        Args:
            source: The table.
            reader: Who adds it; None: the first reader.

        Returns:
            What was stored, with the duplicates.

        Raises:
            PapertuneError: If it cannot be read, or has no column with titles.
        """
        table = read_table(source)
        table.column(self.settings.title)
        with self._changes:
            duplicates = find_duplicates(table, self.records, self.settings)
            file = f"tables/{len(self.tables) + 1:04}.parquet"
            # A file without its event is what a kill has left; it is replaced.
            write_table(table.frame, self.folder / file, overwrite=True)
            event = Added(
                id=_new_id(),
                reader=reader or self.settings.readers[0],
                file=file,
                rows=len(table),
                duplicates=duplicates,
            )
            self._store([event])
            self._add(table, event)
        self.queue.refresh(features=True)
        return event

    def submit(self, events: Sequence[Event]) -> None:
        """Store what readers did. It returns when it is on disk; an event whose id is known is ignored.

        Raises:
            ScreeningError: If an event does not fit; none of them is then stored.
            OutputError: If the disk is full; none of them is then stored, and the call may be repeated.
        """
        for event in events:
            if isinstance(event, Added | Sampled):
                raise ScreeningError("tables and samples are not sent as events. Use add and draw_sample.")
            self.settings.check_reader(event.reader)
        self.submit_unchecked(events)

    def submit_unchecked(self, events: Sequence[Event]) -> None:
        """Store events of somebody who need not be a reader, such as earlier decisions; otherwise as `submit`."""
        with self._changes:
            new: dict[str, Event] = {}
            for event in events:
                if not self.state.knows(event.id) and event.id not in new:
                    self.state.check(event, new)
                    new[event.id] = event
            if new:
                self._store(list(new.values()))
        if any(isinstance(event, Decided | Undone) for event in new.values()):
            self.queue.refresh()

    def decide(self, record: int, verdict: Verdict, reader: str | None = None, *, settles: bool = False) -> Decided:
        """Store a decision and return its event; the arguments are those of `Decided`."""
        who = reader or self.settings.readers[0]
        self.settings.check_reader(who)
        event = Decided(id=_new_id(), reader=who, record=record, verdict=verdict, settles=settles)
        self.submit([event])
        return event

    def undo(self, event_id: str, reader: str | None = None) -> None:
        """Take back a decision, note or tags of a reader."""
        who = reader or self.settings.readers[0]
        self.settings.check_reader(who)
        self.submit([Undone(id=_new_id(), reader=who, event=event_id)])

    def record_number(self, name: str) -> int:
        """Return the number of a record, from 0, by its id or by its number from 1; an id goes first.

        Raises:
            ScreeningError: If there is none, or several have the id.
        """
        same = [number for number, each in enumerate(self.records.ids) if each == name]
        if len(same) > 1:
            raise ScreeningError(
                f"{len(same)} records have the id {quoted(name)}: the numbers "
                f"{', '.join(str(each + 1) for each in same)}. Name the number."
            )
        if not same and name.isascii() and name.isdigit() and 1 <= int(name) <= self.state.total:
            return int(name) - 1
        if not same:
            raise ScreeningError(
                f"there is no record {quoted(name)}.{did_you_mean(name, self.records.ids)} Name an id, or a number "
                f"from 1 to {self.state.total:,}."
            )
        return same[0]

    def relevant(self) -> dict[int, bool]:
        """Return whether each included or excluded record is relevant; unsure ones and conflicts are left out."""
        outcomes = self.state.outcomes.copy()
        return {
            record: outcome == "include" for record, outcome in outcomes.items() if outcome in ("include", "exclude")
        }

    def unseen(self) -> list[int]:
        """Return the numbers of the records without a decision."""
        return [record for record in range(self.state.total) if record not in self.state.outcomes]

    def draw_sample(self, size: int, reader: str | None = None) -> Sampled:
        """Draw a random sample of the records without a decision, for a certificate; `queue` offers it first.

        Args:
            size: Number of records.
            reader: Who draws it; None: the first reader.

        Raises:
            ScreeningError: If there are fewer records, or the last sample is not read to its end.
        """
        import numpy as np

        with self._changes:
            left = self.sample_left()
            if left:
                raise ScreeningError(
                    f"{len(left):,} records of the last sample have no decision yet. Read them first: choosing among "
                    "samples would make the certificate worthless."
                )
            unseen = self.unseen()
            if not 1 <= size <= len(unseen):
                raise ScreeningError(
                    f"a sample of {size:,} records cannot be drawn: {len(unseen):,} have no decision. Choose a size "
                    "from 1 to that."
                )
            draw = np.random.default_rng([self.settings.seed, len(self.state.samples), len(unseen)])
            drawn = tuple(int(record) for record in draw.choice(unseen, size, replace=False))
            event = Sampled(id=_new_id(), reader=reader or self.settings.readers[0], records=drawn, unseen=len(unseen))
            self._store([event])
        return event

    def sample_left(self) -> list[int]:
        """Return the records of the last sample that have no decision yet, in the order of reading."""
        records = self.state.samples[-1].records if self.state.samples else ()
        return [record for record in records if record not in self.state.outcomes]

    def sample_gaps(self) -> SampleGaps:
        """Return what keeps the last sample from being judged.

        Raises:
            ScreeningError: If no sample has been drawn.
        """
        if not self.state.samples:
            raise ScreeningError("no sample has been drawn, so there is nothing to judge. Draw one first.")
        sample, outcomes = self.state.samples[-1], self.state.outcomes.copy()
        covered = sample.seen | set(sample.records)
        return SampleGaps(
            added=self.state.total - sample.total,
            left=sum(record not in outcomes for record in covered),
            open=sum(outcomes.get(record) in ("unsure", "conflict") for record in covered),
        )

    def certificate(self) -> Certificate:
        """Judge the last sample.

        Raises:
            ScreeningError: If there is none, or it cannot be judged: it is not read to its end, decisions are open, or
                records were added after it.
        """
        gaps = self.sample_gaps()
        if gaps.added:
            raise ScreeningError(
                f"{gaps.added:,} records were added after the sample was drawn, so it does not stand for them. Draw "
                "another one."
            )
        if gaps.left or gaps.open:
            raise ScreeningError(
                f"{gaps.left:,} records that the sample or the reading before it covers have no decision, and "
                f"{gaps.open:,} are unsure or in conflict. Decide these first."
            )
        sample, outcomes = self.state.samples[-1], self.state.outcomes.copy()
        found = sum(outcomes.get(record) == "include" for record in sample.seen)
        hits = sum(outcomes.get(record) == "include" for record in sample.records)
        return certify(len(self.state.samples), found, hits, sample.unseen, len(sample.records), self.settings.target)

    def certificate_cost(self) -> Cost:
        """Return what a certificate would cost now."""
        found = sum(self.relevant().values())
        return certificate_cost(found, len(self.unseen()), self.settings.target, len(self.state.samples) + 1)

    def found_curve(self, without: Iterable[str] = ()) -> list[int]:
        """Return how many relevant records were found after each record read, in the order of reading.

        Args:
            without: People whose decisions are not part of the reading, such as those of an earlier review.
        """
        left_out, found, curve = set(without), 0, []
        for record, reader in self.state.reading_order():
            if reader not in left_out:
                found += self.state.outcomes.get(record) == "include"
                curve.append(found)
        return curve

    def _store(self, events: Sequence[Event]) -> None:
        self._log.append(events)
        for event in events:
            self.state.apply(event)

    def _read_records(self) -> None:
        added = [event for event in self._log.entries if isinstance(event, Added)]
        tables = read_tables(self.folder, [event.file for event in added])
        for table, event in zip(tables, added, strict=True):
            if len(table) != event.rows:
                raise ScreeningError(
                    f"{self.folder / event.file} has {len(table):,} rows instead of {event.rows:,}; it was changed or "
                    "damaged. Copy it from a backup."
                )
            self._add(table, event)

    def _add(self, table: Table, event: Added) -> None:
        self.records.add(table, self.settings, len(self.tables), event.duplicates)
        self.tables.append(table)
        self.added.append(event)


def write_project(folder: str | Path, source: TableSource, *, name: str | None = None, **settings: object) -> None:
    """Make a screening of a table without opening it; the arguments are those of `Project.create`."""
    folder = Path(folder)
    check_new_folder(folder)
    table = read_table(source)
    chosen = settings_for(table, name or folder.resolve().name, **settings)
    event = Added(
        id=_new_id(),
        reader=chosen.readers[0],
        file="tables/0001.parquet",
        rows=len(table),
        duplicates=find_duplicates(table, no_records(), chosen),
    )
    try:
        (folder / "tables").mkdir(parents=True, exist_ok=True)
        write_table(table.frame, folder / event.file, overwrite=True)
        log = EventLog(folder / "events.jsonl")
        log.append([event])
        log.close()
        write_settings(folder, chosen)  # last: a folder without it is no screening
    except OSError as error:
        raise OutputError(f"{folder} cannot be written: {error.strerror or error}. Choose another place.") from error


def _new_id() -> str:
    return uuid.uuid4().hex

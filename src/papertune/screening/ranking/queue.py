"""What to read next: a random sample that was drawn, then the ranking, near duplicates together."""

import threading
from collections.abc import Iterator, Mapping
from contextlib import suppress
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, Literal

import numpy as np
from numpy.typing import NDArray

from papertune.events import SILENT, Listener
from papertune.screening.ranking.apart import Stopped, remove_left_folders
from papertune.screening.ranking.background import Latest
from papertune.screening.ranking.encoding import embed_apart
from papertune.screening.ranking.fitting import Fitter
from papertune.screening.ranking.prepared import Prepared, prepare_apart
from papertune.screening.ranking.ranker import Ranking, rank

if TYPE_CHECKING:
    from papertune.screening.project import Project


# The process for rankings ends without a decision for so long: its features take memory.
IDLE_S = 300.0


@dataclass(frozen=True)
class Offer:
    """A record to read.

    Attributes:
        record: Its number.
        reason: Why it stands here: the sample of a certificate, the ranking, or because it is nearly the same as the
            record before it.
    """

    record: int
    reason: Literal["sample", "ranking", "near duplicate"]


class Queue:
    """The records that a reader should read, the most useful first. Rankings are fitted in a thread of their own.

    Args:
        project: The screening.
        listener: Gets the progress of the sentence encoder.
    """

    def __init__(self, project: "Project", listener: Listener = SILENT) -> None:
        self._project = project
        self._listener = listener
        self._prepared: Prepared | None = None
        # The version goes up when features must be computed again, also while older ones are being computed.
        self._version, self._prepared_version = 0, -1
        self._vectors: NDArray[np.float32] | None = None
        self._encoder = ""
        self._closed = False
        self._fitter: Fitter | None = None
        self._idle: threading.Timer | None = None  # ends it after a time without decisions
        self._fitting = threading.Lock()  # guards both
        remove_left_folders(project.folder / "cache")
        self._latest: Latest[Ranking | None] = Latest(self._compute)
        # Vectors of a large table take minutes; until they are there, words alone rank.
        self._encoded: Latest[None] = Latest(self._encode)
        self.refresh(features=True)

    @property
    def ranking(self) -> Ranking | None:
        """The last ranking; None before the first."""
        return self._latest.result

    def refresh(self, *, features: bool = False) -> None:
        """Ask for a ranking that knows all decisions so far.

        Args:
            features: Whether records or criteria have changed, so that features are computed again.
        """
        if features:
            self._version += 1
            self._encoded.request()
        self._latest.request()

    def wait(self, timeout_s: float | None = None, *, vectors: bool = True) -> bool:
        """Wait until the ranking knows all decisions so far.

        Args:
            timeout_s: Seconds at most for each part; None: as long as it takes.
            vectors: Whether to wait for the sentence encoder too.

        Returns:
            Whether it does.

        Raises:
            Exception: What the computation raised, if it failed.
        """
        parts: list[Latest[Any]] = [self._encoded, self._latest] if vectors else [self._latest]
        done = all([part.wait(timeout_s) for part in parts])
        for part in parts:
            if part.error is not None:
                raise part.error
        return done

    def close(self) -> None:
        """End the threads and processes; vectors that are computed already are kept."""
        self._closed = True
        with self._fitting:
            self._stop_timer()
            if self._fitter is not None:
                self._fitter.close()
        self._encoded.close()
        self._latest.close()

    def next(self, reader: str, count: int) -> list[Offer]:
        """Return the next records for a reader; it does not wait for a ranking.

        Args:
            reader: Who reads.
            count: Number of records at most.
        """
        self._project.settings.check_reader(reader)
        found: list[Offer] = []
        taken: set[int] = set()
        for offer in self._candidates():
            if len(found) >= count:
                break
            if offer.record in taken or not self._wants(offer.record, reader):
                continue
            taken.add(offer.record)
            found.append(offer)
            for other in self.near_duplicates(offer.record) if offer.reason == "ranking" else ():
                if other not in taken and self._wants(other, reader):
                    taken.add(other)
                    found.append(Offer(other, "near duplicate"))
        return found[:count]

    def _candidates(self) -> Iterator[Offer]:
        # In two-reader screenings every reader reads the sample, so decided ones are not left out here.
        samples = self._project.state.samples
        for record in samples[-1].records if samples else ():
            yield Offer(record, "sample")
        ranking, total = self.ranking, self._project.state.total
        order = np.arange(0) if ranking is None else ranking.order
        for record in order:
            yield Offer(int(record), "ranking")
        # Records that no ranking knows yet.
        for record in np.random.default_rng(self._project.settings.seed).permutation(np.arange(len(order), total)):
            yield Offer(int(record), "ranking")

    def _wants(self, record: int, reader: str) -> bool:
        """Whether a record still needs this reader."""
        state, settings = self._project.state, self._project.settings
        if record not in state.outcomes:
            return True
        if settings.readers_per_record == 1 or state.settled(record):
            return False
        decided = state.verdicts(record)
        return (
            reader not in decided
            and decided.keys() <= set(settings.readers)
            and len(decided) < settings.readers_per_record
        )

    def near_duplicates(self, record: int) -> tuple[int, ...]:
        """Return the records that are nearly the same as a record, without itself."""
        members = self._prepared.groups.get(record, ()) if self._prepared else ()
        return tuple(other for other in members if other != record)

    def _compute(self) -> Ranking | None:
        project = self._project
        prepared, version = self._prepared, self._version
        if prepared is None or self._prepared_version != version:
            documents = project.records.documents()
            if not documents:
                return None
            vectors = self._vectors
            if vectors is not None and len(vectors) != len(documents):
                vectors = None  # records were added
            query = " ".join(project.settings.include)
            try:
                prepared = prepare_apart(documents, query, vectors, project.folder / "cache", lambda: self._closed)
            except Stopped:
                return self.ranking
            self._prepared, self._prepared_version = prepared, version
        known = {record: relevant for record, relevant in project.relevant().items() if record < len(prepared.features)}
        try:
            return self._rank(prepared, known)
        except Stopped:
            return self.ranking

    def _rank(self, prepared: Prepared, known: Mapping[int, bool]) -> Ranking:
        """Rank records: in the process for it where there are many and something is to be learned."""
        seed = self._project.settings.seed
        if prepared.folder is None or len(set(known.values())) < 2:
            return rank(prepared.features, known, seed)
        with self._fitting:
            if self._closed:
                raise Stopped
            if self._fitter is None or self._fitter.folder != prepared.folder or not self._fitter.is_alive:
                if self._fitter is not None:
                    self._fitter.close()
                self._fitter = Fitter(prepared.folder)
            fitter = self._fitter
            self._stop_timer()
        try:
            return fitter.rank(prepared.features, known, seed)
        finally:
            with self._fitting:
                if not self._closed:
                    self._idle = threading.Timer(IDLE_S, self._end_idle)
                    self._idle.daemon = True
                    self._idle.start()

    def _end_idle(self) -> None:
        """End the process for rankings after its time, unless it was asked again at that moment."""
        with self._fitting:
            if self._idle is threading.current_thread() and self._fitter is not None:
                self._fitter.close()
                self._fitter = None

    def _stop_timer(self) -> None:
        if self._idle is not None:
            self._idle.cancel()
            self._idle = None

    def _encode(self) -> None:
        documents = self._project.records.documents()
        encoder = self._project.settings.encoder
        if self._vectors is not None and len(self._vectors) == len(documents) and self._encoder == encoder:
            return
        with suppress(Stopped):
            self._vectors = embed_apart(
                documents, encoder, self._project.folder / "cache", self._listener, lambda: self._closed
            )
            self._encoder = encoder
            if self._vectors is not None:
                self._version += 1
                self._latest.request()

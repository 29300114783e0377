"""What to read next: a random sample that was drawn, then the ranking, near duplicates together."""

from collections.abc import Iterator, Mapping
from contextlib import suppress
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, Literal

import numpy as np
from numpy.typing import NDArray

from papertune.evaluation.checks.near_duplicates import match_earlier_rows
from papertune.events import SILENT, Listener, Progress
from papertune.screening.ranking.background import Latest
from papertune.screening.ranking.features import Features, embed, make_features
from papertune.screening.ranking.ranker import Ranking, rank

if TYPE_CHECKING:
    from papertune.screening.project import Project


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


@dataclass(frozen=True)
class _Prepared:
    """What is computed once for a set of records.

    Attributes:
        version: The request that it answers.
        features: Their features.
        groups: The records that are nearly the same as each one of them, itself included; others are left out.
    """

    version: int
    features: Features
    groups: dict[int, tuple[int, ...]]


class _Closed(Exception):
    """The screening was closed while vectors were computed."""


class Queue:
    """The records that a reader should read, the most useful first. Rankings are fitted in a thread of their own.

    Args:
        project: The screening.
        listener: Gets the progress of the sentence encoder.
    """

    def __init__(self, project: "Project", listener: Listener = SILENT) -> None:
        self._project = project
        self._listener = listener
        self._prepared: _Prepared | None = None
        # Goes up when features must be computed again, also while older ones are being computed.
        self._version = 0
        self._vectors: NDArray[np.float32] | None = None
        self._encoder = ""
        self._closed = False
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
        """End the threads; vectors that are computed already are kept."""
        self._closed = True
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
            for other in self._group(offer.record) if offer.reason == "ranking" else ():
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

    def _group(self, record: int) -> tuple[int, ...]:
        return self._prepared.groups.get(record, ()) if self._prepared else ()

    def _compute(self) -> Ranking | None:
        project = self._project
        prepared, version = self._prepared, self._version
        if prepared is None or prepared.version != version:
            documents = project.records.documents()
            if not documents:
                return None
            vectors = self._vectors
            if vectors is not None and len(vectors) != len(documents):
                vectors = None  # records were added
            query = " ".join(project.settings.include)
            prepared = _Prepared(version, make_features(documents, query, vectors), group(documents))
            self._prepared = prepared
        known = {record: relevant for record, relevant in project.relevant().items() if record < len(prepared.features)}
        return rank(prepared.features, known, project.settings.seed)

    def _encode(self) -> None:
        documents = self._project.records.documents()
        encoder = self._project.settings.encoder
        if self._vectors is not None and len(self._vectors) == len(documents) and self._encoder == encoder:
            return
        with suppress(_Closed):
            self._vectors = embed(documents, encoder, self._project.folder / "cache", self)
            self._encoder = encoder
            if self._vectors is not None:
                self._version += 1
                self._latest.request()

    def message(self, text: str) -> None:
        """Hear a message of the encoder."""
        self._listener.message(text)

    def progress(self, step: Progress) -> None:
        """Hear how far the encoder is, and end it when the screening is closed."""
        if self._closed:
            raise _Closed
        self._listener.progress(step)

    def metrics(self, step: int, values: Mapping[str, float]) -> None:
        """Pass on what is logged; the encoder is not trained."""
        self._listener.metrics(step, values)


def group(documents: list[str]) -> dict[int, tuple[int, ...]]:
    """Return the documents that are nearly the same as each document that has such others, in ascending order."""
    roots = list(range(len(documents)))
    for match in match_earlier_rows(documents):
        roots[match.row] = roots[match.other]  # an earlier row, whose root is known
    members: dict[int, list[int]] = {}
    for row, root in enumerate(roots):
        members.setdefault(root, []).append(row)
    return {row: tuple(rows) for rows in members.values() if len(rows) > 1 for row in rows}

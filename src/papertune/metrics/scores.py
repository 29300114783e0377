"""What the scores of every column kind have in common."""

from abc import ABC, abstractmethod
from dataclasses import asdict, dataclass
from typing import Any, ClassVar

from papertune.metrics.intervals import Interval


@dataclass(frozen=True)
class Measure:
    """One score of a system, as tables show it.

    Attributes:
        key: Its name in report.json.
        name: Its name on the page.
        score: Its value; None where it is not defined.
        interval: Its 95 percent interval, if it has one.
    """

    key: str
    name: str
    score: float | None
    interval: Interval | None = None


class Scores(ABC):
    """The scores of one column; subclasses are dataclasses with a field `rows`, the rows that were scored.

    Attributes:
        template: The part of the report page that shows details; "" if the measures are all.
    """

    template: ClassVar[str] = ""
    rows: int

    @property
    @abstractmethod
    def main(self) -> float:
        """The number that stands for the column in dev scores; higher is better."""

    @abstractmethod
    def measures(self) -> list[Measure]:
        """Return the scores that stand for a system; the first one has an interval, and systems are compared by it."""

    def shown_measures(self, *, by_ranking: bool) -> list[Measure]:
        """Return the scores that tables show, few enough for a phone.

        Args:
            by_ranking: Whether the order of the rows counts, as in screening.
        """
        return self.measures()

    @abstractmethod
    def dev_measures(self) -> dict[str, float]:
        """Return what a dev score reports in metrics.jsonl."""

    @property
    def agreement(self) -> float:
        """The number by which two precisions of one run are compared."""
        return self.main

    @property
    def ranking_score(self) -> float | None:
        """Average precision of the first of two labels; None for other kinds."""
        return None

    def unanswered(self, *, is_compared: bool) -> str:
        """Return a sentence about rows without an answer that count as wrong; "" if there are none."""
        return ""

    def as_dict(self) -> dict[str, Any]:
        """Return all scores as plain values, ready for JSON."""
        return asdict(self)  # type: ignore[call-overload, no-any-return]

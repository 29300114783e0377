"""One score, as tables show it."""

from dataclasses import dataclass

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

"""What a system predicts for one column, and what its scores have in common."""

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any, Protocol

import numpy as np
import polars as pl
from numpy.typing import NDArray

from papertune.metrics.measure import Measure


@dataclass(frozen=True)
class Predictions:
    """The predictions for one column, one for each row.

    Attributes:
        cells: The cells. Where a run abstains it is what it would say, since no system may look better or worse for
            what it leaves out; "" where there is no answer, or the row was not asked.
        probabilities: For a kind with labels the probability of each label, in the recipe's order, if known; empty for
            a row that was not asked.
        raw: For a label column the same before calibration; None if not known.
        abstained: The rows where the run abstains; None: there are none, or it is not known.
        confidences: For a kind with free answers the probability of each answer, if known.
    """

    cells: Sequence[str]
    probabilities: Sequence[Sequence[float]] | None = None
    raw: Sequence[Sequence[float]] | None = None
    abstained: Sequence[bool] | None = None
    confidences: Sequence[float | None] | None = None


class Scores(Protocol):
    """What the scores of every kind have.

    Attributes:
        rows: How many rows were scored.
        template: The part of the report page that shows details; "" if the measures are all.
    """

    rows: int

    @property
    def template(self) -> str:
        """The part of the report page that shows details; "" if the measures are all."""

    @property
    def main(self) -> float:
        """The number that stands for the column in dev scores."""

    def measures(self) -> list[Measure]:
        """Return the scores that tables show; the first one has an interval."""

    def dev_measures(self) -> dict[str, float]:
        """Return what a dev score reports in metrics.jsonl."""

    def as_dict(self) -> dict[str, Any]:
        """Return all scores as plain values, ready for JSON."""


def where_asked(probabilities: NDArray[np.float64], cells: pl.Series) -> list[list[float]]:
    """Return the probabilities of each row; none for a row that was not asked, whose cell is null."""
    return [row.tolist() if asked else [] for row, asked in zip(probabilities, cells.is_not_null().to_list(), strict=True)]

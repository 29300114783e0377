"""The predictions of a system for one column."""

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
import polars as pl
from numpy.typing import NDArray


@dataclass(frozen=True)
class Predictions:
    """The predictions for one column, one for each row.

    Attributes:
        cells: The cells; if the run abstains, its most probable label, so that abstaining changes no score; "" without
            an answer, or if the row was not asked.
        probabilities: For a kind with labels the probability of each label, in the recipe's order, if known; empty for
            a row that was not asked.
        raw: For a label column the uncalibrated probabilities; None if not known.
        abstained: Whether the run abstains; None: in no row, or not known.
        confidences: For a kind with free answers the probability of each answer, if known.
    """

    cells: Sequence[str]
    probabilities: Sequence[Sequence[float]] | None = None
    raw: Sequence[Sequence[float]] | None = None
    abstained: Sequence[bool] | None = None
    confidences: Sequence[float | None] | None = None


def where_asked(probabilities: NDArray[np.float64], cells: pl.Series) -> list[list[float]]:
    """Return the probabilities of each row; an empty list for a row that was not asked, whose cell is null."""
    asked = cells.is_not_null().to_list()
    return [row.tolist() if is_asked else [] for row, is_asked in zip(probabilities, asked, strict=True)]

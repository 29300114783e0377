"""What a system predicts for one column."""

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
import polars as pl
from numpy.typing import NDArray


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


def where_asked(probabilities: NDArray[np.float64], cells: pl.Series) -> list[list[float]]:
    """Return the probabilities of each row; none for a row that was not asked, whose cell is null."""
    asked = cells.is_not_null().to_list()
    return [row.tolist() if is_asked else [] for row, is_asked in zip(probabilities, asked, strict=True)]

"""The columns of an output table for a label column."""

from collections.abc import Iterator, Sequence

import numpy as np
import polars as pl
from numpy.typing import NDArray

from papertune.kinds.label.column import LabelColumn
from papertune.kinds.label.decision import Decision
from papertune.kinds.values import ColumnValues, probabilities_of, probability_series, text_series


def label_cells(values: ColumnValues, column: LabelColumn, decision: Decision) -> pl.Series:
    """Return the chosen label of each row.

    Returns:
        Text; "" where the run abstains, null where the row was not asked.
    """
    calibrated = decision.calibrated(probabilities_of(values))
    cells = decision.chosen(calibrated)
    cells[decision.abstained(calibrated)] = len(column.labels)
    cells[np.isnan(calibrated[:, 0])] = len(column.labels) + 1
    return pl.Series([*column.labels, "", None], dtype=pl.String).gather(cells)


def set_cells(values: ColumnValues, column: LabelColumn, decision: Decision) -> pl.Series:
    """Return the labels of each row that cannot be ruled out, the most probable first, separated by semicolons.

    Returns:
        Text; null where the row was not asked.
    """
    probabilities = probabilities_of(values)
    sets = decision.sets(probabilities)
    most_probable_first = np.argsort(-probabilities, axis=1, kind="stable")

    def cells() -> Iterator[str | None]:
        for row, order in enumerate(most_probable_first):
            asked = not np.isnan(probabilities[row, 0])
            yield "; ".join(column.labels[label] for label in order if sets[row, label]) if asked else None

    return text_series("", cells())


def columns_beside(
    name: str, values: ColumnValues, column: LabelColumn, decision: Decision, titles: Sequence[str]
) -> Iterator[tuple[str, pl.Series]]:
    """Yield label sets and calibrated probabilities, if `titles` names them."""
    if (title := f"{name}_set") in titles:
        yield title, set_cells(values, column, decision)
    calibrated = decision.calibrated(probabilities_of(values))
    yield from probability_series(name, column.labels, calibrated, titles)


def most_probable_rows(values: ColumnValues, decision: Decision) -> NDArray[np.int64]:
    """Return the rows by the probability of a column's first label, the highest first; int64, shape (rows,).

    Rows that were not asked come last. Equal rows stay in table order.
    """
    probabilities = probabilities_of(values)
    # Isotonic regression makes neighbours equal; the uncalibrated probability still orders them.
    return np.lexsort((-probabilities[:, 0], -decision.calibrated(probabilities)[:, 0]))

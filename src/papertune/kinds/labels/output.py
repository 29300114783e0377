"""The cells of a labels column."""

import numpy as np
import polars as pl
from numpy.typing import NDArray

from papertune.kinds.labels.cells import join_labels
from papertune.kinds.labels.column import LabelsColumn
from papertune.kinds.values import ColumnValues, probabilities_of, text_series


def label_set_cells(values: ColumnValues, column: LabelsColumn) -> pl.Series:
    """Return the labels of each row whose probability reaches their threshold, in the recipe's order.

    Returns:
        Text; "" where no label does, null where the row was asked about none of them.
    """
    thresholds = label_thresholds(column)

    def cell(row: NDArray[np.float64]) -> str | None:
        reached = np.flatnonzero(row >= thresholds)  # NaN reaches nothing
        return None if np.isnan(row).all() else join_labels((column.labels[n] for n in reached), column)

    return text_series("", map(cell, probabilities_of(values)))


def label_thresholds(column: LabelsColumn) -> NDArray[np.float64]:
    """Return the threshold of each label, in the recipe's order, float64, shape (labels,); 0.5 if none is chosen."""
    thresholds = column.thresholds
    if isinstance(thresholds, dict):
        return np.array([thresholds[label] for label in column.labels])
    return np.full(len(column.labels), 0.5 if thresholds == "f1" else thresholds)

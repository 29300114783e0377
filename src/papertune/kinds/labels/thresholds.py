"""Thresholds of the labels of a labels column, chosen on rows whose labels are known."""

from collections.abc import Mapping, Sequence

import numpy as np
from numpy.typing import NDArray

from papertune.kinds.labels.matrix import TrueLabels
from papertune.kinds.values import ColumnValues
from papertune.kinds import Column, LabelsColumn
from papertune.metrics.screening import MIN_OF_EACH, f1_threshold
from papertune.prompts.examples import RowReader
from papertune.recipe import Recipe

# Where nothing speaks for another: the likelier of yes and no.
MIDDLE = 0.5


def can_choose(probabilities: NDArray[np.float64], has: NDArray[np.bool_]) -> NDArray[np.bool_]:
    """Tell for which labels there are known rows enough to choose a threshold, with the label and without it.

    Args:
        probabilities: As in `f1_thresholds`.
        has: As in `f1_thresholds`.

    Returns:
        Bool, shape (labels,).
    """
    known = ~np.isnan(probabilities)
    fewer = np.minimum((known & has).sum(axis=0), (known & ~has).sum(axis=0))
    return np.asarray(fewer >= MIN_OF_EACH)


def f1_thresholds(probabilities: NDArray[np.float64], has: NDArray[np.bool_]) -> NDArray[np.float64]:
    """Find for each label the threshold with the best F1; so macro F1 is the best that thresholds can give there.

    Args:
        probabilities: How likely each row has each label, float64, shape (rows, labels); NaN where that is not known.
        has: Which labels each row has, bool, shape (rows, labels).

    Returns:
        Each label has the rows whose probability is so high or higher, float64, shape (labels,); `MIDDLE` where
        `can_choose` says no.
    """
    thresholds = np.full(has.shape[1], MIDDLE)
    for n in np.flatnonzero(can_choose(probabilities, has)):
        known = ~np.isnan(probabilities[:, n])
        thresholds[n] = f1_threshold(probabilities[known, n], has[known, n])
    return thresholds


def asks_for_f1(column: Column) -> bool:
    """Tell whether the thresholds of a column are to be chosen on dev rows."""
    return isinstance(column, LabelsColumn) and column.thresholds == "f1"


def with_f1_thresholds(
    recipe: Recipe, said: Sequence[tuple[Mapping[str, ColumnValues], RowReader, int]]
) -> tuple[Recipe, dict[str, list[str]]]:
    """Give a recipe whose labels columns have numbers where they ask for the best F1.

    Args:
        recipe: The columns.
        said: For each table what a predictor said of its rows, by column, what reads its true labels, and how many rows
            it has.

    Returns:
        The recipe, and by column the labels that stay at `MIDDLE`, since they have too few rows.
    """
    columns = dict(recipe.columns)
    rare: dict[str, list[str]] = {}
    for name, column in recipe.columns.items():
        if isinstance(column, LabelsColumn) and asks_for_f1(column):
            likely: list[NDArray[np.float64]] = []
            has: list[NDArray[np.bool_]] = []
            for values, truth, rows in said:
                true = TrueLabels.read(truth, name, column, range(rows))
                likely.append(true.likely(np.asarray(values[name])))
                has.append(true.has)
            together = np.concatenate(likely), np.concatenate(has)
            thresholds = dict(zip(column.labels, f1_thresholds(*together).tolist(), strict=True))
            rare[name] = [column.labels[n] for n in np.flatnonzero(~can_choose(*together))]
            columns[name] = column.model_copy(update={"thresholds": thresholds})
    return recipe.model_copy(update={"columns": columns}), rare

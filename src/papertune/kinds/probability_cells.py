"""Reading the probability columns of a predicted table."""

from collections.abc import Sequence

import numpy as np

from papertune.errors import TableError, quoted
from papertune.metrics.label_scores import SUM_TOLERANCE
from papertune.tables import Table

_REMEDY = (
    "Give the file that `papertune predict --probabilities` has written, or leave the columns of probabilities out."
)


def read_probabilities(table: Table, name: str, labels: Sequence[str], *, add_up: bool) -> list[list[float]] | None:
    """Read the probability of each label for each row.

    Args:
        table: The predicted table.
        name: The column's name.
        labels: The label set.
        add_up: Whether the probabilities of a row must add up to 1. If not, an empty cell of a row with other
            probabilities becomes NaN, since such a row asks about some of the labels only.

    Returns:
        A list for each row, empty without probabilities; None if the table lacks the column of a label.

    Raises:
        TableError: If a cell is not a probability, or those of a row do not add up.
    """
    titles = [f"{name}_probability_{label}" for label in labels]
    if any(title not in table.columns for title in titles):
        return None
    rows: list[list[float]] = []
    for row, cells in enumerate(table.frame.select(titles).rows()):
        probabilities: list[float] = []
        if any(cells):  # a row of an instruction file that asks for another column has none
            probabilities = [
                float("nan") if not add_up and not cell else read_probability(cell, table.where(row, title))
                for title, cell in zip(titles, cells, strict=True)
            ]
            total = float(np.sum(probabilities))  # summed like in the scores
            if add_up and abs(total - 1) > SUM_TOLERANCE:
                raise TableError(
                    f"{table.where(row, titles[0])}: the probabilities of the {len(titles)} labels of this row add "
                    f"up to {total:.6g} and not to 1. {_REMEDY}"
                )
        rows.append(probabilities)
    return rows


def read_confidences(table: Table, name: str) -> list[float | None] | None:
    """Read the confidence of each row's answer.

    Args:
        table: The predicted table.
        name: The column's name.

    Returns:
        A confidence for each row, None where its cell is empty; None if the table has none.

    Raises:
        TableError: If a cell is not a probability.
    """
    title = f"{name}_confidence"
    if title not in table.columns:
        return None
    cells = enumerate(table.column(title))
    return [read_probability(cell, table.where(row, title)) if cell.strip() else None for row, cell in cells]


def read_probability(cell: str, where: str) -> float:
    """Read a probability; a spreadsheet may have written `0,9`.

    Args:
        cell: The cell.
        where: Its place, for the message.

    Raises:
        TableError: If it is not a number from 0 to 1.
    """
    try:
        probability = float(cell.replace(",", "."))
    except ValueError:
        probability = float("nan")
    if not 0 <= probability <= 1:  # NaN fails too
        raise TableError(f"{where}: {quoted(cell)} is not a probability (a number from 0 to 1). {_REMEDY}")
    return probability

"""Predictions of a number column: reading, scoring and comparing them."""

from collections.abc import Sequence
from dataclasses import replace
from typing import Any

import numpy as np
from numpy.typing import NDArray

from papertune.errors import TableError
from papertune.evaluation.report.data import ColumnReport, SampleCell
from papertune.kinds.number.column import NumberColumn
from papertune.kinds.predictions import Predictions
from papertune.kinds.probability_cells import read_confidences
from papertune.metrics.number_scores import NumberScores, score_numbers, within_tolerance
from papertune.metrics.paired import PairedDifference, mean_difference
from papertune.prompts.examples import RowReader
from papertune.tables import Table


def read_predictions(table: Table, name: str, column: NumberColumn, decision: Any) -> Predictions:
    """Read predictions from a table.

    Raises:
        TableError: If a cell is not an allowed number, or a confidence is not a number from 0 to 1.
    """
    written = table.column(name)
    resolved = column.resolve_cells(written)
    cells: list[str] = []
    for row, cell in enumerate(written):
        # Cells that papertune has written are not read again.
        is_written = not cell or column.grammar.is_complete(cell)
        text = cell if is_written else column.read_answer(resolved.get(cell, cell))
        if text is None:
            problem = column.rules.problem(cell, name, column.rules.evidence(written))
            raise TableError(f"{table.where(row, name)}: {problem}")
        cells.append("" if column.is_not_stated(text) else text)
    return Predictions(cells, confidences=read_confidences(table, name))


def score(
    predicted: Predictions, gold: RowReader, name: str, column: NumberColumn, rows: Sequence[int]
) -> NumberScores | None:
    """Score predictions; None if no row has a gold answer."""
    known, values = _known(predicted, gold, name, column, rows)
    return score_numbers(known, values, _near(known, values, column)) if len(known) else None


def difference(
    first: Predictions, second: Predictions, gold: RowReader, name: str, column: NumberColumn, rows: Sequence[int]
) -> PairedDifference:
    """Compare two systems by the share within the tolerance."""
    both = (_known(each, gold, name, column, rows) for each in (first, second))
    near = [_near(known, values, column).astype(np.float64) for known, values in both]
    return mean_difference(near[0], near[1])


def sample(predicted: Predictions, row: int, gold: RowReader, name: str, column: NumberColumn) -> SampleCell:
    """Return a prediction with its confidence beside the gold number; both in words if none is stated."""
    confidence = None if predicted.confidences is None else predicted.confidences[row]
    cell = gold.given(row, name)
    answer = "" if cell is None else column.read_answer(cell) or ""
    return SampleCell(name, predicted.cells[row] or column.empty, answer, confidence)


def with_counts(report: ColumnReport, column: NumberColumn) -> ColumnReport:
    """Add the tolerance and the numbers of scored rows to a report."""
    scores = report.systems[0].scores if report.systems else None
    if not isinstance(scores, NumberScores):
        return report
    tolerance = f"at most {100 * column.tolerance:g}% of the table's number"
    if column.absolute_tolerance:
        tolerance += " or " + f"{column.absolute_tolerance:g} {column.unit}".rstrip()
    facts = {
        "within tolerance": f"{tolerance} away from it",
        "rows": (
            f"{scores.stated:,} with a number, {scores.rows - scores.stated:,} not stated; predicted: "
            f"{scores.predicted:,} numbers, {scores.rows - scores.predicted:,} not stated"
        ),
        "errors and Spearman": f"over the {scores.both:,} rows where both are numbers",
    }
    return replace(report, facts={**report.facts, **facts})


def _known(
    predicted: Predictions, gold: RowReader, name: str, column: NumberColumn, rows: Sequence[int]
) -> tuple[NDArray[np.float64], NDArray[np.float64]]:
    """Return the gold and the predicted numbers of the rows with a gold answer; NaN where none is stated."""
    cells = ((index, gold.given(row, name)) for index, row in enumerate(rows))
    answers = ((index, None if cell is None else column.read_answer(cell)) for index, cell in cells)
    known = [(index, answer) for index, answer in answers if answer is not None]
    numbers = [_number(answer, column) for _, answer in known]
    values = [_number(predicted.cells[index], column) for index, _ in known]
    return np.array(numbers, dtype=np.float64), np.array(values, dtype=np.float64)


def _number(answer: str, column: NumberColumn) -> float:
    return float("nan") if column.is_not_stated(answer) else float(answer)


def _near(gold: NDArray[np.float64], predicted: NDArray[np.float64], column: NumberColumn) -> NDArray[np.bool_]:
    return within_tolerance(gold, predicted, relative=column.tolerance, absolute=column.absolute_tolerance)

"""Predicted texts, scored and compared."""

from collections.abc import Sequence
from typing import Any

from papertune.kinds.predictions import Predictions
from papertune.kinds.probability_cells import read_confidences
from papertune.kinds.text.column import TextColumn
from papertune.metrics.paired import PairedDifference, mean_difference
from papertune.metrics.text_scores import TextScores, rouge_l_by_row, score_texts
from papertune.prompts.examples import RowReader
from papertune.tables import Table


def read_predictions(table: Table, name: str, column: TextColumn, decision: Any) -> Predictions:
    """Read answers, and their confidences if the table has them.

    Raises:
        TableError: If a confidence is not a number from 0 to 1.
    """
    cells = [column.cell_of(cell) for cell in table.column(name)]
    return Predictions(cells, confidences=read_confidences(table, name))


def score(
    predicted: Predictions, gold: RowReader, name: str, column: TextColumn, rows: Sequence[int]
) -> TextScores | None:
    """Score predictions; None if no row has a gold answer."""
    known = _known(gold, name, column, rows)
    return score_texts(list(known.values()), [predicted.cells[index] for index in known]) if known else None


def difference(
    first: Predictions, second: Predictions, gold: RowReader, name: str, column: TextColumn, rows: Sequence[int]
) -> PairedDifference:
    """Compare two systems by ROUGE-L."""
    known = _known(gold, name, column, rows)
    texts = list(known.values())
    one, other = (rouge_l_by_row(texts, [each.cells[index] for index in known]) for each in (first, second))
    return mean_difference(one, other)


def _known(gold: RowReader, name: str, column: TextColumn, rows: Sequence[int]) -> dict[int, str]:
    """Return the gold cells by their places among the predictions; "" where `empty` makes that an answer."""
    cells = ((index, gold.given(row, name)) for index, row in enumerate(rows))
    answers = ((index, None if cell is None else column.read_answer(cell)) for index, cell in cells)
    return {index: column.cell_of(answer) for index, answer in answers if answer is not None}

"""Predicted texts, scored and compared."""

from collections.abc import Sequence

from papertune.kinds.predictions import Predictions
from papertune.kinds.text.cells import read_answer
from papertune.kinds.text.column import TextColumn
from papertune.kinds.values import ColumnValues, texts_of
from papertune.metrics.paired import PairedDifference, mean_difference
from papertune.metrics.text_scores import TextScores, rouge_l_by_row, score_texts
from papertune.prompts.examples import RowReader
from papertune.tables import Table


def predictions(values: ColumnValues, column: TextColumn) -> Predictions:
    """Return the answers and their confidences; none for a row that was not asked."""
    answers = [None if value is None else read_answer(value) for value in texts_of(values).to_list()]
    cells = ["" if answer is None else column.cell_of(answer[0]) for answer in answers]
    return Predictions(cells, confidences=[None if answer is None else answer[1] for answer in answers])


def read_predictions(table: Table, name: str, column: TextColumn) -> Predictions:
    """Read answers, and their confidences if the table has them."""
    cells = [column.cell_of(cell) for cell in table.column(name)]
    title = f"{name}_confidence"
    if title not in table.columns:
        return Predictions(cells)
    return Predictions(cells, confidences=[_number(cell) for cell in table.column(title)])


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


def _number(cell: str) -> float | None:
    try:
        return float(cell)
    except ValueError:
        return None

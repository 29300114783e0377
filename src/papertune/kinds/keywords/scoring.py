"""Predicted keywords, scored and compared."""

from collections.abc import Sequence
from typing import Any

from papertune.kinds.keywords.column import KeywordsSpec
from papertune.kinds.predictions import Predictions
from papertune.metrics.keyword_scores import KeywordScores, f1_at_5_by_paper, score_keywords
from papertune.metrics.paired import PairedDifference, mean_difference
from papertune.prompts.examples import RowReader
from papertune.tables import Table


def read_predictions(table: Table, name: str, column: KeywordsSpec, decision: Any) -> Predictions:
    """Read keyword lists."""
    return Predictions(table.column(name))


def score(
    predicted: Predictions, gold: RowReader, name: str, column: KeywordsSpec, rows: Sequence[int]
) -> KeywordScores | None:
    """Score predictions; None if no row has keywords."""
    known = _known(gold, name, column, rows)
    if not known:
        return None
    lists = [column.read_list(predicted.cells[index]) for index, _, _ in known]
    documents = [gold.document(row) for _, row, _ in known]
    return score_keywords([keywords for _, _, keywords in known], lists, documents)


def difference(
    first: Predictions, second: Predictions, gold: RowReader, name: str, column: KeywordsSpec, rows: Sequence[int]
) -> PairedDifference:
    """Compare two systems by F1@5."""
    known = _known(gold, name, column, rows)
    true = [keywords for _, _, keywords in known]
    f1 = [
        f1_at_5_by_paper(true, [column.read_list(each.cells[index]) for index, _, _ in known])
        for each in (first, second)
    ]
    return mean_difference(f1[0], f1[1])


def _known(gold: RowReader, name: str, column: KeywordsSpec, rows: Sequence[int]) -> list[tuple[int, int, list[str]]]:
    """Return the rows with keywords: their place among the predictions, the row, and the keywords."""
    lists = ((index, row, column.read_gold(gold.given(row, name))) for index, row in enumerate(rows))
    return [(index, row, keywords) for index, row, keywords in lists if keywords]

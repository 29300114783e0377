"""Simple baselines of keyword columns."""

import time
from collections.abc import Sequence

from papertune.evaluation.systems.outputs import Fill, SystemOutput, TrainingRows, rows_per_s
from papertune.kinds.keywords.by_words.tfidf import TfidfKeywords
from papertune.kinds.keywords.cells import keyword_cell
from papertune.kinds.keywords.column import KeywordsSpec
from papertune.kinds.predictions import Predictions


def baselines(column: KeywordsSpec) -> dict[str, Fill]:
    """Return the baselines by the names that reports show, the strongest first."""
    return {"TF-IDF n-grams": lambda learned, documents: _ngrams(column, learned, documents)}


def keyword_predictions(lists: Sequence[Sequence[str]], column: KeywordsSpec) -> Predictions:
    """Return keyword lists as predictions."""
    return Predictions([keyword_cell(words, column.output_separator) for words in lists])


def _ngrams(column: KeywordsSpec, learned: TrainingRows, documents: Sequence[str]) -> SystemOutput:
    started = time.monotonic()
    model = TfidfKeywords(learned.documents)
    trained = time.monotonic()
    lists = model.predict(documents)
    rate = rows_per_s(len(documents), trained)
    return SystemOutput(keyword_predictions(lists, column), rate, trained - started, model.parameters)

"""Simple baselines of a number column."""

import time
from collections.abc import Callable, Sequence
from decimal import Decimal
from functools import partial
from statistics import median
from typing import Protocol

import numpy as np

from papertune.evaluation.systems.baselines import TfidfLogistic, fit_tfidf
from papertune.evaluation.systems.outputs import Fill, SystemOutput, TrainingRows, rows_per_s
from papertune.kinds.number.column import NumberColumn
from papertune.kinds.predictions import Predictions

# How many similar training rows a number is taken from.
NEIGHBOURS = 5

# Positive numbers are regressed on a logarithmic scale if the largest is more than this many times the median.
_SKEWED = 20


class _Model(Protocol):
    parameters: int

    def __call__(self, documents: Sequence[str]) -> list[str]: ...


def baselines(column: NumberColumn) -> dict[str, Fill]:
    """Return the baselines by the names that reports show."""
    models: dict[str, Callable[[NumberColumn, TrainingRows], _Model]] = {
        "TF-IDF + ridge regression": _Ridge,
        "TF-IDF nearest neighbours": _Neighbours,
        "first number in the text": _FirstNumber,
        "median": _Median,
    }
    return {title: partial(_fill, model, column) for title, model in models.items()}


def _fill(
    model: Callable[[NumberColumn, TrainingRows], _Model],
    column: NumberColumn,
    learned: TrainingRows,
    documents: Sequence[str],
) -> SystemOutput:
    started = time.monotonic()
    trained = model(column, learned)
    training_s = time.monotonic() - started
    started = time.monotonic()
    cells = trained(documents)
    return SystemOutput(Predictions(cells), rows_per_s(len(documents), started), training_s, trained.parameters)


class _Writer:
    """Writes predicted numbers as the training rows have them: no more decimals, and none beyond their range.

    Args:
        column: The column.
        numbers: The numbers of the training rows.
    """

    def __init__(self, column: NumberColumn, numbers: Sequence[str]) -> None:
        self._column = column
        values = list(map(Decimal, numbers))
        self._range = (min(values), max(values)) if values else None
        self._decimals = 0 if column.integer else max((len(text.partition(".")[2]) for text in numbers), default=0)

    def __call__(self, value: float) -> str:
        if self._range is None:
            return ""
        low, high = self._range
        return self._column.grammar.write(min(max(round(Decimal(value), self._decimals), low), high)) or ""


class _Median:
    """Writes the median of the training rows; nothing if most of them state no number."""

    parameters = 0

    def __init__(self, column: NumberColumn, learned: TrainingRows) -> None:
        numbers = _numbers(column, learned)
        stated = 2 * len(numbers) >= len(learned.answers)
        self._cell = _Writer(column, numbers)(median(map(float, numbers))) if stated and numbers else ""

    def __call__(self, documents: Sequence[str]) -> list[str]:
        return [self._cell] * len(documents)


class _FirstNumber:
    """Writes the first number of a document that the column allows; nothing if there is none."""

    parameters = 0

    def __init__(self, column: NumberColumn, learned: TrainingRows) -> None:
        self._rules = column.rules

    def __call__(self, documents: Sequence[str]) -> list[str]:
        return [next(iter(self._rules.find(document)), "") for document in documents]


class _Neighbours:
    """Writes the median of the training rows with the most similar tf-idf; nothing if most of them state no number."""

    parameters = 0

    def __init__(self, column: NumberColumn, learned: TrainingRows) -> None:
        from sklearn.neighbors import NearestNeighbors

        self._answers = ["" if column.is_not_stated(answer) else answer for answer in learned.answers]
        self._write = _Writer(column, _numbers(column, learned))
        fitted = fit_tfidf(learned.documents)
        self._vectorizer = None
        if fitted is not None:
            self._vectorizer, terms = fitted
            count = min(NEIGHBOURS, len(self._answers))
            self._model = NearestNeighbors(n_neighbors=count, metric="cosine").fit(terms)

    def __call__(self, documents: Sequence[str]) -> list[str]:
        if self._vectorizer is None or not documents:
            return [self._cell(self._answers)] * len(documents)
        rows = self._model.kneighbors(self._vectorizer.transform(documents), return_distance=False)
        return [self._cell([self._answers[index] for index in row]) for row in rows]

    def _cell(self, answers: Sequence[str]) -> str:
        numbers = [float(answer) for answer in answers if answer]
        return self._write(median(numbers)) if numbers and 2 * len(numbers) >= len(answers) else ""


class _Ridge:
    """Ridge regression on the tf-idf of the rows with a number; logistic regression decides whether there is one.

    Attributes:
        parameters: Number of trained coefficients.
    """

    def __init__(self, column: NumberColumn, learned: TrainingRows) -> None:
        from sklearn.compose import TransformedTargetRegressor
        from sklearn.linear_model import Ridge

        stated = [not column.is_not_stated(answer) for answer in learned.answers]
        numbers = _numbers(column, learned)
        self._write = _Writer(column, numbers)
        self._is_stated = TfidfLogistic(learned.documents, ["1" if each else "0" for each in stated], ["1", "0"])
        self.parameters = self._is_stated.parameters
        self._constant = median(map(float, numbers)) if numbers else 0.0
        texts = [document for document, each in zip(learned.documents, stated, strict=True) if each]
        fitted = fit_tfidf(texts) if texts else None
        self._vectorizer = None
        if fitted is not None:
            self._vectorizer, terms = fitted
            values = np.array([float(text) for text in numbers])
            # Counts and amounts of very different size, of which the largest would decide all.
            is_skewed = values.min() > 0 and values.max() > _SKEWED * np.median(values)
            scale = {"func": np.log, "inverse_func": np.exp} if is_skewed else {}
            self._model = TransformedTargetRegressor(Ridge(), **scale).fit(terms, values)
            self.parameters += self._model.regressor_.coef_.size + 1

    def __call__(self, documents: Sequence[str]) -> list[str]:
        values = [self._constant] * len(documents)
        if self._vectorizer is not None and documents:
            values = self._model.predict(self._vectorizer.transform(documents)).tolist()
        stated, _ = self._is_stated.predict(documents)
        return [self._write(value) if each == "1" else "" for value, each in zip(values, stated, strict=True)]


def _numbers(column: NumberColumn, learned: TrainingRows) -> list[str]:
    """Return the numbers of the training rows."""
    return [answer for answer in learned.answers if not column.is_not_stated(answer)]

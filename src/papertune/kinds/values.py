"""The values of a model for all rows of a table, in little memory.

A Python list of texts or pairs of floats takes some hundred bytes a row. Here a row takes 8 bytes for each label, and
for a text its UTF-8 bytes and 24 more.
"""

import re
from collections.abc import Iterable, Iterator, Sequence
from itertools import islice
from typing import Protocol

import numpy as np
import polars as pl
from numpy.typing import NDArray

from papertune.kinds.decoder import Value

# The values of one batch: for each question of the recipe a value for each row, None where it was not asked.
BatchValues = dict[str, list[Value | None]]

# The values of a table for one column of the recipe, in table order. With labels: their probabilities in the recipe's
# order, float64, shape (rows, labels), NaN in rows that were not asked. Without: text, null in those rows.
ColumnValues = NDArray[np.float64] | pl.Series

# Texts that are Python objects at the same time, which take some 80 bytes each beside their characters.
_PART = 1024


class Collector(Protocol):
    """Collects the values of one column from batches, in any order of rows."""

    def put(self, rows: Sequence[int], values: BatchValues) -> None:
        """Add the values of a batch.

        Args:
            rows: Its rows.
            values: For each question a value for each of these rows.
        """

    def values(self) -> ColumnValues:
        """Return all values in table order."""


class ProbabilityCollector:
    """Collects label probabilities.

    Args:
        name: The question whose values are the probabilities of all labels; or a question for each label, whose first
            probability is used.
        rows: Number of rows.
        labels: Number of labels.
    """

    def __init__(self, name: str | Sequence[str], rows: int, labels: int) -> None:
        self._name = name
        self._probabilities = np.full((rows, labels), np.nan)

    def put(self, rows: Sequence[int], values: BatchValues) -> None:
        """Add the values of a batch; see `Collector`."""
        if isinstance(self._name, str):
            missing = [np.nan] * self._probabilities.shape[1]
            self._probabilities[rows] = [missing if cell is None else cell for cell in values[self._name]]
            return
        for number, question in enumerate(self._name):
            if question in values:
                first = [np.nan if cell is None else float(cell[0]) for cell in values[question]]
                self._probabilities[rows, number] = first

    def values(self) -> ColumnValues:
        """Return the probabilities, float64, shape (rows, labels); NaN where a row was not asked."""
        return self._probabilities


class TextCollector:
    """Collects texts.

    Args:
        name: The question.
        rows: Number of rows.
    """

    def __init__(self, name: str, rows: int) -> None:
        self._name = name
        self._texts = _Texts()
        # Position of the text of a row; -1 without one, which stays null.
        self._places = np.full(rows, -1, dtype=np.int64)
        self._put = 0

    def put(self, rows: Sequence[int], values: BatchValues) -> None:
        """Add the values of a batch; see `Collector`."""
        self._texts.extend(values[self._name])
        self._places[rows] = range(self._put, self._put + len(rows))
        self._put += len(rows)

    def values(self) -> ColumnValues:
        """Return the texts; null where a row was not asked."""
        places = pl.Series(self._places, dtype=pl.Int64).replace(-1, None)
        return self._texts.series(self._name).gather(places)


def probabilities_of(values: ColumnValues) -> NDArray[np.float64]:
    """Return the values of a column with labels."""
    assert isinstance(values, np.ndarray)
    return values


def probability_series(
    name: str, labels: Sequence[str], probabilities: NDArray[np.float64], titles: Sequence[str]
) -> Iterator[tuple[str, pl.Series]]:
    """Yield the probability columns among `titles`, rounded to six digits; the journal keeps all digits."""
    for label, column in zip(labels, probabilities.T, strict=True):
        if (title := f"{name}_probability_{label}") in titles:
            yield title, text_series(title, ("" if p != p else f"{p:.6f}" for p in column))


def texts_of(values: ColumnValues) -> pl.Series:
    """Return the values of a column with texts."""
    assert isinstance(values, pl.Series)
    return values


# Control characters and noncharacters: a model can generate them, but tables cannot hold them.
_UNWRITABLE = re.compile("[\x00-\x08\x0b\x0c\x0e-\x1f\x7f-\x9f\ufffe\uffff]")


def writable(text: str) -> str:
    """Replace characters that tables cannot hold by blanks."""
    return _UNWRITABLE.sub(" ", text)


def text_series(name: str, texts: Iterable[str | None]) -> pl.Series:
    """Make a column of texts without a list of all of them."""
    collected = _Texts()
    left = iter(texts)
    while part := list(islice(left, _PART)):
        collected.extend(part)
    return collected.series(name)


def each_text(series: pl.Series) -> Iterator[str | None]:
    """Yield the texts of a column.

    Iterating over a series itself would make Python objects of 25,000 rows at once.
    """
    for start in range(0, len(series), _PART):
        yield from series[start : start + _PART].to_list()


class _Texts:
    def __init__(self) -> None:
        self._parts: list[pl.Series] = [pl.Series(dtype=pl.String)]
        self._last: list[str | None] = []

    def extend(self, texts: Iterable[Value | None]) -> None:
        self._last.extend(None if text is None else str(text) for text in texts)
        if len(self._last) >= _PART:
            self._close_part()

    def series(self, name: str) -> pl.Series:
        self._close_part()
        return pl.concat(self._parts, rechunk=False).alias(name)

    def _close_part(self) -> None:
        self._parts.append(pl.Series(self._last, dtype=pl.String))
        self._last = []

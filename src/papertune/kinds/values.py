"""What the model has said of all rows of a table, in little memory.

A Python list of a million texts or pairs of floats takes some hundred bytes a row. Here a row takes 8 bytes for each
label, and for a keyword list its UTF-8 bytes and 24 more.
"""

from collections.abc import Iterable, Iterator, Sequence
from itertools import islice

import numpy as np
import polars as pl
from numpy.typing import NDArray

from papertune.inference.predictor import Value
from papertune.kinds import LabelColumn, LabelsColumn
from papertune.recipe import Recipe

# What the model says of one batch: for each of the recipe's questions a value for each row, None where it is not asked.
BatchValues = dict[str, list[Value | None]]

# What it says of a table, for one column of the recipe, in table order. A label, or labels: their probabilities in the
# recipe's order, float64, shape (rows, labels), NaN in the rows that do not ask for them; those of a labels column are
# each of a yes, so their sum is anything. Keywords: text, null likewise.
ColumnValues = NDArray[np.float64] | pl.Series

# So many texts at a time are Python objects, which take some 80 bytes each beside what they say.
_PART = 1024


class TableValues:
    """Collects the values of batches, in any order of rows.

    Args:
        recipe: The columns.
        rows: How many rows there are.
    """

    def __init__(self, recipe: Recipe, rows: int) -> None:
        self._labels: dict[str, NDArray[np.float64]] = {}
        # Where the yes of a label stands: the column, and which of its labels.
        self._yes: dict[str, tuple[str, int]] = {}
        self._texts: dict[str, _Texts] = {}
        for name, column in recipe.columns.items():
            if isinstance(column, LabelColumn | LabelsColumn):
                self._labels[name] = np.full((rows, len(column.labels)), np.nan)
                if isinstance(column, LabelsColumn):
                    self._yes |= {question: (name, n) for n, question in enumerate(recipe.questions_of(name))}
            else:
                self._texts[name] = _Texts()
        # Where the texts of a row have been put; where none have, it is -1, and they stay null.
        self._places = np.full(rows if self._texts else 0, -1, dtype=np.int64)
        self._put = 0

    def put(self, rows: Sequence[int], values: BatchValues) -> None:
        """Take the values of a batch.

        Args:
            rows: Its rows.
            values: For each question a value for each of these rows.
        """
        for name, cells in values.items():
            if name in self._yes:
                column, number = self._yes[name]
                self._labels[column][rows, number] = [np.nan if cell is None else float(cell[0]) for cell in cells]
            elif name in self._labels:
                missing = [np.nan] * self._labels[name].shape[1]
                self._labels[name][rows] = [missing if cell is None else cell for cell in cells]
            else:
                self._texts[name].extend(cells)
        if self._texts:
            self._places[rows] = range(self._put, self._put + len(rows))
            self._put += len(rows)

    def columns(self) -> dict[str, ColumnValues]:
        """Give all values by column, in table order."""
        places = pl.Series(self._places, dtype=pl.Int64).replace(-1, None)
        texts = {name: texts.series(name).gather(places) for name, texts in self._texts.items()}
        return {**self._labels, **texts}


def text_series(name: str, texts: Iterable[str | None]) -> pl.Series:
    """Make a column of texts that are made one after the other, without a list of all of them."""
    collected = _Texts()
    left = iter(texts)
    while part := list(islice(left, _PART)):
        collected.extend(part)
    return collected.series(name)


def each_text(series: pl.Series) -> Iterator[str | None]:
    """Give the texts of a column one after the other.

    A series that is iterated over by itself makes Python objects of 25,000 rows at once.
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

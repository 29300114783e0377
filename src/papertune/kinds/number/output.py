"""What the journal keeps of an answer, and the cells that are written from it."""

import json

import polars as pl

from papertune.kinds.decoder import Value
from papertune.kinds.values import ColumnValues, each_text, text_series, texts_of


def as_value(text: str, confidence: float) -> Value:
    """Return an answer as the journal keeps it: JSON of its text, "" where no number is stated, and its confidence."""
    return json.dumps([text, confidence])


def read_value(value: str) -> tuple[str, float]:
    """Return the text and the confidence of an answer."""
    text, confidence = json.loads(value)
    return text, confidence


def number_cells(values: ColumnValues) -> pl.Series:
    """Return the numbers of all rows; "" where none is stated, null where a row was not asked."""
    return text_series("", (None if each is None else read_value(each)[0] for each in each_text(texts_of(values))))


def confidence_cells(values: ColumnValues, title: str) -> pl.Series:
    """Return the confidences of all rows, rounded to what a person reads."""
    texts = each_text(texts_of(values))
    return text_series(title, (None if text is None else f"{read_value(text)[1]:.6f}" for text in texts))

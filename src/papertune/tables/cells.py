"""Conversion of typed values (Parquet, JSON, data frames) to text, and of rows of text to columns."""

import datetime
import json
import re
import uuid
from collections.abc import Iterable, Mapping
from decimal import Decimal
from typing import TYPE_CHECKING, Any

from papertune.tables.limits import check_columns, check_filled

if TYPE_CHECKING:
    import polars as pl

# Rows become columns in chunks of at most this size: Python's strings need several times the memory of polars's, and
# only one chunk of them exists at a time.
CHUNK_ROWS = 4096
CHUNK_CHARACTERS = 16_000_000

# A character that can be seen; the pattern means the same to Python and to polars. Cells copied from web pages have
# zero-width characters where they look empty.
NOT_BLANK = r"[^\s\x1c-\x1f\u200b-\u200f\u2060\ufeff\u00ad]"
_NOT_BLANK = re.compile(NOT_BLANK)

# Above this, float64 does not have every whole number.
_MAX_EXACT_WHOLE = 2**53


class JsonNumber(str):
    """A number as a JSON file has it: 1.10 stays 1.10 and a 30-digit id keeps its digits."""

    __slots__ = ()


def is_blank(cell: str) -> bool:
    """Whether a cell is empty, or has only blanks and zero-width characters."""
    return _NOT_BLANK.search(cell) is None


def text_of(value: object) -> str:
    """Return a value of any common type as the text of a cell.

    Args:
        value: Text, a number, a boolean, a date or time, bytes in UTF-8, a list or dict (they become JSON text);
            None, NaN and the missing values of pandas become "".

    Raises:
        ValueError: If the value has no text form. The message is a clause without subject and full stop, to be put
            after the place: "is of the type ...".
    """
    match value:
        case str():
            # JSON's "\ud800" is half a character, which no encoding can write.
            if not value.isascii():
                try:
                    value.encode()
                except UnicodeEncodeError as error:
                    half = ascii(value[error.start])[1:-1]
                    raise ValueError(f"has half of a surrogate pair ({half}), which is not a character") from None
            return str.__str__(value)
        case None:
            return ""
        case bool():
            return "true" if value else "false"
        case float():
            return "" if value != value else float.__repr__(value)
        case int() | Decimal() | uuid.UUID() | datetime.timedelta():
            return str(value)
        case bytes():
            try:
                return value.decode()
            except UnicodeDecodeError:
                raise ValueError("is binary data and not UTF-8 text") from None
        case _ if type(value).__name__ in ("NAType", "NaTType"):  # pandas; NaT is also a datetime
            return ""
        case datetime.datetime():
            # Excel and pandas have no dates, only midnights.
            is_date = value.tzinfo is None and value.time() == datetime.time.min
            return value.date().isoformat() if is_date else value.isoformat(sep=" ")
        case datetime.date() | datetime.time():
            return value.isoformat()
        case list() | tuple() | dict():
            try:
                return _json_text(value)
            except RecursionError:
                raise ValueError("is nested too deeply") from None
        case _:
            for method in ("tolist", "to_list"):  # numpy's scalars and arrays; the series of polars
                if hasattr(value, method):
                    return text_of(getattr(value, method)())
            raise ValueError(f"is of the type {type(value).__name__}, which has no text form")


def _json_text(value: Any) -> str:
    """Return a nested value as JSON; a number is written as the source has it."""
    match value:
        case dict():
            return "{" + ", ".join(f"{_json_text(text_of(key))}: {_json_text(value[key])}" for key in value) + "}"
        case list() | tuple():
            return "[" + ", ".join(map(_json_text, value)) + "]"
        case JsonNumber():
            return str.__str__(value)
        case float() if value != value:
            return "null"
        case None | bool() | int() | float():
            return json.dumps(value)
        case _ if hasattr(value, "tolist"):
            return _json_text(value.tolist())
        case _:
            return json.dumps(text_of(value), ensure_ascii=False)


def text_series(series: "pl.Series") -> tuple["pl.Series", list[tuple[int, str]]]:
    """Convert a polars column of any type to text.

    If all floats of a column are whole numbers, they are written without ".0": pandas turns an integer column with a
    missing cell into floats, and the label is 1, not 1.0.

    Args:
        series: Values of any type.

    Returns:
        The column as `pl.String` without nulls; the rows (from 0) that have no text form, each with the reason.
    """
    import polars as pl

    dtype = series.dtype
    if dtype.is_float():
        series = series.fill_nan(None)
        whole = ((series == series.round()) & (series.abs() < _MAX_EXACT_WHOLE)).all()
        texts = (series.cast(pl.Int64) if whole else series).cast(pl.String)
    elif dtype == pl.String or dtype.is_integer() or dtype in (pl.Boolean, pl.Categorical, pl.Enum, pl.Null):
        texts = series.cast(pl.String)
    else:
        cells, bad = text_cells(series.to_list())
        return pl.Series(series.name, cells, dtype=pl.String), bad
    return texts.fill_null(""), []


def text_cells(values: Iterable[object]) -> tuple[list[str], list[tuple[int, str]]]:
    """Convert values of any type to text.

    Returns:
        The texts; the positions (from 0) of values without a text form, each with the reason. Their text is "".
    """
    cells, bad = [], []
    for row, value in enumerate(values):
        try:
            cells.append(text_of(value))
        except ValueError as error:
            cells.append("")
            bad.append((row, str(error)))
    return cells, bad


# What a cell was in JSON, where it was not text: another value, of which the cell is the JSON text; null; or not there.
JSON_TEXT, JSON_VALUE, JSON_NULL, JSON_MISSING = range(4)


def json_form(value: object) -> int:
    """Return what a value is in JSON, as one of the `JSON_...` constants."""
    match value:
        case JsonNumber():
            return JSON_VALUE
        case None:
            return JSON_NULL
        case float() if value != value:
            return JSON_NULL
        case bool() | int() | float() | list() | tuple() | dict():
            return JSON_VALUE
        case _:
            return JSON_TEXT


class RowsToFrame:
    """Collects rows of text into a frame; a column that a row lacks is "" there.

    Args:
        source: What messages call the rows.
    """

    def __init__(self, source: str) -> None:
        self._source = source
        self._names: dict[str, None] = {}  # a set that keeps its order
        self._rows: list[dict[str, str]] = []
        self._row_forms: list[Mapping[str, int]] = []
        self._characters = self._filled = 0
        self._frames: list[pl.DataFrame] = []
        self._forms: dict[str, bytearray] = {}
        self._flushed = 0

    def add(self, row: dict[str, str], forms: Mapping[str, int] | None = None) -> None:
        """Add one row; its new columns go after the known ones.

        Args:
            row: The cells.
            forms: What they were in JSON, by column; text where it is not named.

        Raises:
            TableError: If there are too many columns, or most rows lack most of them.
        """
        for name in row:
            self._names.setdefault(name)
        self._rows.append(row)
        self._row_forms.append(forms or {})
        self._characters += sum(map(len, row.values()))
        if len(self._rows) == CHUNK_ROWS or self._characters > CHUNK_CHARACTERS:
            self._flush()

    def frame(self) -> "pl.DataFrame":
        """Return all rows so far."""
        self._flush()
        return stack(self._frames)

    def forms(self) -> dict[str, bytes]:
        """Return what the cells were in JSON, a byte for each row; columns that are all text are left out."""
        self._flush()
        return {name: bytes(forms) for name, forms in self._forms.items() if any(forms)}

    def _flush(self) -> None:
        if self._rows:
            self._filled += sum(map(len, self._rows))
            check_columns(len(self._names), self._source)
            check_filled(
                self._flushed + len(self._rows),
                len(self._names),
                self._filled,
                self._source,
                "Give all rows the same columns.",
            )
            columns = {name: [row.get(name, "") for row in self._rows] for name in self._names}
            self._frames.append(text_frame(columns))
            for name in self._names:
                known = self._forms.setdefault(name, bytearray([JSON_MISSING]) * self._flushed)
                known += bytes(
                    forms.get(name, JSON_TEXT if name in row else JSON_MISSING)
                    for row, forms in zip(self._rows, self._row_forms, strict=True)
                )
            self._flushed += len(self._rows)
            self._rows, self._row_forms, self._characters = [], [], 0


def text_frame(columns: dict[str, list[str]]) -> "pl.DataFrame":
    """Build a frame of text columns."""
    import polars as pl

    return pl.DataFrame({name: pl.Series(name, cells, dtype=pl.String) for name, cells in columns.items()})


def stack(frames: "list[pl.DataFrame]") -> "pl.DataFrame":
    """Stack frames of text without copying them; missing columns become ""."""
    import polars as pl

    if not frames:
        return pl.DataFrame()
    whole = pl.concat(frames, how="diagonal", rechunk=False)
    return whole.fill_null("") if any(column.null_count() for column in whole.get_columns()) else whole

"""Checks a Parquet file before polars reads it: its footer and page headers, which say how much there is to unpack.

Both are structures in Thrift's compact protocol (Parquet format specification, parquet.thrift). A few bytes can stand
for a billion empty cells, or for the same long text in each of them.
"""

import struct
from collections.abc import Iterator
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, BinaryIO

from papertune.errors import TableError
from papertune.tables.limits import MAX_LACKING_CELLS, REFUSED, check_columns, max_unpacked

if TYPE_CHECKING:
    import polars as pl

_MAGIC = b"PAR1"
# Cells that are the same or empty are stored together: a byte can hold some.
_MAX_CELLS_PER_BYTE = 4
# A page header has some tens of bytes, and two values of its column.
_HEADER_BYTES = 1 << 12
_MAX_HEADER_BYTES = 1 << 24
_MAX_DEPTH = 16
# A list of structures takes four levels of columns.
_MAX_COLUMN_DEPTH = 48
# The longest list is the schema, with up to three entries for a column.
_MAX_LIST = 100_000


class _Damaged(Exception):
    """The file is not what a Parquet file is; the message is a clause."""


class _TooShort(_Damaged):
    """A structure goes on behind the bytes that are there."""


@dataclass
class _Compact:
    """Reads Thrift's compact protocol: a structure becomes a dict from field numbers to values.

    Attributes:
        data: The bytes.
        position: Where the next value begins.
    """

    data: bytes
    position: int = 0

    def fields(self, depth: int = 0) -> Iterator[tuple[int, Any]]:
        """Read a structure, and yield each field as it is read."""
        if depth > _MAX_DEPTH:
            raise _Damaged("its footer is nested too deeply")
        field = 0
        while head := self._byte():
            field = field + (head >> 4) if head >> 4 else self._signed()
            yield field, self._value(head & 15, depth)

    def _value(self, kind: int, depth: int) -> Any:
        match kind:
            case 1 | 2:
                return kind == 1
            case 3:
                return self._byte()
            case 4 | 5 | 6:
                return self._signed()
            case 7:
                return self._take(8)
            case 8:
                return self._take(self._unsigned())
            case 9 | 10:
                return self._list(depth)
            case 12:
                return dict(self.fields(depth + 1))
        raise _Damaged("its footer has values of an unknown type")

    def _list(self, depth: int) -> list[Any]:
        head = self._byte()
        size = self._unsigned() if head >> 4 == 15 else head >> 4
        if size > _MAX_LIST:
            raise _Damaged(f"its footer has a list of {size:,} entries")
        kind = head & 15
        # In a list, true and false are bytes.
        return [self._byte() if kind in (1, 2) else self._value(kind, depth + 1) for _ in range(size)]

    def _byte(self) -> int:
        return self._take(1)[0]

    def _take(self, count: int) -> bytes:
        end = self.position + count
        if end > len(self.data):
            raise _TooShort("its footer is incomplete")
        taken = self.data[self.position : end]
        self.position = end
        return taken

    def _unsigned(self) -> int:
        number = shift = 0
        while True:
            byte = self._byte()
            number |= (byte & 127) << shift
            if byte < 128:
                return number
            shift += 7
            if shift > 63:
                raise _Damaged("its footer has a number that is too large")

    def _signed(self) -> int:
        number = self._unsigned()
        return (number >> 1) ^ -(number & 1)


def check_parquet(file: BinaryIO, size: int, source: str) -> int:
    """Check that a Parquet file has the rows that its footer says, and unpacks to no more than a table of its size.

    Args:
        file: The bytes, seekable.
        size: Their number.
        source: What messages call the file.

    Returns:
        The number of rows.

    Raises:
        TableError: If the footer or a page header cannot be read, contradicts another one, or asks for too much.
    """
    try:
        footer = _footer(file, size, source)
        schema = _structures(footer, 2)
        groups = _structures(footer, 4)
        if sum(_number(group, 3) for group in groups) != _number(footer, 3):
            raise _Damaged("its footer gives two numbers of rows")
        cells = unpacked = 0
        is_flat = not any(element.get(3) == 2 for element in schema)
        for group in groups:
            for chunk in _structures(group, 1):
                # Of an encrypted column, the metadata is hidden as well.
                if 3 in chunk and 8 not in chunk:
                    values, unpacked_bytes = _check_chunk(file, size, _structure(chunk, 3))
                    if is_flat and values != _number(group, 3):
                        raise _Damaged("a column has not as many cells as the footer has rows")
                    cells += values
                    unpacked += unpacked_bytes
        if cells > MAX_LACKING_CELLS + _MAX_CELLS_PER_BYTE * size or unpacked > max_unpacked(size):
            raise _too_large(source)
        return _number(footer, 3)
    except _Damaged as error:
        raise TableError(f"{source} is not a valid Parquet file ({error}). Export it again.") from None


def group_rows(file: BinaryIO, size: int, source: str) -> list[int]:
    """Return the number of rows of each row group, from the footer of a file that `check_parquet` has checked.

    Args:
        file: The bytes, seekable.
        size: Their number.
        source: What messages call the file.
    """
    return [_number(group, 3) for group in _structures(_footer(file, size, source), 4)]


def check_texts(frame: "pl.DataFrame", size: int, source: str) -> None:
    """Check that the texts of a frame are no longer than those of a table.

    In polars, cells of one text share its memory: a long one in many cells takes none before it is used.

    Args:
        frame: What polars has read.
        size: The size of its file in bytes.
        source: What messages call the file.

    Raises:
        TableError: If they are.
    """
    if sum(map(_text_bytes, frame.get_columns())) > max_unpacked(size):
        raise _too_large(source)


def _text_bytes(series: "pl.Series") -> int:
    """Return the length of all texts in bytes."""
    import polars as pl

    match series.dtype:
        case pl.List() | pl.Array():
            return _text_bytes(series.explode())
        case pl.Struct():
            return sum(_text_bytes(series.struct.field(field)) for field in series.struct.fields)
        case pl.Categorical() | pl.Enum():
            counts = series.value_counts(name="times")
            return int((counts[series.name].cast(pl.String).str.len_bytes() * counts["times"]).sum())
        case pl.String():
            return int(series.str.len_bytes().cast(pl.UInt64).sum())
        case pl.Binary():
            return int(series.bin.size().cast(pl.UInt64).sum())
    return 0


def _too_large(source: str) -> TableError:
    return TableError(f"{source} unpacks to far more than a table of its size does. {REFUSED}")


def _footer(file: BinaryIO, size: int, source: str) -> dict[int, Any]:
    """Read FileMetaData, which stands before its length and the last four bytes."""
    file.seek(max(size - 8, 0))
    tail = file.read(8)
    if size < 12 or tail[4:] != _MAGIC:
        raise _Damaged(
            "its footer is encrypted" if tail[4:] == b"PARE" else "it does not end as one; it may be incomplete"
        )
    (length,) = struct.unpack("<I", tail[:4])
    if length > size - 12:
        raise _Damaged("its footer is longer than the file")
    file.seek(size - 8 - length)
    footer = {}
    for field, value in _Compact(file.read(length)).fields():
        footer[field] = value
        if field == 2:
            # Now, since the footer of a million columns takes minutes.
            _check_schema(_structures(footer, 2), source)
    return footer


def _check_schema(schema: list[dict[int, Any]], source: str) -> None:
    """Check the number of columns, and how deeply they are nested."""
    check_columns(sum(1 for element in schema if not element.get(5)), source)
    left: list[int] = []  # how many children are still to come, for each open element
    for element in schema:
        if element.get(5):
            left.append(_number(element, 5))
            if len(left) > _MAX_COLUMN_DEPTH:
                raise _Damaged("its columns are nested too deeply")
            continue
        while left:
            left[-1] -= 1
            if left[-1] > 0:
                break
            left.pop()


def _check_chunk(file: BinaryIO, size: int, meta: dict[int, Any]) -> tuple[int, int]:
    """Compare the pages of one column of a row group with its ColumnMetaData.

    Returns:
        The number of values, and how many bytes they unpack to.
    """
    values = _number(meta, 5)
    dictionary = _number(meta, 11) if 11 in meta else 0
    start = min(_number(meta, 9), dictionary or _number(meta, 9))
    end = start + _number(meta, 7)
    if start < 0 or end > size:
        raise _Damaged("a column lies outside the file")
    found = unpacked = 0
    for header in _page_headers(file, start, end):
        unpacked += _number(header, 2)
        for kind in (5, 7, 8):  # the header of a data page, a dictionary, a data page of version 2
            count = _number(_structure(header, kind), 1) if kind in header else 0
            if kind != 7:
                found += count
            elif count:
                # Each value is one of the dictionary; a text of average length.
                unpacked += values * _number(header, 2) // count
        if found > values:
            break
    if found != values:
        raise _Damaged("a column has not as many cells as the footer says")
    return values, unpacked


def _page_headers(file: BinaryIO, start: int, end: int) -> Iterator[dict[int, Any]]:
    """Yield each PageHeader between two positions."""
    while start < end:
        length = _HEADER_BYTES
        while True:
            file.seek(start)
            reader = _Compact(file.read(min(length, end - start)))
            try:
                header = dict(reader.fields())
                break
            except _TooShort:
                if length >= min(end - start, _MAX_HEADER_BYTES):
                    raise _Damaged("a page is incomplete") from None
                length *= 16
        packed = _number(header, 3)
        if packed < 0 or _number(header, 2) < 0:
            raise _Damaged("a page has a negative size")
        yield header
        start += reader.position + packed
    if start > end:
        raise _Damaged("a page is longer than its column")


def _structures(structure: dict[int, Any], field: int) -> list[dict[int, Any]]:
    found = structure.get(field)
    if not isinstance(found, list) or not all(isinstance(each, dict) for each in found):
        raise _Damaged("its footer is damaged")
    return found


def _structure(structure: dict[int, Any], field: int) -> dict[int, Any]:
    found = structure.get(field)
    if not isinstance(found, dict):
        raise _Damaged("its footer is damaged")
    return found


def _number(structure: dict[int, Any], field: int) -> int:
    found = structure.get(field)
    if isinstance(found, bool) or not isinstance(found, int):
        raise _Damaged("its footer is damaged")
    return found

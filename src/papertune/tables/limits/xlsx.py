"""Checks an xlsx file before calamine parses it.

calamine makes room for all cells between the first and the last, for as many shared strings as the file claims, and for
texts of any length; where memory runs out, it ends the process. A few hundred bytes can ask for that.
"""

import re
import zipfile
import zlib
from collections.abc import Iterator
from dataclasses import dataclass, field
from itertools import pairwise
from typing import BinaryIO

from papertune.errors import TableError
from papertune.tables.limits import MAX_COLUMNS, REFUSED, check_filled, is_filled, max_unpacked

# Excel's own limit.
MAX_ROWS = 1_048_576
# A workbook has a few parts for each sheet, and its images.
MAX_PARTS = 10_000
# A tag has a few hundred bytes.
_MAX_TAG_BYTES = 1 << 20
_CHUNK_BYTES = 1 << 20
# Some programs say how many cells have a string, and not how many strings there are.
_MAX_LACKING_STRINGS = MAX_ROWS

_STRINGS = re.compile(rb"<(?:\w+:)?sst\b[^<>]*?\buniqueCount\s*=\s*[\"']\s*(\d+)")
_PLAIN_START = re.compile(rb"<(?:row|c)[\s/>]")
_PREFIXED_START = re.compile(rb":(?:row|c)[\s/>]")  # a single pattern for both takes twice as long
_TAG = re.compile(rb"<(?:\w+:)?(row|c)((?:\s[^<>]*)?)>")
_REFERENCE = re.compile(rb"\sr\s*=\s*[\"']\s*([A-Za-z]*)(\d*)")
_PLAIN_REFERENCE = re.compile(rb" r=\"([A-Z]*)(\d+)")


class _Damaged(Exception):
    """The file is not what an xlsx file is; the message is a clause."""


@dataclass
class _Extent:
    """How far the cells of a sheet reach.

    Attributes:
        row: The row of the last tag, from 1; 0 before the first.
        column: The column of the last tag, from 1; 0 at the start of a row.
        row_columns: The columns that have a cell in this row.
        rows: The last row with a cell.
        columns: The last column with a cell.
        filled: Number of cells.
    """

    row: int = 0
    column: int = 0
    rows: int = 0
    columns: int = 0
    filled: int = 0
    row_columns: set[int] = field(default_factory=set)


def check_xlsx(file: BinaryIO, size: int, source: str) -> None:
    """Check that an xlsx file unpacks to no more than a table of its size does, and that its cells stand together.

    All parts are unpacked once, chunk by chunk: the sizes in the zip directory can lie.

    Args:
        file: The bytes, seekable.
        size: Their number.
        source: What messages call the file.

    Raises:
        TableError: If this is not a zip archive, or its parts are not what it says, or too large.
    """
    try:
        with zipfile.ZipFile(file) as archive:
            _check_directory(archive, size, source)
            left = max_unpacked(size)
            for part in archive.infolist():
                left -= _check_part(archive, part, left, source)
    except _Damaged as error:
        raise TableError(f"{source} is not a valid xlsx file ({error}). {REFUSED}") from None
    # What zipfile raises for damaged archives; RuntimeError for a password, NotImplementedError for a compression.
    except (zipfile.BadZipFile, zlib.error, EOFError, RuntimeError, ValueError, OSError) as error:
        reason = str(error).rstrip(".")
        raise TableError(f"{source} is not a valid xlsx file ({reason}). Save it again from Excel.") from None


def _check_directory(archive: zipfile.ZipFile, size: int, source: str) -> None:
    parts = archive.infolist()
    if len(parts) > MAX_PARTS:
        raise _Damaged(f"it has {len(parts):,} parts")
    if sum(part.file_size for part in parts) > max_unpacked(size):
        raise _too_large(source)


def _too_large(source: str) -> TableError:
    return TableError(f"{source} unpacks to far more than a table of its size does. {REFUSED}")


def _check_part(archive: zipfile.ZipFile, part: zipfile.ZipInfo, left: int, source: str) -> int:
    """Unpack and check one part.

    Args:
        archive: The archive.
        part: One of its parts.
        left: How many bytes it may have.
        source: What messages call the file.

    Returns:
        How many bytes it has.
    """
    if part.file_size > left:
        raise _too_large(source)
    # zipfile reads as many bytes as the directory says, and checks their checksum: fewer or more do not pass.
    said_strings = strings = length = 0
    extent: _Extent | None = _Extent()
    for chunk in _tags(archive, part):
        length += len(chunk)
        if b"uniqueCount" in chunk:
            said_strings = max([said_strings, *(int(found[:20]) for found in _STRINGS.findall(chunk))])
        strings += chunk.count(b"<si") + chunk.count(b":si")
        if extent is not None:
            extent = extent if _follow_plain(chunk, extent) else None
        if extent is not None:
            _check_reach(extent, part, source)
    if length != part.file_size:
        raise _Damaged(f"{part.filename} has not the size that the zip directory says")
    if said_strings > max(strings, _MAX_LACKING_STRINGS):
        raise _Damaged(f"{part.filename} has fewer strings than it says")
    if extent is None or not is_filled(extent.rows, extent.columns, extent.filled):
        extent = _Extent()
        for chunk in _tags(archive, part):
            _follow(chunk, extent)
            _check_reach(extent, part, source)
        remedy = "Delete what stands far from the table, or copy the table into a new sheet."
        check_filled(extent.rows, extent.columns, extent.filled, source, remedy)
    return length


def _check_reach(extent: _Extent, part: zipfile.ZipInfo, source: str) -> None:
    for what, last, limit in (("row", extent.rows, MAX_ROWS), ("column", extent.columns, MAX_COLUMNS)):
        if last > limit:
            raise TableError(
                f"{source}: {part.filename} has a cell in {what} {last:,}, and a sheet has at most {limit:,} {what}s. "
                f"{REFUSED}"
            )


def _tags(archive: zipfile.ZipFile, part: zipfile.ZipInfo) -> Iterator[bytes]:
    """Yield a part in chunks that divide no tag."""
    rest = b""
    with archive.open(part) as stream:
        while chunk := stream.read(_CHUNK_BYTES):
            whole = rest + chunk
            begun = whole.rfind(b"<")
            if begun < 0 or b">" in whole[begun:]:
                begun = len(whole)
            yield whole[:begun]
            rest = whole[begun:]
            if len(rest) > _MAX_TAG_BYTES:
                # Not XML, such as an image.
                yield rest
                rest = b""
    yield rest


def _follow_plain(chunk: bytes, extent: _Extent) -> bool:
    """Extend the extent by a chunk in which all tags have a plain reference; empty cells count. False for another."""
    references = _PLAIN_REFERENCE.findall(chunk)
    if _PREFIXED_START.search(chunk) or len(references) != len(_PLAIN_START.findall(chunk)):
        return False
    rows = [int(row[:20]) for letters, row in references if not letters]
    if any(row <= before for before, row in pairwise([extent.row, *rows])) or len(set(references)) != len(references):
        return False  # perhaps two cells in one place
    if references:
        extent.row = rows[-1] if rows else extent.row
        extent.filled += sum(1 for letters, _ in references if letters)
        extent.rows = max(extent.rows, max(int(row[:20]) for _, row in references))
        extent.columns = max(extent.columns, *map(_column, {letters for letters, _ in references}))
    return True


def _follow(chunk: bytes, extent: _Extent) -> None:
    """Follow the tags of a chunk as calamine does: a cell or row without a reference comes after the one before.

    Empty cells do not count. This takes ten times as long as `_follow_plain`.
    """
    for match in _TAG.finditer(chunk):
        kind, attributes = match.groups()
        reference = _REFERENCE.search(attributes)
        row = int(reference[2][:20] or 0) if reference else 0
        if kind == b"row":
            if row and row <= extent.row:
                raise _Damaged(f"rows {extent.row:,} and {row:,} of a sheet follow each other")
            extent.row = row or extent.row + 1
            extent.column = 0
            extent.row_columns.clear()
            continue
        extent.row = row or extent.row
        extent.column = _column(reference[1].upper()) if reference else extent.column + 1
        if not attributes.endswith(b"/"):
            if extent.column in extent.row_columns:
                raise _Damaged(f"two cells of a sheet stand in row {extent.row:,}, column {extent.column:,}")
            extent.row_columns.add(extent.column)
            extent.filled += 1
            extent.rows = max(extent.rows, extent.row)
            extent.columns = max(extent.columns, extent.column)


def _column(letters: bytes) -> int:
    number = 0
    for letter in letters[:8]:
        number = number * 26 + letter - 64
    return number

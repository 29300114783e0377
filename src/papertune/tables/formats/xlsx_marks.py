"""Finds cells of an xlsx sheet that have less than a reader may think: errors, uncomputed formulas, rounded numbers."""

import re
import zipfile
import zlib
from collections.abc import Iterator
from pathlib import Path, PurePosixPath
from typing import NamedTuple
from xml.etree import ElementTree

_RELATION = "{http://schemas.openxmlformats.org/officeDocument/2006/relationships}id"
_CHUNK_BYTES = 1 << 20
_MAX_ROW_BYTES = 1 << 26  # more than this without the end of a row is no sheet
_MAX_WORKBOOK_BYTES = 1 << 24
# The cell, and what it cannot do without: most parts of a sheet have none, which is found out much faster. Prefixes of
# names such as x:c are allowed.
_ERROR = re.compile(rb"""<(?:\w+:)?c\s(?=[^<>]*\bt=["']e["'])[^<>]*>""")
_MAY_HAVE_ERROR = re.compile(rb"""t=["']e["']""")
_UNCOMPUTED = re.compile(
    rb"""<(?:\w+:)?c\s[^<>]*>\s*<(?:\w+:)?f\b(?:[^<>]*/>|[^<>]*>[^<]*</(?:\w+:)?f>)\s*"""
    rb"""(?:<(?:\w+:)?v\s*/>|<(?:\w+:)?v>\s*</(?:\w+:)?v>)?\s*</(?:\w+:)?c>"""
)
_MAY_HAVE_FORMULA = re.compile(rb"<(?:\w+:)?f[\s/>]")
# A cell without a type is a number.
_DIGITS = rb"v>-?(?:\d{16,}(?:\.0*)?|\d\.?\d*[eE]\+?(?:1[5-9]|[2-9]\d))</"
_LONG_NUMBER = re.compile(rb"<(?:\w+:)?c(?![^<>]*\bt=)[^<>]*>\s*<(?:\w+:)?" + _DIGITS)
_MAY_HAVE_LONG_NUMBER = re.compile(_DIGITS)
_ADDRESS = re.compile(rb"""\br=["']([A-Z]+\d+)["']""")


# What zipfile and ElementTree raise for a file that fastexcel could read nevertheless.
_UNUSUAL = (
    LookupError, StopIteration, OSError, RuntimeError, ValueError, EOFError, SyntaxError, zipfile.BadZipFile, zlib.error
)  # fmt: skip


class Marks(NamedTuple):
    """Cells of a kind: how many, the address of the first, what they have, and what to do."""

    cells: int
    first: str
    what: str
    remedy: str


def scan_sheet(path: Path, sheet: str) -> list[Marks]:
    """Find cells with an error such as #N/A, formulas without a stored value, and numbers that Excel rounds.

    Args:
        path: An xlsx file that fastexcel could read.
        sheet: Name of the sheet.

    Returns:
        For each of these kinds the cells, if there are any; nothing if the file is laid out in an unusual way.
    """
    kinds = [
        (_MAY_HAVE_ERROR, _ERROR, "an error such as #N/A, read as empty", "Correct the formulas if that is wrong."),
        (
            _MAY_HAVE_FORMULA,
            _UNCOMPUTED,
            "a formula without a stored value, read as empty",
            "Open the file in Excel and save it to compute them.",
        ),
        (
            _MAY_HAVE_LONG_NUMBER,
            _LONG_NUMBER,
            "a number with more than 15 digits, which Excel rounds",
            "Store ids as text.",
        ),
    ]
    found: list[list[str]] = [[] for _ in kinds]
    try:
        with zipfile.ZipFile(path) as archive:
            for part in _parts(archive, _member(archive, sheet)):
                for cells, (needed, pattern, _, _) in zip(found, kinds, strict=True):
                    for match in pattern.finditer(part) if needed.search(part) else ():
                        address = _ADDRESS.search(match[0])
                        cells.append("a cell" if address is None else address[1].decode())
    except _UNUSUAL:
        return []
    return [
        Marks(len(cells), cells[0], what, remedy)
        for cells, (_, _, what, remedy) in zip(found, kinds, strict=True)
        if cells
    ]


def _member(archive: zipfile.ZipFile, sheet: str) -> str:
    """Return the name of the file that holds a sheet."""
    workbook = ElementTree.fromstring(_start_of(archive, "xl/workbook.xml"))
    relation = next(each.attrib[_RELATION] for each in workbook.iter() if each.get("name") == sheet)
    relations = ElementTree.fromstring(_start_of(archive, "xl/_rels/workbook.xml.rels"))
    target = next(each.attrib["Target"] for each in relations.iter() if each.get("Id") == relation)
    return target.lstrip("/") if target.startswith("/") else str(PurePosixPath("xl") / target)


def _start_of(archive: zipfile.ZipFile, name: str) -> bytes:
    with archive.open(name) as file:
        return file.read(_MAX_WORKBOOK_BYTES)


def _parts(archive: zipfile.ZipFile, name: str) -> Iterator[bytes]:
    """Yield a sheet in parts of whole rows."""
    left = b""
    with archive.open(name) as file:
        while chunk := file.read(_CHUNK_BYTES):
            left += chunk
            end = left.rfind(b"row>") + 4
            if end > 4:
                yield left[:end]
                left = left[end:]
            elif len(left) > _MAX_ROW_BYTES:
                return
    yield left

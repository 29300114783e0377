"""Small files that ask for gigabytes: xlsx and Parquet files whose parts lie, by hand."""

import io
import struct
import zipfile
import zlib
from typing import Any

from fuzz_files import sheet, text_cell, workbook

SHEET = "xl/worksheets/sheet1.xml"
GIGABYTE = 1_000_000_000


def book_of(rows: str) -> bytes:
    return workbook({SHEET: sheet(rows)})


def book_with_cells(*references: str) -> bytes:
    """Return a workbook with cells at some places, each in a row of its own."""
    return book_of("".join(f"<row>{text_cell(reference, 'x')}</row>" for reference in references))


def _blanks(count: int) -> bytes:
    """Return a number of blanks, deflated, without deflating all of them."""
    packer = zlib.compressobj(9, zlib.DEFLATED, -15)
    million = packer.compress(b" " * 1_000_000) + packer.flush(zlib.Z_FULL_FLUSH)
    again = packer.compress(b" " * 1_000_000) + packer.flush(zlib.Z_FULL_FLUSH)
    return million + again * (count // 1_000_000 - 1) + packer.flush(zlib.Z_FINISH)


def book_with_gigabyte(stated: int) -> bytes:
    """Return a workbook with a sheet of a gigabyte, of which the zip directory says another size."""
    packed = _blanks(GIGABYTE)
    file = io.BytesIO()
    with zipfile.ZipFile(file, "w", zipfile.ZIP_STORED) as archive:
        archive.writestr(SHEET, packed)
    # The part counts as deflated from the stated number of bytes.
    data = bytearray(file.getvalue())
    directory = data.index(b"PK\x01\x02")
    for place, at in ((0, 8), (directory, 10)):
        struct.pack_into("<H", data, place + at, zipfile.ZIP_DEFLATED)
        struct.pack_into("<I", data, place + at + 14, stated)
    return bytes(data)


def book_with_size(stated: int) -> bytes:
    """Return a small workbook with another size of its sheet in the zip directory."""
    data = bytearray(book_with_cells("A1", "A2"))
    entry = data.rindex(SHEET.encode()) - 46
    struct.pack_into("<I", data, entry + 24, stated)
    return bytes(data)


def column_name(number: int) -> str:
    letters = ""
    while number:
        number, letter = divmod(number - 1, 26)
        letters = chr(65 + letter) + letters
    return letters


def _varint(number: int) -> bytes:
    written = b""
    while number > 127:
        written += bytes([number & 127 | 128])
        number >>= 7
    return written + bytes([number])


def compact(value: Any, *, is_field: bool = False) -> bytes:
    """Write a value in Thrift's compact protocol: a dict is a structure, all numbers are 64 bits long."""
    match value:
        case int():
            return _varint(value << 1 if value >= 0 else (-value << 1) - 1)
        case str():
            return _varint(len(value)) + value.encode()
        case list():
            kind = _kind(value[0]) if value else 12
            return bytes([0xF0 | kind]) + _varint(len(value)) + b"".join(map(compact, value))
        case dict():
            fields = b"".join(bytes([_kind(each)]) + compact(field) + compact(each) for field, each in value.items())
            return fields + b"\0"
    raise TypeError(value)


def _kind(value: object) -> int:
    return {int: 6, str: 8, list: 9, dict: 12}[type(value)]


def page(kind: int, values: int, unpacked: int, packed: int) -> bytes:
    """Return the header of a data page (0) or a dictionary (2)."""
    details = {1: values, 2: 0, 3: 3, 4: 3} if kind == 0 else {1: values, 2: 0}
    return compact({1: kind, 2: unpacked, 3: packed, (5 if kind == 0 else 7): details})


def column_schema(columns: int) -> list[dict[int, Any]]:
    return [{4: "schema", 5: columns}, *({1: 6, 3: 0, 4: f"c{number}"} for number in range(columns))]


def parquet(
    body: bytes, *, rows: int, group_rows: int, values: int, schema: list[dict[int, Any]] | None = None
) -> bytes:
    """Return a Parquet file with one column chunk, whose pages are given."""
    chunk = {1: 6, 2: [0], 3: ["c0"], 4: 0, 5: values, 6: len(body), 7: len(body), 9: 4}
    groups = [{1: [{2: 4, 3: chunk}], 2: len(body), 3: group_rows}]
    footer = compact({1: 1, 2: schema or column_schema(1), 3: rows, 4: groups})
    return b"PAR1" + body + footer + struct.pack("<I", len(footer)) + b"PAR1"

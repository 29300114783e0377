"""Plain, slow readers: how many records a file has, and what stands in them."""

import io
import json
import zipfile
from xml.etree import ElementTree

import pyarrow.parquet


def decoded(data: bytes) -> str:
    """Return the text of a file that papertune has accepted."""
    if data[:2] in (b"\xff\xfe", b"\xfe\xff"):
        return data.decode("utf-16")
    try:
        return data.decode("utf-8-sig")
    except UnicodeDecodeError:
        return data.decode("gb18030")


def csv_records(text: str, delimiter: str) -> list[list[str]]:
    """Return the fields of each record of delimited text, without blank lines, character by character."""
    records: list[list[str]] = []
    fields: list[str] = []
    field = ""
    is_open = was_quoted = False
    position = 0
    while position <= len(text):
        character = text[position : position + 1]
        if is_open:
            if character == '"' and text[position + 1 : position + 2] == '"':
                field += '"'
                position += 1
            elif character == '"':
                is_open = False
            else:
                field += character
        elif character == '"' and not field and not was_quoted:
            is_open = was_quoted = True
        elif character == delimiter or character in ("\r", "\n", ""):
            at_end = character != delimiter
            if not at_end or fields or field or was_quoted:
                fields.append(field)
            field, was_quoted = "", False
            if at_end and fields:
                records.append(fields)
                fields = []
        else:
            field += character
        position += 1
    return records


def json_entries(text: str) -> int:
    """Return the number of entries of a JSON list."""
    return len(json.loads(text))


def json_lines(text: str) -> int:
    """Return the number of lines that are not blank."""
    return sum(1 for line in text.split("\n") if line.strip())


def parquet_rows(data: bytes) -> int:
    """Return the number of rows, as pyarrow reads them."""
    return int(pyarrow.parquet.read_table(io.BytesIO(data)).num_rows)


def xlsx_rows(data: bytes) -> int:
    """Return the number of rows with cells in the first sheet."""
    with zipfile.ZipFile(io.BytesIO(data)) as archive:
        root = ElementTree.fromstring(archive.read("xl/worksheets/sheet1.xml"))
    rows = (each for each in root.iter() if each.tag.rpartition("}")[2] == "row")
    return sum(1 for row in rows if len(row))


def lines_that_start(text: str, start: str) -> int:
    """Return the number of lines that start with a text."""
    return sum(1 for line in text.replace("\r\n", "\n").replace("\r", "\n").split("\n") if line.startswith(start))

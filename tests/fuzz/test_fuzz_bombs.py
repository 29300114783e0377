"""Files that ask for far more memory than a table of their size are refused before they are parsed."""

import io
import json
from collections.abc import Callable
from pathlib import Path

import fuzz_bombs
import numpy as np
import polars as pl
import pytest
from fuzz_bombs import book_of, book_with_cells, column_name, page, parquet
from fuzz_files import sheet, text_cell, workbook
from fuzz_outcome import outcome_of_file

from papertune.tables import read_table
from papertune.tables.limits import MAX_COLUMNS, is_filled

TOO_LARGE = "unpacks to far more than a table of its size does. It is damaged, or not a table. Export the table again."


def _strings(count: str) -> bytes:
    main = "http://schemas.openxmlformats.org/spreadsheetml/2006/main"
    return workbook(
        {
            fuzz_bombs.SHEET: sheet('<row r="1"><c r="A1" t="s"><v>0</v></c></row>'),
            "xl/sharedStrings.xml": f'<sst xmlns="{main}" {count}><si><t>a</t></si></sst>',
        }
    )


def _many_columns() -> bytes:
    return book_of(f"<row>{''.join(text_cell(f'{column_name(number)}1', 'x') for number in range(1, 50_000))}</row>")


FAR = "Delete what stands far from the table, or copy the table into a new sheet."
BEYOND = "It is damaged, or not a table. Export the table again."
XLSX: dict[str, tuple[Callable[[], bytes], str]] = {
    "a cell far away": (
        lambda: book_with_cells("A1", "XFD1048576"),
        f"2 cells are spread over 1,048,576 rows and 16,384 columns. {FAR}",
    ),
    "a row without a reference below a far one": (
        lambda: book_of(f'<row r="1048570">{text_cell("", "x")}</row><row>{text_cell("XFD", "y")}</row>'),
        f"2 cells are spread over 1,048,571 rows and 16,384 columns. {FAR}",
    ),
    "a column that Excel does not have": (
        lambda: book_with_cells("A1", "ZZZZZZZ2"),
        f"sheet1.xml has a cell in column 8,353,082,582, and a sheet has at most 16,384 columns. {BEYOND}",
    ),
    "a row that Excel does not have": (
        lambda: book_with_cells("A1", "A4000000000"),
        f"xl/worksheets/sheet1.xml has a cell in row 4,000,000,000, and a sheet has at most 1,048,576 rows. {BEYOND}",
    ),
    "50,000 columns": (_many_columns, "and a sheet has at most 16,384 columns"),
    "a number of strings that lies": (
        lambda: _strings('count="1" uniqueCount="4000000000"'),
        f"is not a valid xlsx file (xl/sharedStrings.xml has fewer strings than it says). {BEYOND}",
    ),
    "a gigabyte": (lambda: fuzz_bombs.book_with_gigabyte(fuzz_bombs.GIGABYTE), TOO_LARGE),
    "a gigabyte that says it is small": (
        lambda: fuzz_bombs.book_with_gigabyte(1000),
        "is not a valid xlsx file (Bad CRC-32 for file 'xl/worksheets/sheet1.xml'). Save it again from Excel.",
    ),
    "a small part that says it is large": (lambda: fuzz_bombs.book_with_size(0xFFFFFFF0), TOO_LARGE),
    "a part that says it is longer": (
        lambda: fuzz_bombs.book_with_size(5000),
        f"is not a valid xlsx file (xl/worksheets/sheet1.xml has not the size that the zip directory says). {BEYOND}",
    ),
    "20,000 parts": (
        lambda: workbook({f"xl/{number}": "" for number in range(20_000)}),
        f"is not a valid xlsx file (it has 20,004 parts). {BEYOND}",
    ),
}


@pytest.mark.parametrize("name", XLSX)
def test_an_xlsx_bomb_is_refused(name: str, tmp_path: Path):
    make, expected = XLSX[name]
    found = outcome_of_file(tmp_path / "bomb.xlsx", make())
    assert found.table is None
    assert expected in found.message


def _with(*pages: bytes, rows: int = 3, group_rows: int = 3, values: int = 3) -> bytes:
    return parquet(b"".join(pages), rows=rows, group_rows=group_rows, values=values)


def _deep_columns() -> bytes:
    deep = [{4: "schema", 5: 1}, *({3: 1, 4: "x", 5: 1} for _ in range(5000)), {1: 6, 3: 0, 4: "c0"}]
    return parquet(page(0, 1, 0, 0), rows=1, group_rows=1, values=1, schema=deep)


def _columns(count: int) -> Callable[[], bytes]:
    return lambda: parquet(page(0, 3, 0, 0), rows=3, group_rows=3, values=3, schema=fuzz_bombs.column_schema(count))


INVALID = "is not a valid Parquet file ({}). Export it again."
PARQUET: dict[str, tuple[Callable[[], bytes], str]] = {
    "a number of rows that lies": (
        lambda: _with(page(0, 3, 0, 0), rows=10**12),
        "its footer gives two numbers of rows",
    ),
    "a row group with other rows than its column": (
        lambda: _with(page(0, 3, 0, 0), rows=2, group_rows=2),
        "a column has not as many cells as the footer has rows",
    ),
    "fewer values than pages have": (
        lambda: _with(page(0, 5, 0, 0)),
        "a column has not as many cells as the footer says",
    ),
    "more values than pages have": (
        lambda: _with(page(0, 1, 0, 0)),
        "a column has not as many cells as the footer says",
    ),
    "a page that is longer than the file": (lambda: _with(page(0, 3, 9, 10**9)), "a page is longer than its column"),
    "a page of a negative size": (lambda: _with(page(0, 3, 9, -1)), "a page has a negative size"),
    "columns in columns": (_deep_columns, "its columns are nested too deeply"),
    "150,000 columns": (_columns(150_000), "its footer has a list of 150,001 entries"),
}
PARQUET = {name: (make, INVALID.format(message)) for name, (make, message) in PARQUET.items()}
PARQUET |= {
    "20,000 columns": (
        _columns(20_000),
        "has 20,000 columns, and a table has at most 16,384. Check its delimiter and line breaks, or choose columns.",
    ),
    "a page that claims gigabytes": (lambda: _with(page(0, 3, 2**31 - 1, 0)), TOO_LARGE),
    "a trillion empty cells": (
        lambda: _with(page(0, 10**12, 9, 0), rows=10**12, group_rows=10**12, values=10**12),
        TOO_LARGE,
    ),
    "a long text in each cell": (
        lambda: _with(page(2, 1, 1_000_000, 0), page(0, 10**6, 9, 0), rows=10**6, group_rows=10**6, values=10**6),
        TOO_LARGE,
    ),
}


@pytest.mark.parametrize("name", PARQUET)
def test_a_parquet_bomb_is_refused(name: str, tmp_path: Path):
    make, expected = PARQUET[name]
    found = outcome_of_file(tmp_path / "bomb.parquet", make())
    assert found.table is None
    assert expected in found.message


def test_a_long_text_beside_short_ones_in_a_dictionary_is_refused(tmp_path: Path):
    texts = pl.Series("text", ["x" * 5_000, *map(str, range(1000))]).gather([0] * 50_000 + list(range(1001)))
    file = io.BytesIO()
    pl.DataFrame([texts]).write_parquet(file)
    found = outcome_of_file(tmp_path / "bomb.parquet", file.getvalue())
    assert TOO_LARGE in found.message


def test_text_files_with_far_too_many_columns_are_refused(tmp_path: Path):
    names = [f"c{number}" for number in range(100_000)]
    row = dict.fromkeys(names, 1)
    for name, content in {
        "wide.csv": f"{','.join(names)}\n{',' * 99_999}\n",
        "wide.json": json.dumps([row]),
        "wide.jsonl": json.dumps(row),
    }.items():
        found = outcome_of_file(tmp_path / name, content.encode())
        assert "has 100,000 columns, and a table has at most 16,384." in found.message


def test_objects_that_share_no_key_are_refused(tmp_path: Path):
    lines = "\n".join(json.dumps({f"c{number}": 1}) for number in range(16_000))
    found = outcome_of_file(tmp_path / "sparse.jsonl", lines.encode())
    assert "cells are spread over" in found.message
    assert "Give all rows the same columns." in found.message


def test_a_table_of_a_million_rows_and_two_hundred_columns_is_within_the_limits():
    assert MAX_COLUMNS >= 200
    assert is_filled(1_000_000, 200, filled=10_000_000)


def test_a_wide_table_is_read_from_parquet_and_xlsx(tmp_path: Path):
    numbers = np.arange(20_000 * 200, dtype=np.int32).reshape(20_000, 200)
    wide = pl.DataFrame(numbers, schema=[f"c{number}" for number in range(200)])
    wide.write_parquet(tmp_path / "wide.parquet")
    assert read_table(tmp_path / "wide.parquet").frame.shape == (20_000, 200)
    wide.head(200).write_excel(tmp_path / "wide.xlsx", autofilter=False)
    assert read_table(tmp_path / "wide.xlsx").frame.shape == (200, 200)


@pytest.mark.parametrize(
    ("rows", "reason"),
    [
        (
            f'<row r="1">{text_cell("A1", "a")}</row><row r="2">{text_cell("A2", "b")}</row>'
            f'<row r="2">{text_cell("A2", "c")}</row>',
            "rows 2 and 2 of a sheet follow each other",
        ),
        (
            f"<row>{text_cell('A1', 'a')}</row><row>{text_cell('A2', 'b')}{text_cell('A2', 'c')}</row>",
            "two cells of a sheet stand in row 2, column 1",
        ),
    ],
)
def test_two_cells_in_one_place_are_refused(rows: str, reason: str, tmp_path: Path):
    found = outcome_of_file(tmp_path / "a.xlsx", book_of(rows))
    assert found.message == f"{tmp_path / 'a.xlsx'} is not a valid xlsx file ({reason}). {BEYOND}"


def test_an_empty_cell_with_a_format_far_away_is_no_cell(tmp_path: Path):
    rows = f'<row r="1">{text_cell("A1", "a")}<c r="XFD1" s="0"/></row><row r="2">{text_cell("A2", "b")}</row>'
    found = outcome_of_file(tmp_path / "a.xlsx", book_of(f'{rows}<row r="1048576"><c r="XFD1048576" s="1"/></row>'))
    assert found.table is not None
    assert found.table.frame.rows() == [("b",)]

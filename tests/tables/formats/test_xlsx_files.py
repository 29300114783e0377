"""Sheets of Excel files: hidden ones, errors, and formulas that nobody has computed."""

import datetime
import io
import zipfile
from xml.etree import ElementTree

import pytest
import xlsxwriter
from hypothesis import given, settings
from hypothesis import strategies as st

from papertune.errors import PapertuneWarning, TableError
from papertune.tables import read_table
from papertune.tables.formats.xlsx_marks import scan_sheet


@pytest.fixture
def told(tmp_path):
    """Read a file and return its table and the warnings without the path."""

    def read(path):
        with pytest.warns(PapertuneWarning) as caught:
            table = read_table(path)
        return table, [str(each.message).replace(str(path), "papers.xlsx") for each in caught]

    return read


def test_the_first_visible_sheet_is_read(tmp_path, told):
    path = tmp_path / "papers.xlsx"
    with xlsxwriter.Workbook(path) as book:
        book.add_worksheet("cover")
        codes = book.add_worksheet("codes")
        codes.write_row(0, 0, ["code", "word"])
        book.add_worksheet("papers").write_column(0, 0, ["id", 1])
        codes.very_hidden()
    table, warned = told(path)
    assert table.frame.to_dicts() == [{"id": "1"}]
    assert warned == [
        'papers.xlsx has 2 sheets; only the first that is visible, "papers", is read, and not "codes". To use another '
        "one, save it as a separate file."
    ]
    with xlsxwriter.Workbook(path) as book:
        book.add_worksheet("cover")
        codes = book.add_worksheet("codes")
        codes.write_row(0, 0, ["code", "word"])
        codes.hide()
    with pytest.raises(TableError) as caught:
        read_table(path)
    assert str(caught.value) == f"{path}: the only sheets with cells are hidden (codes). Unhide the table's."


def test_numbers_that_excel_rounds_are_reported(tmp_path, told):
    path = tmp_path / "papers.xlsx"
    with xlsxwriter.Workbook(path) as book:
        sheet = book.add_worksheet()
        sheet.write_column(0, 0, ["id", 12345678901234567, 1e20, 123456789012345, 0.12345678901234567])
        sheet.write_string(1, 1, "12345678901234567")
        sheet.write(0, 1, "12345678901234567")
    table, warned = told(path)
    assert table.column("id")[2] == "123456789012345"
    assert warned == [
        "papers.xlsx: 2 cells have a number with more than 15 digits, which Excel rounds (first: A2). Store ids as "
        "text."
    ]


@pytest.mark.parametrize("rows", [3, 4000])
def test_errors_and_formulas_without_a_value_are_reported(tmp_path, told, rows):
    path = tmp_path / "papers.xlsx"
    with xlsxwriter.Workbook(path) as book:
        book.add_worksheet("cover")
        sheet = book.add_worksheet("papers & more")
        sheet.write_row(0, 0, ["id", "label"])
        for row in range(1, rows):
            sheet.write_row(row, 0, [row, "a" * 300])
        sheet.write_formula(1, 1, "=NA()", None, "#N/A")
        sheet.write(rows, 0, rows)
        sheet.write_formula(rows, 1, "=1/0", None, "#DIV/0!")
        sheet.write_formula(2, 1, "=1+1", None, "")
        sheet.write_formula(2, 2, "=1+1", None, 2)
        sheet.write(0, 2, "sum")
    table, warned = told(path)
    assert (table.column("label")[:2], table.column("sum")[1]) == (["", ""], "2")
    assert warned == [
        "papers.xlsx: 2 cells have an error such as #N/A, read as empty (first: B2). Correct the formulas if that is "
        "wrong.",
        "papers.xlsx: 1 cell has a formula without a stored value, read as empty (first: B3). Open the file in Excel "
        "and save it to compute them.",
    ]


KINDS = st.sampled_from(["text", "number", "long", "error", "formula", "computed", ""])


@settings(max_examples=40, deadline=None)
@given(rows=st.lists(st.lists(KINDS, min_size=3, max_size=3), min_size=1, max_size=30))
def test_an_xml_parser_finds_the_same_cells(tmp_path_factory, rows):
    path = tmp_path_factory.getbasetemp() / "kinds.xlsx"
    with xlsxwriter.Workbook(path, {"constant_memory": len(rows) % 2 == 0}) as book:
        sheet = book.add_worksheet("<kinds>")
        bold = book.add_format({"bold": True})
        for row, kinds in enumerate(rows):
            for column, kind in enumerate(kinds):
                values = {"text": "<c t='e'>", "number": 5, "long": -(10**17), "computed": "=1+1"}
                if kind in ("error", "formula"):
                    sheet.write_formula(row, column, "=NA()", bold, "#N/A" if kind == "error" else "")
                elif kind:
                    sheet.write(row, column, values[kind], bold if column else None)
    space = "{http://schemas.openxmlformats.org/spreadsheetml/2006/main}"
    with zipfile.ZipFile(path) as archive:
        cells = list(ElementTree.fromstring(archive.read("xl/worksheets/sheet1.xml")).iter(f"{space}c"))
    expected = [
        [cell.get("r") for cell in cells if cell.get("t") == "e"],
        [cell.get("r") for cell in cells if cell.find(f"{space}f") is not None and not cell.findtext(f"{space}v")],
        [cell.get("r") for cell in cells if cell.get("t") is None and "E+1" in (cell.findtext(f"{space}v") or "")],
    ]
    found = {marks.what.split()[1]: marks for marks in scan_sheet(path, "<kinds>")}
    for addresses, kind in zip(expected, ["error", "formula", "number"], strict=True):
        assert (len(addresses), addresses[:1]) == (
            (found[kind].cells, [found[kind].first]) if kind in found else (0, [])
        )


def test_dates_among_other_cells_have_no_midnight(tmp_path):
    path = tmp_path / "papers.xlsx"
    with xlsxwriter.Workbook(path) as book:
        sheet = book.add_worksheet()
        date = book.add_format({"num_format": "yyyy-mm-dd"})
        sheet.write_column(1, 2, ["read on", "", "n.d.", "2024-01-05 00:00:00", "", 45000])
        sheet.write_datetime(2, 2, datetime.datetime(2024, 1, 1), date)
        sheet.write_datetime(5, 2, datetime.datetime(2024, 1, 1, 13, 30), date)
        sheet.write_column(1, 3, ["title", *"abcde"])
    expected = ["2024-01-01", "n.d.", "2024-01-05 00:00:00", "2024-01-01 13:30:00", "45000"]
    assert read_table(path).column("read on") == expected


def test_a_file_whose_parts_have_unusual_names_is_read(tmp_path):
    written = io.BytesIO()
    with xlsxwriter.Workbook(written) as book:
        sheet = book.add_worksheet("papers")
        sheet.write_row(0, 0, ["id", "label"])
        sheet.write_row(1, 0, [1, "a"])
    path = tmp_path / "papers.xlsx"
    with zipfile.ZipFile(written) as old, zipfile.ZipFile(path, "w") as new:
        for name in old.namelist():
            content = old.read(name).replace(b"worksheets/sheet1.xml", b"/xl/worksheets/sheet1.xml")
            new.writestr(name, content)
    assert read_table(path).frame.to_dicts() == [{"id": "1", "label": "a"}]

"""Paths, Excel and Parquet files."""

import datetime
from pathlib import Path

import polars as pl
import pyarrow as pa
import pyarrow.parquet
import pytest
import xlsxwriter

from papertune.errors import PapertuneWarning, TableError
from papertune.tables import SUFFIXES, read_table


def refusal(source, folder):
    with pytest.raises(TableError) as error:
        read_table(source)
    return str(error.value).replace(f"{folder}/", "").replace(str(folder), "FOLDER")


def test_paths_that_are_not_tables_are_refused(tmp_path, monkeypatch):
    for name in ("papers_train.csv", "papers.ods", "refs.bib", "plain"):
        (tmp_path / name).write_text("a\n1\n")
    known = ".csv, .tsv, .jsonl, .json, .parquet, .xlsx, .ris, .nbib, .enw, .ciw, .txt, .xls"
    assert ", ".join(SUFFIXES) == known
    expected = {
        "paper_train.csv": 'paper_train.csv: there is no such file. Did you mean "papers_train.csv"? Check the path.',
        "no/x.csv": "no/x.csv: there is no such file (nor a folder no). Check the path.",
        "": "FOLDER is a folder. Name the table's file in it. Tables in it: papers_train.csv.",
        "papers.ods": f'papers.ods has the unknown suffix ".ods". The known suffixes are {known}. Save the sheet as '
        ".xlsx or .csv.",
        "refs.bib": f'refs.bib has the unknown suffix ".bib". The known suffixes are {known}. From BibTeX, export '
        ".ris or .csv in your reference manager.",
        "plain": f"plain has no suffix. The known suffixes are {known}.",
    }
    assert {name: refusal(tmp_path / name, tmp_path) for name in expected} == expected
    assert refusal("https://example.org/x.csv", tmp_path) == (
        "https://example.org/x.csv is an address, not a file. Download the table first."
    )
    assert refusal("a,b\n" * 2000, tmp_path).endswith(
        "cannot be read: File name too long. Check the path and the disk."
    )
    assert refusal("/dev/null", tmp_path) == "/dev/null is not an ordinary file. Copy its content into one."

    def deny(*_, **__):
        raise PermissionError(13, "Permission denied")

    monkeypatch.setattr(Path, "open", deny)  # the tests may run as root, who may read everything
    assert refusal(tmp_path / "papers_train.csv", tmp_path) == (
        "papers_train.csv cannot be read: permission denied. Change its permissions, or copy it."
    )


def test_messages_show_relative_paths_unchanged(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    Path("Papers.CSV").write_text("a\n1\n")
    assert read_table("Papers.CSV").where(0) == "Papers.CSV, row 1 below the header"
    assert read_table(Path("Papers.CSV")).source == "Papers.CSV"


def test_excel_values_become_text(tmp_path):
    path = tmp_path / "papers.xlsx"
    with xlsxwriter.Workbook(path) as book:
        sheet = book.add_worksheet("papers")
        date = book.add_format({"num_format": "yyyy-mm-dd"})
        sheet.write_row(0, 0, ["\ufeffid", "label", "date", "note", "flag", "empty"])
        sheet.write_row(1, 0, [17, "01"])
        sheet.write_datetime(1, 2, datetime.datetime(2024, 1, 5), date)
        sheet.write_string(1, 3, "2024-01-05 00:00:00")
        sheet.write_boolean(1, 4, True)
        sheet.write_string(2, 3, "note")
        sheet.write_row(3, 0, [0.5, "1.0"])
        sheet.write_datetime(3, 2, datetime.datetime(2024, 1, 5, 13, 30), date)
        sheet.write_string(3, 3, " a\r\nb ")
        sheet.write_formula(3, 5, "=1+1", None, 2)
        sheet.set_row(9, None, date)  # formatted, but without a cell
    table = read_table(path)
    assert table.frame.to_dict(as_series=False) == {
        "id": ["17", "", "0.5"],
        "label": ["01", "", "1.0"],
        "date": ["2024-01-05", "", "2024-01-05 13:30:00"],
        "note": ["2024-01-05 00:00:00", "note", " a\r\nb "],
        "flag": ["true", "", ""],
        "empty": ["", "", "2"],
    }
    assert table.where(2, "id") == f'{path}, row 4 of the sheet, column "id"'


def test_excel_tables_may_start_lower_and_stand_between_other_sheets(tmp_path):
    path = tmp_path / "papers.xlsx"
    with xlsxwriter.Workbook(path) as book:
        book.add_worksheet("cover")
        sheet = book.add_worksheet("papers")
        sheet.write_row(2, 1, ["id", "label"])
        sheet.write_row(3, 1, ["a", 1])
        book.add_worksheet("notes").write(0, 0, "remember")
    with pytest.warns(PapertuneWarning) as caught:
        table = read_table(path)
    assert [str(warning.message) for warning in caught] == [
        f'{path} has 2 sheets; only the first that is visible, "papers", is read, and not "notes". To use another one, '
        "save it as a separate file."
    ]
    assert (table.frame.to_dicts(), table.where(0)) == ([{"id": "a", "label": "1"}], f"{path}, row 4 of the sheet")


def test_excel_files_that_are_not_tables_are_refused(tmp_path):
    path = tmp_path / "papers.xlsx"
    path.write_text("id,label\n1,2\n")
    assert refusal(path, tmp_path).startswith("papers.xlsx is not a valid xlsx file (")
    for rows, message in [
        ([], "papers.xlsx is empty: no sheet has a cell. Export the table again."),
        ([[" ", "\u200b"]], "papers.xlsx has no header: every cell is blank, or a remark. Export the table again."),
        ([["a", "b"]], "papers.xlsx has a header but no rows. Give a table with at least one row."),
        ([["a", None], [1, 2]], "papers.xlsx: column 2 has no name"),
        ([["a", "a"], [1, 2]], 'papers.xlsx: the columns 1 and 2 have the same name, "a"'),
    ]:
        with xlsxwriter.Workbook(path) as book:
            sheet = book.add_worksheet()
            for number, row in enumerate(rows):
                sheet.write_row(number, 0, row)
        assert refusal(path, tmp_path).startswith(message)


def test_parquet_values_become_text(tmp_path):
    folder = tmp_path / "label=1"
    folder.mkdir()
    path = folder / "x[1].parquet"
    pl.DataFrame({"id": [1, 2], "label": ["0", None], "keys": [["a"], []]}).write_parquet(path)
    table = read_table(path)
    assert table.frame.to_dict(as_series=False) == {"id": ["1", "2"], "label": ["0", ""], "keys": ['["a"]', "[]"]}
    assert table.where(1) == f"{path}, row 2"


def test_parquet_files_that_are_not_tables_are_refused(tmp_path):
    path = tmp_path / "t.parquet"
    for content in (b"", b"id,label\n1,2\n", b"PAR1 and so on, PAR1"):
        path.write_bytes(content)
        assert refusal(path, tmp_path).startswith("t.parquet is not a valid Parquet file (")
    pyarrow.parquet.write_table(pa.table([pa.array(["x"]), pa.array(["y"])], names=["a", "a"]), path)
    assert "Give every column a name of its own." in refusal(path, tmp_path)
    pl.DataFrame({"a": [], "": []}).write_parquet(path)
    assert "column 2 has no name" in refusal(path, tmp_path)

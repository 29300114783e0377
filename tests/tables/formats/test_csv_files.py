"""Comma- and tab-separated files as users have them."""

import contextlib
import csv
import io
import warnings

import polars as pl
import pyarrow as pa
import pyarrow.csv
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from papertune.errors import PapertuneWarning, TableError
from papertune.tables import read_table, write_table
from papertune.tables.cells import is_blank


def read(folder, content, name="papers.csv"):
    path = folder / name
    path.write_bytes(content if isinstance(content, bytes) else content.encode())
    return read_table(path)


def cells(table):
    return table.frame.to_dict(as_series=False)


def refusal(folder, content, name="papers.csv"):
    with pytest.raises(TableError) as error:
        read(folder, content, name)
    return str(error.value).replace(str(folder / name), name)


def test_values_are_not_converted(tmp_path):
    values = ["0", "01", "1.0", "1e5", "123456789012345678901234567890", "NA", "null", "True", "-", " x ", "2020-01-01"]
    table = read(tmp_path, "uuid,value\n" + "".join(f"{row},{value}\n" for row, value in enumerate(values)))
    assert table.column("value") == values
    assert table.source == str(tmp_path / "papers.csv")
    assert table.where(1, "value").endswith('papers.csv, row 2 below the header, column "value"')


@pytest.mark.parametrize(
    ("content", "expected"),
    [
        ("\ufeffuuid,label\n1,a\n", {"uuid": ["1"], "label": ["a"]}),
        ('\ufeff"uuid",label\n1,a\n', {"uuid": ["1"], "label": ["a"]}),
        ('a,b\r\n1,"x\r\n\r\ny"\r\n', {"a": ["1"], "b": ["x\r\n\r\ny"]}),
        ("a,b\r1,2\r3,4", {"a": ["1", "3"], "b": ["2", "4"]}),
        ("\n\na,b\n\n1,2\n\n\n3,4\n\n", {"a": ["1", "3"], "b": ["2", "4"]}),
        ("a,b\n,1\n", {"a": [""], "b": ["1"]}),
        ('a\n1\n""\n2\n', {"a": ["1", "", "2"]}),
        ('a,b\n5" disk,"say ""hi"""\n', {"a": ['5" disk'], "b": ['say "hi"']}),
        ("a,b;c\n1,2\n", {"a": ["1"], "b;c": ["2"]}),
        ("a;b,c;d\n1;2,3;4\n", {"a;b": ["1;2"], "c;d": ["3;4"]}),
        ("sep=;\nid;title, or so\n1;a, b\n", {"id": ["1"], "title, or so": ["a, b"]}),
        ('"sep=\t"\r\nid\tlabel\r\n1\ta\r\n', {"id": ["1"], "label": ["a"]}),
        ("sep=\\t\nid\tlabel\n1\ta\n", {"id": ["1"], "label": ["a"]}),
        (",\n ,\nid,label\n1,a\n", {"id": ["1"], "label": ["a"]}),
        ("SEP=|\nid|label\n1|a;b\n", {"id": ["1"], "label": ["a;b"]}),
        ("\ufeffsep=;,,\nid;label\n1;a\n", {"id": ["1"], "label": ["a"]}),
        ("Keywords\na; b\nc; d\n", {"Keywords": ["a; b", "c; d"]}),
        ("Title|EN\na\nb\n", {"Title|EN": ["a", "b"]}),
        ('"About the data: from 2020, all"\nid,label\n1,a\n', {"id": ["1"], "label": ["a"]}),
        ("label\n1\n label\n", {"label": ["1", " label"]}),
        ("标题,b\n论文,😀\n", {"标题": ["论文"], "b": ["😀"]}),
    ],
)
def test_unusual_files_are_read(tmp_path, content, expected):
    assert cells(read(tmp_path, content)) == expected


@pytest.mark.parametrize(
    ("content", "expected", "name"),
    [
        ('id;title;label\n1;"a; b, c";0\n', {"id": ["1"], "title": ["a; b, c"], "label": ["0"]}, "a semicolon"),
        ('"id, or so";label\n1;0\n', {"id, or so": ["1"], "label": ["0"]}, "a semicolon"),
        (
            "id;Name, Vorname\n1;Moser, Petra\n2;x\n",
            {"id": ["1", "2"], "Name, Vorname": ["Moser, Petra", "x"]},
            "a semicolon",
        ),
        ("id\tlabel\n1\ta,b\n", {"id": ["1"], "label": ["a,b"]}, "a tab"),
        ("id|label\n1|a; b\n", {"id": ["1"], "label": ["a; b"]}, "a vertical bar"),
    ],
)
def test_a_guessed_delimiter_is_reported(tmp_path, content, expected, name):
    with pytest.warns(PapertuneWarning) as caught:
        assert cells(read(tmp_path, content)) == expected
    assert [str(each.message) for each in caught] == [
        f"{tmp_path / 'papers.csv'}: the delimiter is {name}, judged by the header and the first rows. If that is "
        "wrong, save the file with a comma between fields."
    ]


def test_tsv_files_are_split_at_tabs(tmp_path):
    assert cells(read(tmp_path, 'a\tb,c\n1\t"x\ty"\n', "t.TSV")) == {"a": ["1"], "b,c": ["x\ty"]}
    assert cells(read(tmp_path, "a\n1,2\n3,4\n", "t.tsv")) == {"a": ["1,2", "3,4"]}
    with pytest.warns(PapertuneWarning, match=r"t\.tsv: the delimiter is a comma, .* with a tab between fields\.$"):
        assert cells(read(tmp_path, "a,b\n1,2\n", "t.tsv")) == {"a": ["1"], "b": ["2"]}


def test_cells_may_be_longer_than_the_limit_of_csv(tmp_path):
    limit = csv.field_size_limit()
    long = "很长 " * 700_000
    assert read(tmp_path, f"a,b\n1,{long}\n").column("b") == [long]
    assert csv.field_size_limit() == limit


def test_blank_lines_and_line_breaks_in_cells_are_not_counted_as_rows(tmp_path):
    table = read(tmp_path, 'a,b\n1,"x\ny"\n\n2,z\n')
    assert table.where(1).endswith("row 2 below the header")


def test_all_ragged_rows_are_reported_together(tmp_path):
    assert refusal(tmp_path, 'a,b\n1\n"2\n",x\n1,2,3\n') == (
        "papers.csv: rows do not have the fields of the header. Quote cells that hold a comma or a line break, and "
        "give each row all its fields. (2 problems):\n"
        "  - papers.csv, row 1 below the header (line 2): found 1 field, expected 2 as in the header\n"
        "  - papers.csv, row 3 below the header (line 5): found 3 fields, expected 2 as in the header"
    )
    assert refusal(tmp_path, "sep=;\na;b\n1;2;3\n") == (
        "papers.csv, row 1 below the header (line 3): found 3 fields, expected 2 as in the header. Quote cells that "
        "hold a semicolon or a line break, and give each row all its fields."
    )


def test_rows_with_the_same_number_of_fields_are_one_problem(tmp_path):
    assert refusal(tmp_path, "a,b\n1,2\n" + "1,2,3\n" * 30 + "1\n1\n") == (
        "papers.csv: rows do not have the fields of the header. Quote cells that hold a comma or a line break, and "
        "give each row all its fields. (2 problems):\n"
        "  - papers.csv, row 2 below the header (line 3): found 3 fields, expected 2 as in the header (and 29 more: "
        "row 3 below the header (line 4), row 4 below the header (line 5), row 5 below the header (line 6), "
        "row 6 below the header (line 7), ...)\n"
        "  - papers.csv, row 32 below the header (line 33): found 1 field, expected 2 as in the header (and 1 more: "
        "row 33 below the header (line 34))"
    )


def test_a_declared_delimiter_that_the_header_lacks_is_refused(tmp_path):
    path = tmp_path / "t.csv"
    path.write_text("sep=;\ntitle,label\na,1\n")
    with pytest.raises(TableError) as caught:
        read_table(path)
    assert str(caught.value) == (
        f"{path}, line 1: it says that a semicolon stands between fields, but the header (line 2) has a comma and no "
        "';'. Correct or delete line 1."
    )
    path.write_text("sep=;\ntitle\na, b\n")
    assert read_table(path).column("title") == ["a, b"]


def test_a_blank_before_a_quote_is_named(tmp_path):
    assert refusal(tmp_path, 'a,b\n1,"x"\n2, "x, y"\n') == (
        "papers.csv, row 2 below the header (line 3): found 3 fields, expected 2 as in the header; a blank before a "
        "quote makes the quote a part of the cell. Quote cells that hold a comma or a line break, and give each row "
        "all its fields. Remove blanks before quotes."
    )
    assert refusal(tmp_path, 'id, "title"\n1, "x"\n') == (
        "papers.csv, the header (line 1): a blank before a quote makes the quote a part of the name "
        '" "title"". Remove blanks before quotes, in all rows.'
    )
    with pytest.warns(PapertuneWarning) as caught:
        table = read(tmp_path, 'id,title\n1, "x"\n2,y\n3,  "z" \n')
    assert [str(each.message).partition(", ")[2] for each in caught] == [
        'row 1 below the header, column "title": 2 cells have a blank before a quote, so the quotes are read as part '
        "of the cell (this is the first). Remove the blank."
    ]
    assert table.column("title") == [' "x"', "y", '  "z" ']


def test_a_title_above_a_csv_header_is_named(tmp_path):
    with pytest.warns(PapertuneWarning, match="the delimiter is a semicolon"):
        assert refusal(tmp_path, "Lakes\n\nid;title\n1;a\n") == (
            "papers.csv, the header (line 1): this does not look like a header: it has 1 field, and all 2 rows below "
            "it have 2. Delete a title above the column names, name each column, and quote names that hold a semicolon."
        )
    content = "Screening of lakes, export of 3 March\n\nid,title,abstract\n1,a,b\n2,c,d\n"
    assert refusal(tmp_path, content) == (
        "papers.csv, the header (line 1): this does not look like a header: it has 2 fields, and all 3 rows below it "
        "have 3. Delete a title above the column names, name each column, and quote names that hold a comma."
    )


@pytest.mark.parametrize("ending", ["\n", "\r\n"])
def test_delimiters_at_the_end_of_every_row_are_left_out(tmp_path, ending):
    with pytest.warns(PapertuneWarning) as caught:
        table = read(tmp_path, f"a\tb{ending}1\t2\t{ending}3\t\t{ending}", "t.tsv")
    assert cells(table) == {"a": ["1", "3"], "b": ["2", ""]}
    assert [str(each.message).partition(": ")[2] for each in caught] == [
        "every row ends in a tab that the header lacks; these empty cells are left out."
    ]
    # In a single row, an unquoted comma may have moved the other cells.
    assert refusal(tmp_path, "a,b\n1,2\nx, y,\n") == (
        "papers.csv, row 2 below the header (line 3): found 3 fields, expected 2 as in the header. Quote cells that "
        "hold a comma or a line break, and give each row all its fields."
    )


def test_a_wrong_delimiter_does_not_report_every_row(tmp_path):
    assert refusal(tmp_path, "a,b\n" + "1\n" * 20_000) == (
        "papers.csv, the header (line 1): this does not look like a header: it has 2 fields, and all 20,000 rows "
        "below it have 1. Delete a title above the column names, name each column, and quote names that hold a comma."
    )


def test_misplaced_quotes_are_refused(tmp_path):
    assert refusal(tmp_path, 'a,b\n1,2\n3,"4\n5,6\n') == (
        "papers.csv, row 2 below the header (line 3): a quote opens a cell and is never closed. "
        'Inside a quoted cell, write a quote as two: "".'
    )
    # Lenient readers make one row of these two, with the right number of fields.
    assert refusal(tmp_path, 'a,b\n1,"x\n2,"y"\n') == (
        "papers.csv, row 1 below the header (line 2): text follows the quote that closes a cell (line 3). "
        'Inside a quoted cell, write a quote as two: "".'
    )
    assert refusal(tmp_path, '"a,b\n1,2\n').startswith("papers.csv, the header (line 1): a quote opens")
    both = refusal(tmp_path, 'a,b\n1\n2,"x\n')
    assert "row 1 below the header (line 2): found 1 field" in both
    assert "row 2 below the header (line 3): a quote opens a cell" in both


@pytest.mark.parametrize(
    ("content", "message"),
    [
        ("", "papers.csv is empty: it has no bytes. Export the table again."),
        ("\n\r\n", "papers.csv has only blank lines. Export the table again, with a header."),
        ("uuid,title\n", "papers.csv has a header but no rows. Give a table with at least one row."),
        (
            ",title\n0,x\n",
            "papers.csv: column 1 has no name (pandas writes its row index like this, unless index=False). "
            "Give every column a name of its own.",
        ),
        (
            "a,b,a\n1,2,3\n",
            'papers.csv: the columns 1 and 3 have the same name, "a". Give every column a name of its own.',
        ),
    ],
)
def test_files_without_header_or_rows_are_refused(tmp_path, content, message):
    assert refusal(tmp_path, content) == message


def test_nul_characters_are_reported_with_their_place(tmp_path):
    message = refusal(tmp_path, "a,b\n1,x\n2,y\0\n")
    assert message.startswith('papers.csv, row 2 below the header, column "b": the cell has a NUL character. Remove')


# The references: Python's csv module on the whole text at once, and pyarrow, which shares no code with ours.
TEXT = st.text(st.characters(codec="utf-8", exclude_characters="\0"), max_size=8) | st.sampled_from(
    ['"', '""', ",", "\n", "\r\n", "\r", '",\n"', "\ufeff", " ", "NA", "\u2028", "\x1c", "a\tb", ";"]
)


@settings(max_examples=200, deadline=None)
@given(data=st.data())
def test_the_csv_module_and_pyarrow_read_the_same(tmp_path_factory, data):
    width = data.draw(st.integers(1, 4))
    cells_of_row = st.lists(TEXT, min_size=width, max_size=width)
    if width > 1:
        cells_of_row = cells_of_row.filter(lambda row: not all(map(is_blank, row)))
    rows = data.draw(st.lists(cells_of_row, min_size=1, max_size=6))
    # Not minimal with "\n": then this Python's writer leaves a lone "\r" unquoted, and no reader can correct that.
    quoting, ending = data.draw(
        st.sampled_from([(csv.QUOTE_ALL, "\n"), (csv.QUOTE_ALL, "\r\n"), (csv.QUOTE_MINIMAL, "\r\n")])
    )
    names = [f"c{column}" for column in range(width)]
    written = io.StringIO(newline="")
    csv.writer(written, quoting=quoting, lineterminator=ending).writerows([names, *rows])
    content = written.getvalue()
    table = read(tmp_path_factory.getbasetemp(), content)

    reference = list(csv.DictReader(io.StringIO(content, newline="")))
    assert table.frame.to_dicts() == reference == [dict(zip(names, row, strict=True)) for row in rows]
    second = pyarrow.csv.read_csv(
        pa.BufferReader(content.encode()),
        parse_options=pyarrow.csv.ParseOptions(newlines_in_values=True),
        convert_options=pyarrow.csv.ConvertOptions(column_types=dict.fromkeys(names, pa.string())),
    )
    assert table.frame.equals(pl.DataFrame(pl.from_arrow(second)))


def test_a_table_of_several_chunks_is_read_whole(tmp_path, monkeypatch):
    monkeypatch.setattr("papertune.tables.formats.csv_files.CHUNK_ROWS", 7)
    table = read(tmp_path, "a,b\n" + "".join(f"{row},x{row}\n" for row in range(100)))
    assert table.column("a") == [str(row) for row in range(100)]
    assert table.frame.n_chunks() == 1


WEB_OF_SCIENCE = (
    "PT\tAU\tTI\tAB\tDE\tID\tUT\t\nJ\tMoser, P\tBeetles\tWe set traps.\tcarabids; hedgerow\tFARM\tWOS:1\t\n"
)


@pytest.mark.parametrize("name", ["savedrecs.txt", "savedrecs.xls", "savedrecs.csv", "savedrecs.tsv"])
@pytest.mark.parametrize("encoding", ["utf-8-sig", "utf-16"])
@pytest.mark.parametrize("ending", ["\n", "\r\n"])
def test_tab_delimited_exports_of_web_of_science_are_read(tmp_path, name, encoding, ending):
    content = WEB_OF_SCIENCE + 'J\tBerger, U\t"Smart" lamps, and moths\tNo" end\t\t"x\tWOS:2\t\n'
    with pytest.warns(PapertuneWarning) as caught:
        table = read(tmp_path, content.replace("\n", ending).encode(encoding), name)
    assert table.columns == ["PT", "AU", "TI", "AB", "DE", "ID", "UT"]
    assert table.column("DE") == ["carabids; hedgerow", ""]
    assert table.frame.row(1) == ("J", "Berger, U", '"Smart" lamps, and moths', 'No" end', "", '"x', "WOS:2")
    assert any("1 column has neither a name nor a cell" in str(each.message) for each in caught)
    # Excel saves the same with quotes.
    quoted = 'PT\tTI\tUT\nJ\t"a, ""b"""\tWOS:1\n'.encode(encoding)
    with pytest.warns(PapertuneWarning) if name == "savedrecs.csv" else contextlib.nullcontext():
        assert read(tmp_path, quoted, name).column("TI") == ['a, "b"']


def test_text_files_are_distinguished_by_their_content(tmp_path):
    with pytest.warns(PapertuneWarning, match="the delimiter is a comma, judged by"):
        assert read(tmp_path, "id,title\n1,a\n2,b\n", "t.txt").column("title") == ["a", "b"]
    text = 'id\ttitle\n1\t"a\nRT PCR"\n2\tb\n'
    assert read(tmp_path, text, "t.txt").column("title") == ["a\nRT PCR", "b"]
    assert read(tmp_path, "TY  - JOUR\nTI  - a, b\nAB  - c, d\nER  - \n", "t.txt").column("title") == ["a, b"]
    assert refusal(tmp_path, "Dear all, see below.\nAll the best\n", "t.txt").startswith("t.txt: there is no record;")
    assert refusal(tmp_path, b"\xd0\xcf\x11\xe0rest", "t.xls") == (
        "t.xls is an old Excel file (.xls), not text. Unpack it, save it as .xlsx or .csv, or correct the suffix of "
        "its name."
    )
    assert refusal(tmp_path, "<html><table><tr><td>1</td></tr></table></html>", "t.xls") == (
        "t.xls: this is an HTML page, which is not read. Export the references again as RIS or CSV."
    )
    write_table(pl.DataFrame({"a": ["1"]}), tmp_path / "t.xlsx")
    assert read(tmp_path, (tmp_path / "t.xlsx").read_bytes(), "t.xls").column("a") == ["1"]


@settings(max_examples=100, deadline=None)
@given(data=st.data())
def test_any_delimiter_of_the_header_is_found(tmp_path_factory, data):
    delimiter = data.draw(st.sampled_from(",;\t|"))
    width = data.draw(st.integers(2, 4))
    cells_of_row = st.lists(TEXT, min_size=width, max_size=width).filter(lambda row: not all(map(is_blank, row)))
    rows = data.draw(st.lists(cells_of_row, min_size=1, max_size=6))
    names = [f"c{column}" for column in range(width)]
    written = io.StringIO(newline="")
    written.write(data.draw(st.sampled_from(["", f"sep={delimiter}\r\n"])))
    csv.writer(written, delimiter=delimiter, lineterminator="\r\n").writerows([names, *rows])
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", PapertuneWarning)
        table = read(tmp_path_factory.getbasetemp(), written.getvalue())
    assert table.frame.rows() == [tuple(row) for row in rows]

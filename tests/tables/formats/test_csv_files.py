"""Comma- and tab-separated files as users have them."""

import csv
import io

import polars as pl
import pyarrow as pa
import pyarrow.csv
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from papertune.errors import TableError
from papertune.tables import read_table


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
        ("a,b\n,\n", {"a": [""], "b": [""]}),
        ('a\n1\n""\n2\n', {"a": ["1", "", "2"]}),
        ('a,b\n5" disk,"say ""hi"""\n', {"a": ['5" disk'], "b": ['say "hi"']}),
        ('id;title;label\n1;"a; b, c";0\n', {"id": ["1"], "title": ["a; b, c"], "label": ["0"]}),
        ('"id, or so";label\n1;0\n', {"id, or so": ["1"], "label": ["0"]}),
        ("id\tlabel\n1\ta,b\n", {"id": ["1"], "label": ["a,b"]}),
        ("a,b;c\n1,2\n", {"a": ["1"], "b;c": ["2"]}),
        ("标题,b\n论文,😀\n", {"标题": ["论文"], "b": ["😀"]}),
    ],
)
def test_unusual_files_are_read(tmp_path, content, expected):
    assert cells(read(tmp_path, content)) == expected


def test_tsv_files_are_split_at_tabs(tmp_path):
    assert cells(read(tmp_path, 'a\tb,c\n1\t"x\ty"\n', "t.TSV")) == {"a": ["1"], "b,c": ["x\ty"]}


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
    assert refusal(tmp_path, "a;b\n1;2;3\n") == (
        "papers.csv, row 1 below the header (line 2): found 3 fields, expected 2 as in the header. Quote cells that "
        "hold a semicolon or a line break, and give each row all its fields."
    )


def test_a_wrong_delimiter_does_not_report_every_row(tmp_path):
    message = refusal(tmp_path, "a,b\n" + "1\n" * 200_000)
    assert message.count("\n") == 21
    assert "(1000 problems)" in message


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
    rows = data.draw(st.lists(st.lists(TEXT, min_size=width, max_size=width), min_size=1, max_size=6))
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

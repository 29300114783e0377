"""Blank rows and columns, repeated headers, and titles above the header, in sheets and csv files."""

import warnings

import polars as pl
import pytest
import xlsxwriter
from hypothesis import given, settings
from hypothesis import strategies as st

from papertune.errors import PapertuneWarning, TableError
from papertune.tables import read_table
from papertune.tables.cells import is_blank
from papertune.tables.formats.grid import Grid, table_of_grid

SUFFIXES = [".csv", ".xlsx"]
# How messages name the first row below the header.
FIRST = {".csv": "row 1 below the header", ".xlsx": "row 2 of the sheet"}
HEADER = {".csv": "the header (line 1)", ".xlsx": "row 1 of the sheet"}


@pytest.fixture
def read(tmp_path):
    """Write rows of cells as a file, and read it as columns and warnings without the path."""

    def write_and_read(suffix, *rows):
        path = tmp_path / f"papers{suffix}"
        if suffix == ".csv":
            quoted = ([f'"{cell}"' if "," in cell else cell for cell in row] for row in rows)
            path.write_text("".join(f"{','.join(row)}\n" for row in quoted), encoding="utf-8")
        else:
            with xlsxwriter.Workbook(path) as book:
                sheet = book.add_worksheet()
                for number, row in enumerate(rows):
                    for column, cell in enumerate(row):
                        sheet._write_string(number, column, cell)  # writes empty text too, as Excel does
        with warnings.catch_warnings(record=True) as caught:
            warnings.simplefilter("always")
            table = read_table(path)
        return table, [str(each.message).replace(str(path), path.name) for each in caught]

    return write_and_read


@pytest.fixture
def refused(read, tmp_path):
    def write_and_refuse(suffix, *rows):
        with pytest.raises(TableError) as caught:
            read(suffix, *rows)
        return str(caught.value).replace(f"{tmp_path}/", "")

    return write_and_refuse


@pytest.mark.parametrize("suffix", SUFFIXES)
def test_blank_rows_are_left_out_and_counted(read, suffix):
    blank = ["", " ", "\u200b"]
    table, told = read(suffix, ["id", "title", "label"], ["1", "a", "0"], blank, ["2", "", ""], blank, blank)
    assert table.frame.rows() == [("1", "a", "0"), ("2", "", "")]
    place = {".csv": "row 2 below the header", ".xlsx": "row 3 of the sheet"}[suffix]
    assert told == [f"papers{suffix}: 3 rows have only empty cells and are left out (first: {place})."]
    # The other rows keep their numbers.
    assert table.where(1).endswith({".csv": "row 3 below the header", ".xlsx": "row 4 of the sheet"}[suffix])
    _, told = read(suffix, ["id", "title", "label"], blank, ["1", "a", "0"])
    assert told == [f"papers{suffix}: 1 row has only empty cells and is left out ({FIRST[suffix]})."]


@pytest.mark.parametrize("suffix", SUFFIXES)
def test_columns_without_name_and_cell_are_left_out_and_counted(read, suffix):
    table, told = read(suffix, ["", "id", " ", "title", "", ""], ["", "1", "", "a", "\u200b", " "])
    assert table.frame.to_dicts() == [{"id": "1", "title": "a"}]
    assert told == [
        f"papers{suffix}: 4 columns have neither a name nor a cell and are left out (columns 1, 3, 5 and 6)."
    ]
    _, told = read(suffix, ["id", "title", ""], ["1", "a", ""])
    assert told == [f"papers{suffix}: 1 column has neither a name nor a cell and is left out (column 3)."]


@pytest.mark.parametrize("suffix", SUFFIXES)
def test_repeated_headers_are_left_out_and_counted(read, suffix):
    header = ["id", "title"]
    rows = [["1", "a"], ["\ufeffid", "title "], ["2", "title"], header]
    table, told = read(suffix, header, *rows)
    assert table.frame.rows() == [("1", "a"), ("2", "title")]
    place = {".csv": "row 2 below the header", ".xlsx": "row 3 of the sheet"}[suffix]
    assert told == [f"papers{suffix}: 2 rows repeat the header and are left out (first: {place})."]


def test_a_table_with_one_column_keeps_its_rows(read):
    table, told = read(".xlsx", ["label"], ["1"], [""], ["label"], [""])
    assert (table.column("label"), told) == (["1", "", "label", ""], [])


@pytest.mark.parametrize("suffix", SUFFIXES)
def test_a_title_above_the_header_is_named(refused, suffix):
    below = {".csv": "row 2 below the header", ".xlsx": "row 3 of the sheet"}[suffix]
    assert refused(suffix, ["Lakes", "", ""], ["", "", ""], ["id", "title", "label"], ["1", "a", "0"]) == (
        f"papers{suffix}, {HEADER[suffix]}: this does not look like a header: columns 2 and 3 have cells but no name, "
        f'as below a title or merged cells. Write one name for each column into one row (perhaps {below}: "id, title, '
        'label"), and delete the rows above it.'
    )


@pytest.mark.parametrize("suffix", SUFFIXES)
def test_a_header_of_two_rows_is_named(refused, suffix):
    rows = [["Paper", "", "Decision"], ["id", "title", "label"], ["1", "a", "0"]]
    assert refused(suffix, *rows) == (
        f"papers{suffix}, {HEADER[suffix]}: this does not look like a header: column 2 has cells but no name, as below "
        f'a title or merged cells. Write one name for each column into one row (perhaps {FIRST[suffix]}: "id, title, '
        'label"), and delete the rows above it.'
    )
    parts = [["id", "A", "", "B", ""], ["", "in", "why", "in", "why"], ["1", "x", "y", "z", "z"]]
    assert refused(suffix, *parts) == (
        f"papers{suffix}, {HEADER[suffix]}: this does not look like a header: columns 3 and 5 have cells but no name, "
        "as below a title or merged cells. Write one name for each column into one row, and delete the rows above it."
    )
    assert refused(suffix, ["Paper", "", ""], ["1", "2", "3"]) == (
        f"papers{suffix}, {HEADER[suffix]}: this does not look like a header: columns 2 and 3 have cells but no name, "
        "as below a title or merged cells. Write one name for each column into one row, and delete the rows above it."
    )


@pytest.mark.parametrize("suffix", SUFFIXES)
def test_only_a_running_index_is_reported_as_that_of_pandas(refused, suffix):
    header = ["", "title"]
    assert refused(suffix, header, ["0", "a"], ["2", "b"]) == (
        f"papers{suffix}: column 1 has no name (pandas writes its row index like this, unless index=False). Give every "
        "column a name of its own."
    )
    assert refused(suffix, header, ["7", "a"], ["2", "b"]) == (
        f"papers{suffix}: column 1 has no name, but cells (first: {FIRST[suffix]}). Give every column a name of "
        "its own."
    )
    assert refused(suffix, ["a", "", "c", "", "", "", "", ""], ["1", "", *"345678"]) == (
        f"papers{suffix}: columns 4, 5, 6, 7 and 8 have no name, but cells (first: {FIRST[suffix]}). Give every column "
        "a name of its own."
    )


CELLS = st.sampled_from(["", " ", "\u200b", "a", "b", "\ufeffa", "a "])


def plain(header, rows):
    """The same as `table_of_grid`, cell by cell; None where it refuses."""
    width = range(len(header))
    numbered = list(enumerate(rows, start=1))
    if sum(not is_blank(name) for name in header) > 1:
        numbered = [(n, row) for n, row in numbered if not all(is_blank(cell) for cell in row)]
        tidy = [name.strip() for name in header]
        numbered = [(n, row) for n, row in numbered if [cell.strip("\ufeff").strip() for cell in row] != tidy]
    kept = [column for column in width if not is_blank(header[column])]
    dropped = set(width) - set(kept)
    names = [header[column] for column in kept]
    if len(set(names)) < len(names) or any(not is_blank(row[column]) for _, row in numbered for column in dropped):
        return None
    return names, [tuple(row[column] for column in kept) for _, row in numbered], [n for n, _ in numbered]


@settings(max_examples=300, deadline=None)
@given(data=st.data())
def test_the_plain_way_gives_the_same(data):
    width = data.draw(st.integers(1, 4))
    header = data.draw(st.lists(CELLS, min_size=width, max_size=width))
    rows = data.draw(st.lists(st.lists(CELLS, min_size=width, max_size=width), min_size=1, max_size=6))
    body = pl.DataFrame({str(column): [row[column] for row in rows] for column in range(width)}, schema_overrides=None)
    grid = Grid(header, body, "papers", "row {}", range(1, len(rows) + 1), "row 0")
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", PapertuneWarning)
        try:
            frame, numbers = table_of_grid(grid)
        except TableError:
            assert plain(header, rows) is None
            return
    names, expected, counted = plain(header, rows)
    assert (frame.columns, list(numbers)) == (names, counted)
    assert frame.rows() == (expected if names else [])


def test_a_repeated_header_may_differ_in_case():
    body = pl.DataFrame({"0": ["a", "Title", "TITLE"], "1": ["1", " LABEL", "2"]})
    with pytest.warns(PapertuneWarning, match="1 row repeats the header and is left out .row 2."):
        frame, numbers = table_of_grid(Grid(["title", "Label"], body, "t.csv", "row {}", [1, 2, 3], "line 1"))
    assert frame.rows() == [("a", "1"), ("TITLE", "2")]
    assert list(numbers) == [1, 3]

"""Files of public bug reports about neighbouring tools; each folder of `data/cases` says what is right."""

import warnings
from pathlib import Path

import pytest

from papertune.errors import TableError
from papertune.tables import read_table

CASES = Path(__file__).parent.parent / "data" / "cases"


def read(name):
    with warnings.catch_warnings(record=True) as caught:
        warnings.simplefilter("always")
        table = read_table(CASES / name)
    return table, [str(each.message).replace(f"{(CASES / name).parent}/", "") for each in caught]


@pytest.mark.parametrize("name", ["refs.ris", "mixed.ris"])
def test_tags_before_ty(name):
    table, told = read(f"01-ris-tags-before-TY/{name}")
    assert table.column("title") == [
        "Ground beetles along hedgerows of three valleys",
        "Night moths under street lamps",
    ]
    assert table.column("abstract") == [
        "Pitfall traps were emptied every two weeks for a year.",
        "Lamps with warmer light attracted fewer moths.",
    ]
    assert [sorted(cell.split("; ")) for cell in table.column("Keywords")] == [
        ["carabids", "hedgerow"],
        ["light pollution", "moths"],
    ]
    assert told == []


@pytest.mark.parametrize(("name", "row"), [("title-row", 3), ("two-level", 2)])
def test_titles_and_merged_cells_above_the_header(name, row):
    with pytest.raises(TableError) as caught:
        read(f"08-excel-headers/{name}.xlsx")
    message = str(caught.value).rpartition("/")[2]
    assert message.startswith(f"{name}.xlsx, row 1 of the sheet: this does not look like a header: columns 2")
    assert f'(perhaps row {row} of the sheet: "id, title, abstract, label")' in message
    assert "pandas" not in message


@pytest.mark.parametrize("name", ["types.xlsx", "types2.xlsx"])
def test_types_of_cells_in_the_visible_sheet(name):
    table, told = read(f"08-excel-headers/{name}")
    assert table.column("id")[0] == "10000000000000000"
    assert table.column("id")[2:] == ["30183500", "30183500"]
    assert set(table.column("read on")) == {"2024-01-01"}
    assert table.column("label") == ["0", "1", "0", "1"]
    assert table.column("calc") == ["no", "yes", "no", ""]
    hidden = 'types.xlsx has 2 sheets; only the first that is visible, "Screening", is read, and not "hidden list".'
    error = "types2.xlsx: 1 cell has an error such as #N/A, read as empty (first: I2)."
    assert told[0].startswith(hidden if name == "types.xlsx" else error)
    assert told[1].startswith(f"{name}: 1 cell has a formula without a stored value, read as empty (first: H5).")


@pytest.mark.parametrize(
    ("name", "expected"),
    [
        ("blank-rows.csv", ["2 rows have only empty cells and are left out (first: row 5 below the header)."]),
        ("blank-rows-noid.csv", ["2 rows have only empty cells and are left out (first: row 5 below the header)."]),
        (
            "commas.csv",
            [
                "2 rows have only empty cells and are left out (first: row 5 below the header).",
                "2 columns have neither a name nor a cell and are left out (columns 5 and 6).",
            ],
        ),
        ("styled.xlsx", []),
        ("blank-rows.xlsx", ["4 rows have only empty cells and are left out (first: row 4 of the sheet)."]),
        (
            "blank-strings.xlsx",
            [
                "3 rows have only empty cells and are left out (first: row 6 of the sheet).",
                "2 columns have neither a name nor a cell and are left out (columns 5 and 6).",
            ],
        ),
    ],
)
def test_blank_rows_and_columns(name, expected):
    table, told = read(f"10-excel-blank-rows-and-columns/{name}")
    assert len(table) == 4
    assert set(table.columns) <= {"id", "title", "abstract", "label"}
    assert told == [f"{name}: {each}" for each in expected]

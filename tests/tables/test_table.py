"""What a Table promises for every source."""

import re
import subprocess
import sys
from collections import Counter

import polars as pl
import pytest

from papertune.errors import TableError
from papertune.tables import Table, read_table, write_table


def papers(rows: int) -> Table:
    return Table(
        pl.DataFrame(
            {"uuid": [f"{row:03}" for row in range(rows)], "label": ["1" if row % 4 else "0" for row in range(rows)]}
        ),
        "papers.csv",
        "row {} below the header",
    )


def test_a_table_names_its_columns_and_cells():
    table = papers(3)
    assert (len(table), table.columns, table.column("uuid")) == (3, ["uuid", "label"], ["000", "001", "002"])
    assert table.where(2) == "papers.csv, row 3 below the header"
    assert table.where(0, "label") == 'papers.csv, row 1 below the header, column "label"'
    assert Table(table.frame, "data frame").where(0) == "data frame, row 1"
    with pytest.raises(TableError) as error:
        table.column("Labels")
    assert str(error.value) == (
        'papers.csv: there is no column "Labels". Did you mean "label"? The columns are uuid, label. '
        "Correct the name, or add the column."
    )


def test_a_table_has_text_only():
    for cells in ([1], ["a", None]):
        with pytest.raises(ValueError, match="text without nulls"):
            Table(pl.DataFrame({"a": cells}), "data frame")


def test_instruction_files_are_recognised_by_their_columns():
    assert read_table([{"instruction": "q", "input": "", "output": "1"}]).is_instructions
    assert not papers(1).is_instructions


def test_chosen_rows_keep_their_places():
    table = papers(10).take([7, 2, 5]).take([2, 0])
    assert table.column("uuid") == ["005", "007"]
    assert [table.where(row) for row in (0, 1)] == [f"papers.csv, row {n} below the header" for n in (6, 8)]
    assert len(papers(3).take([])) == 0
    assert papers(3).take([]).columns == ["uuid", "label"]


def test_checksum_depends_on_the_content_only(tmp_path):
    frame = papers(5000).frame
    sums = {papers(5000).checksum(), Table(frame[:4999].vstack(frame[4999:]), "elsewhere").checksum()}
    for suffix in (".csv", ".parquet", ".jsonl"):
        write_table(frame, tmp_path / f"t{suffix}")
        sums.add(read_table(tmp_path / f"t{suffix}").checksum())
    assert len(sums) == 1
    assert re.fullmatch("[0-9a-f]{64}", sums.pop())


def test_checksum_differs_after_small_changes():
    tables = [
        {"a": ["ab", "c"]},
        {"a": ["a", "bc"]},
        {"a": ["c", "ab"]},
        {"b": ["ab", "c"]},
        {"a": ["ab", "c", ""]},
        {"a": ["ab", "c"], "b": ["", ""]},
        {"b": ["", ""], "a": ["ab", "c"]},
    ]
    assert len({Table(pl.DataFrame(columns), "t").checksum() for columns in tables}) == len(tables)


def test_checksum_never_changes():
    # Run directories store it: with another value here, each of them would report a changed table.
    assert papers(3).checksum() == "f8ec2c1a0ef3c29d07d33b02093c041ae0f73d55406e85aae13a2716367eabad"


def test_split_keeps_every_row_once_and_in_order():
    rest, part = papers(101).split(0.1, seed=3)
    assert (len(rest), len(part)) == (91, 10)
    assert sorted(rest.column("uuid") + part.column("uuid")) == papers(101).column("uuid")
    assert part.column("uuid") == sorted(part.column("uuid"))
    assert rest.column("uuid") == sorted(rest.column("uuid"))
    assert part.where(0) == f"papers.csv, row {int(part.column('uuid')[0]) + 1} below the header"
    again, other = papers(101).split(0.1, seed=3)[1], papers(101).split(0.1, seed=4)[1]
    assert again.column("uuid") == part.column("uuid") != other.column("uuid")


def test_split_never_changes():
    assert papers(12).split(0.25, seed=1)[1].column("uuid") == ["000", "008", "009"]


@pytest.mark.parametrize("fraction", [0.1, 0.25, 0.5, 0.97])
def test_stratified_split_keeps_the_shares_of_a_column(fraction):
    table = papers(203)
    rest, part = table.split(fraction, seed=1, stratify="label")
    assert len(part) == round(203 * fraction)
    for value, count in Counter(table.column("label")).items():
        assert abs(part.column("label").count(value) - count * fraction) <= 1
        assert part.column("label").count(value) + rest.column("label").count(value) == count


def test_both_parts_of_a_split_have_rows():
    assert [len(part) for part in papers(2).split(0.01, seed=0)] == [1, 1]
    assert [len(part) for part in papers(3).split(0.99, seed=0, stratify="uuid")] == [1, 2]
    with pytest.raises(TableError, match=r"papers.csv has only one row; a table needs at least two to be split\."):
        papers(1).split(0.1, seed=0)
    with pytest.raises(ValueError, match="fraction is 1"):
        papers(5).split(1, seed=0)
    with pytest.raises(TableError, match='no column "labels"'):
        papers(5).split(0.5, seed=0, stratify="labels")


def test_importing_tables_imports_nothing_heavy():
    heavy = ["polars", "pyarrow", "pandas", "numpy", "rispy", "xlsxwriter", "fastexcel", "torch"]
    code = f"import sys, papertune.tables; print([name for name in {heavy} if name in sys.modules])"
    shown = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert shown.stdout.strip() == "[]"

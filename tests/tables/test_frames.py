"""Tables in memory."""

import datetime
import decimal
import uuid

import numpy as np
import pandas as pd
import polars as pl
import pytest

from papertune.errors import TableError
from papertune.tables import read_table


def refusal(source):
    with pytest.raises(TableError) as error:
        read_table(source)
    return str(error.value)


POLARS = {
    "text": (["  x ", None], ["  x ", ""]),
    "int": ([1, None], ["1", ""]),
    "id": ([2**64 - 1], [str(2**64 - 1)]),
    "float": ([0.5, float("nan"), None, 1e-7], ["0.5", "", "", "1e-7"]),
    "whole": ([1.0, 0.0, None], ["1", "0", ""]),
    "huge": ([1e300], ["1e+300"]),
    "bool": ([True, False, None], ["true", "false", ""]),
    "date": ([datetime.date(2024, 1, 5)], ["2024-01-05"]),
    "midnight": ([datetime.datetime(2024, 1, 5)], ["2024-01-05"]),
    "moment": ([datetime.datetime(2024, 1, 5, 13, 30)], ["2024-01-05 13:30:00"]),
    "zone": ([datetime.datetime(2024, 1, 5, tzinfo=datetime.UTC)], ["2024-01-05 00:00:00+00:00"]),
    "list": ([["a", "é"], None, []], ['["a", "é"]', "", "[]"]),
    "struct": ([{"a": 1, "b": [1.5, None]}], ['{"a": 1, "b": [1.5, null]}']),
    "bytes": (["é".encode()], ["é"]),
    "decimal": ([decimal.Decimal("1.10")], ["1.10"]),
    "nothing": ([None], [""]),
}


@pytest.mark.parametrize("name", POLARS)
def test_polars_values_become_text(name):
    values, cells = POLARS[name]
    table = read_table(pl.DataFrame({name: values}))
    assert table.column(name) == cells
    assert table.where(0, name) == f'data frame, row 1, column "{name}"'


def test_polars_categories_become_text():
    frame = pl.DataFrame(
        {"a": pl.Series(["x", None], dtype=pl.Categorical), "b": pl.Series(["y", "y"], dtype=pl.Enum(["y"]))}
    )
    assert read_table(frame).frame.to_dict(as_series=False) == {"a": ["x", ""], "b": ["y", "y"]}


def test_pandas_values_become_text():
    frame = pd.DataFrame(
        {
            "label": [1.0, np.nan],  # what pandas makes of an integer column with a missing cell
            "score": np.array([0.5, 1], dtype="float32"),
            "int": [1, 2],
            "text": ["  é", None],
            "mixed": [1, "x"],
            "bool": [True, False],
            "maybe": [True, None],
            "date": pd.to_datetime(["2024-01-05", None]),
            "category": pd.Categorical(["x", "y"]),
            "nullable": pd.array([2**60, None], dtype="Int64"),
            "list": [["a"], np.array([1, 2])],
            7: ["a number names this column", ""],
        },
        index=["p", "q"],
    )
    table = read_table(frame)
    assert table.frame.to_dict(as_series=False) == {
        "label": ["1", ""],
        "score": ["0.5", "1.0"],
        "int": ["1", "2"],
        "text": ["  é", ""],
        "mixed": ["1", "x"],
        "bool": ["true", "false"],
        "maybe": ["true", ""],
        "date": ["2024-01-05", ""],
        "category": ["x", "y"],
        "nullable": [str(2**60), ""],
        "list": ['["a"]', "[1, 2]"],
        "7": ["a number names this column", ""],
    }
    assert table.where(1) == "data frame, row 2"


def test_a_list_of_rows_becomes_text():
    key = uuid.UUID(int=5)
    rows = [
        {"uuid": key, "label": 0, "a": np.int64(3), "b": np.float64(0.5), "c": pd.NaT, "d": datetime.time(1, 2)},
        {
            "label": None,
            "later": np.bool_(True),
            "a": float("nan"),
            "b": pd.NA,
            "c": {"x": np.float32(0.5), "y": float("nan")},
        },
    ]
    table = read_table(rows)
    assert table.frame.to_dicts() == [
        {"uuid": str(key), "label": "0", "a": "3", "b": "0.5", "c": "", "d": "01:02:00", "later": ""},
        {"uuid": "", "label": "", "a": "", "b": "", "c": '{"x": 0.5, "y": null}', "d": "", "later": "true"},
    ]
    assert table.where(1, "label") == 'list of rows, row 2, column "label"'
    assert read_table(table) is table


def test_invalid_tables_in_memory_are_refused():
    assert refusal([{"a": object()}, {1: 2}, {"a": "\udcff"}, 5, {}]) == (
        "list of rows: rows cannot be read. Each row is one object from column names to values. (5 problems):\n"
        '  - list of rows, row 1, column "a": the value is of the type object, which has no text form\n'
        '  - list of rows, row 2, column "1": the value has a name that is not text\n'
        '  - list of rows, row 3, column "a": the value has half of a surrogate pair (\\udcff), which is '
        "not a character\n"
        "  - list of rows, row 4: this is a number, not an object\n"
        "  - list of rows, row 5: this object is empty"
    )
    assert refusal({"a": 1}) == (
        "a table cannot be made from the type dict. Pass a path, a data frame of polars or pandas, or a list of dicts. "
        "Put a single row into a list: [row]."
    )
    assert refusal([]) == "list of rows has no rows. Give a table with at least one row."
    assert (
        refusal(pl.DataFrame({"a": []})) == "data frame has a header but no rows. Give a table with at least one row."
    )
    assert "has no rows" in refusal(pd.DataFrame())
    assert "the columns 1 and 2 have the same name" in refusal(pd.DataFrame([[1, 2]], columns=["a", "a"]))
    assert "column 1 has no name" in refusal(pd.DataFrame([[1]], columns=[""]))
    assert 'row 1, column "a": the value is binary data and not UTF-8 text' in refusal(pl.DataFrame({"a": [b"\xff"]}))
    assert 'row 2, column "a": the value is of the type object' in refusal(pd.DataFrame({"a": ["x", object()]}))
    assert 'row 2, column "a": the cell has a NUL character' in refusal(pl.DataFrame({"a": ["x", "\0"]}))

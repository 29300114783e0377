"""Each format of tables: a valid file is read as it was written, a damaged one is a table or a message."""

from contextlib import suppress
from pathlib import Path
from typing import Any
from xml.etree import ElementTree

import fuzz_files
import plain_counts
import pyarrow
import pytest
from fuzz_damage import damaged, damages
from fuzz_outcome import FUZZED, FUZZED_LESS, outcome_of_file
from hypothesis import given
from hypothesis import strategies as st

from papertune.tables.cells import is_blank

FORMATS = {
    "csv": (".csv", fuzz_files.csv_files()),
    "tsv": (".tsv", fuzz_files.tsv_files()),
    "json": (".json", fuzz_files.json_files()),
    "jsonl": (".jsonl", fuzz_files.jsonl_files()),
    "parquet": (".parquet", fuzz_files.parquet_files()),
    "xlsx": (".xlsx", fuzz_files.xlsx_files()),
    **{kind: (form.suffix, fuzz_files.reference_files(kind)) for kind, form in fuzz_files.REFERENCES.items()},
}
# The text with which a line starts a record.
STARTS = {"ris": "TY  -", "nbib": "PMID- ", "wos": "PT J", "enw": "%0 ", "refworks": "RT "}


@pytest.fixture(scope="session")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return tmp_path_factory.mktemp("fuzz")


@pytest.mark.parametrize("kind", FORMATS)
@FUZZED_LESS
@given(data=st.data())
def test_a_valid_file_is_read_as_it_was_written(kind: str, data: st.DataObject, folder: Path):
    suffix, files = FORMATS[kind]
    written = data.draw(files)
    found = outcome_of_file(folder / f"valid{suffix}", written.data)
    assert found.table is not None, found.message
    assert found.table.frame.select(written.names).rows() == [tuple(row) for row in written.rows]
    # RIS and its kin have more tags; the others have these columns alone.
    assert kind in fuzz_files.REFERENCES or found.table.columns == written.names


@pytest.mark.parametrize("kind", FORMATS)
@FUZZED
@given(data=st.data())
def test_a_damaged_file_is_a_table_with_all_its_records_or_a_message(kind: str, data: st.DataObject, folder: Path):
    suffix, files = FORMATS[kind]
    broken = damaged(data.draw(files).data, data.draw(damages))
    found = outcome_of_file(folder / f"damaged{suffix}", broken)
    if found.table is not None:
        CHECKS[kind](broken, found)


@FUZZED
@given(drawn=fuzz_files.xlsx_parts(), number=st.integers(0, 9), done=damages)
def test_a_workbook_with_a_damaged_part_is_a_table_or_a_message(drawn: Any, number: int, done: Any, folder: Path):
    parts: dict[str, Any] = {**fuzz_files.XLSX_PARTS, **drawn[0]}
    name = list(parts)[-1 - number % 3 if number < 8 else number % len(parts)]
    parts[name] = damaged(parts[name].encode(), done)
    data = fuzz_files.workbook(parts)
    found = outcome_of_file(folder / "part.xlsx", data)
    if found.table is not None and "worksheets" in name:
        check_xlsx(data, found)


def check_csv(data: bytes, found: Any, delimiter: str | None = None) -> None:
    """Compare all cells with those of the plain reader; blank rows and repeated headers are left out with a warning."""
    text = plain_counts.decoded(data)
    said = " ".join(found.warnings)
    if text[:5].lower().lstrip('"').startswith("sep="):
        return  # the delimiter is declared; the plain reader does not know it
    readings = [plain_counts.csv_records(text, each) for each in (delimiter or ",;\t")]
    assert any(_same(records, found.table, said) for records in readings)


def _same(records: list[list[str]], table: Any, said: str) -> bool:
    header, *body = records or [[]]
    names = [name.strip("\ufeff") for name in header]
    named = [place for place, name in enumerate(names) if not is_blank(name)]
    if [names[place] for place in named] != table.columns:
        return False
    body = [[*row, *[""] * (len(names) - len(row))] for row in body]
    if any(not is_blank(cell) for row in body for cell in row[len(names) :]):
        return False
    read = table.frame.rows()
    if [_named(row, named) for row in body] == read:
        return True
    titles = [name.strip() for name in names]
    blank = [row for row in body if all(map(is_blank, row))]
    repeated = [row for row in body if [cell.strip("\ufeff").strip() for cell in row] == titles]
    assert not blank or "empty cell" in said
    assert not repeated or "repeat" in said
    return [_named(row, named) for row in body if row not in blank and row not in repeated] == read


def _named(row: list[str], named: list[int]) -> tuple[str, ...]:
    return tuple(row[place] for place in named)


def check_json(data: bytes, found: Any) -> None:
    """Compare the number of rows with that of the standard library; a register has its table elsewhere."""
    assert len(found.table) == plain_counts.json_entries(plain_counts.decoded(data))


def check_json_lines(data: bytes, found: Any) -> None:
    assert len(found.table) == plain_counts.json_lines(plain_counts.decoded(data))


def check_parquet(data: bytes, found: Any) -> None:
    """Compare the number of rows with that of pyarrow, where it reads the file."""
    with suppress(pyarrow.ArrowException, OSError):
        assert len(found.table) == plain_counts.parquet_rows(data)


def check_xlsx(data: bytes, found: Any) -> None:
    """Compare the number of rows with those that have cells, where the sheet is XML."""
    with suppress(ElementTree.ParseError):
        rows = plain_counts.xlsx_rows(data)
        assert len(found.table) + 1 >= rows or "left out" in " ".join(found.warnings)


def check_references(kind: str, data: bytes, found: Any) -> None:
    """Each line that starts a record starts a row."""
    text = plain_counts.decoded(data)
    assert len(found.table) >= plain_counts.lines_that_start(text, STARTS[kind])


CHECKS: dict[str, Any] = {
    "csv": check_csv,
    "tsv": lambda data, found: check_csv(data, found, "\t"),
    "json": check_json,
    "jsonl": check_json_lines,
    "parquet": check_parquet,
    "xlsx": check_xlsx,
    **{kind: lambda data, found, kind=kind: check_references(kind, data, found) for kind in STARTS},
}

"""A table is written whole or not at all, and is read as it was."""

import csv
import errno
import os
import re
import subprocess
import sys

import polars as pl
import pytest
from hypothesis import assume, given, settings
from hypothesis import strategies as st

from papertune.errors import OutputError
from papertune.tables import WRITABLE, check_output, read_table, write_table
from papertune.tables.cells import is_blank

PAPERS = pl.DataFrame({"uuid": ["01", "02"], "title": ['=1+1; "x", y', ""], "label": ["0", "NA"]})


def refusal(function, *arguments, **options):
    with pytest.raises(OutputError) as error:
        function(*arguments, **options)
    return str(error.value)


def names_in(folder):
    return sorted(path.name for path in folder.iterdir())


def test_text_formats_are_written_plainly(tmp_path):
    write_table(PAPERS, tmp_path / "t.csv")
    assert (tmp_path / "t.csv").read_bytes() == b'uuid,title,label\n01,"=1+1; ""x"", y",0\n02,,NA\n'
    write_table(PAPERS, tmp_path / "t.tsv")
    assert (tmp_path / "t.tsv").read_bytes() == b'uuid\ttitle\tlabel\n01\t"=1+1; ""x"", y"\t0\n02\t\tNA\n'
    write_table(PAPERS.head(1), tmp_path / "t.jsonl")
    assert (tmp_path / "t.jsonl").read_text() == '{"uuid":"01","title":"=1+1; \\"x\\", y","label":"0"}\n'


def test_numbers_are_written_as_numbers(tmp_path):
    frame = pl.DataFrame({"id": ["a", "b"], "score": [0.25, None], "rank": [1, 2], "keys": [["x"], []]})
    for suffix in WRITABLE:
        write_table(frame, tmp_path / f"t{suffix}")
        rows = read_table(tmp_path / f"t{suffix}").frame.to_dicts()
        assert rows[0] == {"id": "a", "score": "0.25", "rank": "1", "keys": '["x"]'}
        assert rows[1] == {"id": "b", "score": "", "rank": "2", "keys": "[]"}
    assert pl.read_parquet(tmp_path / "t.parquet").schema["score"] == pl.Float64
    assert pl.read_excel(tmp_path / "t.xlsx").schema["score"] == pl.Float64


NAMES = st.text(st.characters(codec="utf-8", exclude_characters="\0\ufeff\ufffe\uffff"), min_size=1, max_size=6)
CELLS = st.text(st.characters(codec="utf-8", exclude_characters="\0\ufffe\uffff"), max_size=8) | st.sampled_from(
    [
        "",
        '"',
        ",",
        "\n",
        "\r\n",
        "\r",
        "\ufeff",
        "_x0041_",
        "=1",
        "\x01",
        "\x1f",
        "\u2028",
        "1.0",
        " ",
        "null",
        "http://a",
    ]
)


@pytest.mark.slow
@pytest.mark.parametrize("suffix", WRITABLE)
@settings(max_examples=60, deadline=None)
@given(data=st.data())
def test_a_written_table_is_read_as_it_was(tmp_path_factory, suffix, data):
    names = data.draw(
        st.lists(
            NAMES.filter(lambda name: not is_blank(name) and not re.match(r'\s+"', name)),
            min_size=1,
            max_size=3,
            unique=True,
        )
    )
    height = data.draw(st.integers(1, 4))
    columns = {name: data.draw(st.lists(CELLS, min_size=height, max_size=height)) for name in names}
    # In sheets and csv files, rows of several empty cells and rows like the header are no rows.
    rows = [list(row) for row in zip(*columns.values(), strict=True)]
    assume(len(names) == 1 or not any(row == names or all(map(is_blank, row)) for row in rows))
    path = tmp_path_factory.getbasetemp() / f"round{suffix}"
    write_table(pl.DataFrame(columns), path, overwrite=True)
    first = path.read_bytes()
    assert read_table(path).frame.to_dict(as_series=False) == columns
    write_table(pl.DataFrame(columns), path, overwrite=True)
    assert path.read_bytes() == first
    if suffix == ".csv":
        with path.open(encoding="utf-8", newline="") as file:
            assert list(csv.reader(file, strict=True)) == [names, *map(list, zip(*columns.values(), strict=True))]


def test_outputs_are_checked_in_advance(tmp_path, monkeypatch):
    taken = tmp_path / "taken.csv"
    taken.write_text("mine")
    (tmp_path / "folder.csv").mkdir()

    def shown(path):
        return refusal(check_output, path, overwrite=False).replace(f"{tmp_path}/", "").replace(str(tmp_path), "FOLDER")

    assert shown(taken) == "taken.csv exists already. Choose another name, or replace it with --overwrite."
    assert shown(tmp_path / "x.txt") == (
        'x.txt has the suffix ".txt"; a table can be written as .csv, .tsv, .jsonl, .json, .parquet, .xlsx. '
        "Choose one of these."
    )
    assert shown(tmp_path / "x").startswith("x has no suffix; a table can be written as")
    assert shown(tmp_path) == "FOLDER is a folder. Name a file, such as papers.csv."
    assert shown(tmp_path / "folder.csv").startswith("folder.csv is a folder.")
    assert shown(tmp_path / "foldr.csv" / "x.csv") == (
        'foldr.csv/x.csv cannot be written: there is no folder foldr.csv. Did you mean "folder.csv"? Create it first.'
    )
    os.mkfifo(tmp_path / "pipe.csv")
    assert shown(tmp_path / "pipe.csv") == "pipe.csv is not an ordinary file. Choose another name."
    assert shown(tmp_path / f"{'x' * 300}.csv").endswith("cannot be written: File name too long. Choose another place.")
    check_output(tmp_path / "new.XLSX", overwrite=False)
    check_output(taken, overwrite=True)
    monkeypatch.setattr(os, "access", lambda *_: False)  # the tests may run as root, who can write everywhere
    assert shown(tmp_path / "x.csv") == (
        "x.csv cannot be written: you have no write permission in FOLDER. Choose another one."
    )


def test_a_file_is_replaced_only_on_request(tmp_path):
    path = tmp_path / "t.csv"
    path.write_text("mine")
    path.chmod(0o640)
    assert "--overwrite" in refusal(write_table, PAPERS, path)
    assert path.read_text() == "mine"
    write_table(PAPERS, path, overwrite=True)
    assert read_table(path).frame.equals(PAPERS)
    assert path.stat().st_mode & 0o777 == 0o640
    assert names_in(tmp_path) == ["t.csv"]


def test_a_link_stays_a_link(tmp_path):
    (tmp_path / "real").mkdir()
    (tmp_path / "t.csv").symlink_to(tmp_path / "real" / "t.csv")
    write_table(PAPERS, tmp_path / "t.csv", overwrite=True)
    assert (tmp_path / "t.csv").is_symlink()
    assert len(read_table(tmp_path / "real" / "t.csv")) == 2


def test_new_files_have_the_default_permissions(tmp_path):
    (tmp_path / "plain").touch()
    write_table(PAPERS, tmp_path / "t.csv")
    assert (tmp_path / "t.csv").stat().st_mode == (tmp_path / "plain").stat().st_mode


@pytest.mark.parametrize("suffix", WRITABLE)
def test_a_failed_write_changes_nothing(tmp_path, monkeypatch, suffix):
    path = tmp_path / f"t{suffix}"
    path.write_text("mine")

    def full(_):
        raise OSError(errno.ENOSPC, "No space left on device")

    monkeypatch.setattr(os, "fsync", full)
    assert refusal(write_table, PAPERS, path, overwrite=True) == (
        f"{path} could not be written: No space left on device. Make room, or choose another folder."
    )
    assert (names_in(tmp_path), path.read_text()) == ([path.name], "mine")


def test_a_disk_that_fills_up_is_an_output_error(tmp_path):
    # With a limit on the size of files, write() fails midway, as on a full disk.
    code = f"""
import os, resource, signal, polars as pl
from pathlib import Path
from papertune.errors import OutputError
from papertune.tables import WRITABLE, write_table
frame = pl.DataFrame({{"a": [os.urandom(3000).hex() for _ in range(300)]}})
signal.signal(signal.SIGXFSZ, signal.SIG_IGN)
resource.setrlimit(resource.RLIMIT_FSIZE, (100_000, 100_000))
for suffix in WRITABLE:
    try:
        write_table(frame, Path({str(tmp_path)!r}) / f"t{{suffix}}")
    except OutputError as error:
        assert f"t{{suffix}} could not be written: " in str(error), error
    else:
        raise AssertionError(suffix)
"""
    shown = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=False)
    assert (shown.returncode, shown.stderr) == (0, "")
    assert names_in(tmp_path) == []


def test_cells_that_a_format_cannot_hold_are_refused(tmp_path):
    path = tmp_path / "t.xlsx"
    write_table(pl.DataFrame({"a": ["x" * 32_767, "é" * 20_000]}), path)
    assert read_table(path).column("a") == ["x" * 32_767, "é" * 20_000]
    assert refusal(write_table, pl.DataFrame({"a": ["", "x" * 32_768]}), path, overwrite=True) == (
        f'{path}, row 3 of the sheet, column "a": the cell has 32,768 characters and xlsx holds at most 32,767. '
        "Write .csv or .parquet instead."
    )
    assert "has 40,000 characters" in refusal(write_table, pl.DataFrame({"a": ["😀" * 20_000]}), path, overwrite=True)
    assert "U+FFFE" in refusal(write_table, pl.DataFrame({"a": ["\uffff"]}), path, overwrite=True)
    rows = pl.DataFrame({"a": pl.Series([""]).new_from_index(0, 1_048_576)})
    assert "this table has 1,048,576 and 1. Write .csv" in refusal(write_table, rows, path, overwrite=True)
    for suffix in WRITABLE:
        message = refusal(write_table, pl.DataFrame({"a": ["x", "\0"]}), tmp_path / f"new{suffix}")
        assert 'row 2, column "a": the cell has a NUL character' in message
    assert len(read_table(path)) == 2

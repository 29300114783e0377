"""Parts on the command line: when the output is a folder, and mistakes."""

import polars as pl
import pytest

pytestmark = pytest.mark.once


@pytest.fixture
def parts(here):
    new = pl.read_csv(here / "new.csv", infer_schema=False)
    (here / "parts").mkdir()
    for name, rows in (("a", new[:4]), ("b", new[4:])):
        rows.write_parquet(here / "parts" / f"{name}.parquet")
    return [f"parts/{name}.parquet" for name in "ab"]


def test_a_shard_fills_in_its_parts(papertune, here, parts, trained):
    ended = papertune("predict", trained, *parts, "-o", "out", "--shard", "2/2", "--quiet")
    assert (ended.code, ended.out) == (0, "out: 1 part, 2 rows\n")
    ended = papertune("predict", trained, *parts, "-o", "out")
    assert (ended.code, ended.out) == (0, "out: 2 parts, 6 rows\n")
    assert "parts/a.parquet (1 of 2)\n" in ended.err
    assert ended.err.endswith("1 of 2 parts were finished before\n")
    whole = papertune("predict", trained, "new.csv", "-o", "whole.csv", "--precision", "fp32")
    assert whole.code == 0
    filled = pl.concat([pl.read_parquet(here / "out" / f"{name}.parquet") for name in "ab"])
    assert filled["uuid"].to_list() == pl.read_csv(here / "whole.csv", infer_schema=False)["uuid"].to_list()


def test_a_pattern_that_finds_one_part_writes_a_folder_too(papertune, here, parts, trained):
    assert papertune("predict", trained, parts[0], "-o", "out", "--quiet").code == 0
    assert (here / "out" / "a.parquet").is_file()
    assert papertune("predict", trained, parts[0], "-o", "out.parquet", "--quiet").code == 0
    assert (here / "out.parquet").is_file()


@pytest.mark.parametrize(
    ("options", "message"),
    [
        (["--shard", "9/8"], 'shard 9/8 does not exist: they are numbered from 1 to 8. For example "1/8".\n'),
        (["--shard", "three"], '--shard "three" is not NUMBER/COUNT. For example "3/8", the third of eight.\n'),
        (
            ["--sort-by", "label"],
            "--sort-by sorts a whole table, but parts are filled in one by one. Leave it out.\n",
        ),
    ],
)
def test_mistakes(papertune, parts, trained, options, message):
    assert papertune("predict", trained, *parts, "-o", "out", *options).error == message


def test_several_tables_that_are_no_parts(papertune, here, trained):
    assert papertune("predict", trained, "new.csv", "papers.csv", "-o", "out").error == (
        "the parts cannot be filled in (2 problems):\n"
        "  - new.csv is no .parquet file; several tables are filled in only as Parquet parts.\n"
        "  - papers.csv is no .parquet file; several tables are filled in only as Parquet parts.\n"
    )

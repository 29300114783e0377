"""The benchmark of keywords by words alone, on tables with a few rows."""

import sys

import keyword_words
import polars as pl


def test_each_number_of_rows_has_its_line(tmp_path, monkeypatch, capsys):
    rows = [{"title": f"old graph {n}", "abstract": f"We study neural network {n}.", "Keywords": "x"} for n in range(6)]
    rows[0]["Keywords"] = ""
    for part in ("train", "dev"):
        pl.DataFrame(rows).write_csv(tmp_path / f"tiny_{part}.csv")
    monkeypatch.setenv("PAPERTUNE_DATA", str(tmp_path))
    monkeypatch.setattr(sys, "argv", ["keyword_words.py", "tiny", "--rows", "3", "9", "--samples", "2"])
    keyword_words.main()
    cells = [[cell.strip() for cell in line.split("|")[1:-1]] for line in capsys.readouterr().out.splitlines()[2:]]
    assert [row[:4] for row in cells] == [["tiny", n, s, "tfidf"] for n, s in (("3", "0"), ("3", "1"), ("5", "0"))]
    assert {row[6] for row in cells} == {"+0.000 (+0.000 to +0.000)"}

"""The benchmark of joined sources, on tables with a few rows."""

import sys

import joined_sources
import polars as pl


def test_each_number_of_rows_has_a_line_for_each_system(tmp_path, monkeypatch, capsys):
    rows = [
        {"title": f"paper {n}", "abstract": "clinic heart" if n % 3 else "lattice graph", "label": str(int(n % 3 > 0))}
        for n in range(45)
    ]
    for part in ("train", "dev"):
        pl.DataFrame(rows).write_csv(tmp_path / f"tiny_{part}.csv")
    monkeypatch.setenv("PAPERTUNE_DATA", str(tmp_path))
    monkeypatch.setattr(sys, "argv", ["joined_sources.py", "tiny", "--rows", "30", "0", "--samples", "2"])
    joined_sources.main()
    cells = [[cell.strip() for cell in line.split("|")[1:-1]] for line in capsys.readouterr().out.splitlines()[2:]]
    assert [row[:4] for row in cells] == [
        ["tiny", rows, sample, system]
        for rows, sample in (("30", "0"), ("30", "1"), ("45", "0"))
        for system in ("TF-IDF + logistic regression", "joined")
    ]
    assert {tuple(row[4:]) for row in cells if row[3] == "joined"} == {("1.000", "1.000", "1.000", "words alone")}

"""The benchmark of screening, on tables with a few rows."""

import sys

import polars as pl

import screening
from papertune.screening.simulation import simulate


def run(monkeypatch, *arguments):
    monkeypatch.setattr(sys, "argv", ["screening.py", *arguments])
    screening.main()


def test_each_part_prints_its_numbers(tmp_path, monkeypatch, capsys):
    monkeypatch.setattr(simulate, "embed", lambda *_: None)
    cells = [
        {"title": f"{('mice', 'nurses')[n % 2]} {n}", "abstract": "", "label": ("excluded", "included")[n % 2]}
        for n in range(10)
    ]
    for part in ("train", "dev"):
        pl.DataFrame(cells).write_csv(tmp_path / f"toy_{part}.csv")
    monkeypatch.setenv("PAPERTUNE_DATA", str(tmp_path))
    run(monkeypatch, "reviews", "toy", "--seeds", "2")
    lines = capsys.readouterr().out.splitlines()
    assert lines[0] == "toy"
    assert [line.split(" | ")[0] for line in lines[4:6]] == ["| papertune", "| ELAS u4"]
    run(monkeypatch, "certificates", "--reviews", "3")
    assert " certificates in 3 reviews: " in capsys.readouterr().out
    run(monkeypatch, "refit", "--rows", "60", "--decided", "9")
    assert capsys.readouterr().out.startswith("60 records, 9 decided: 0.")

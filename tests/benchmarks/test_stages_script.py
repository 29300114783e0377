"""The benchmark of stages, on tables with a few rows and the tiny model."""

import json
import re
import sys

import polars as pl
import pytest

import stages

SIZES = ["--papers", "6", "--held-out", "4", "--rows", "6", "--test-rows", "4", "--seeds", "2"]


@pytest.fixture
def run(tmp_path, monkeypatch, tiny_folder):
    rows = [
        {
            "title": f"paper {n}",
            "abstract": "clinic heart" if n % 2 else "graph",
            "Keywords": "a; b",
            "label": str(n % 2),
        }
        for n in range(24)
    ]
    for number, (name, part) in enumerate((name, part) for name in ("keywords", "papers") for part in ("train", "dev")):
        named = [row | {"title": f"{row['title']} of {number}"} for row in rows]
        pl.DataFrame(named).write_csv(tmp_path / f"{name}_{part}.csv")
    monkeypatch.setenv("PAPERTUNE_DATA", str(tmp_path))

    def run(*options):
        model = ["--model", str(tiny_folder), "--set", "training.max_steps=1"]
        monkeypatch.setattr(sys, "argv", ["stages.py", *options, *SIZES, *model, "-o", str(tmp_path / "out")])
        stages.main()
        return (tmp_path / "out" / "stages.md").read_text("utf-8")

    return run


@pytest.mark.slow
def test_stage_pt_is_measured_and_resumed(run, tmp_path):
    page = run("pt")
    numbers = json.loads((tmp_path / "out" / "pt.json").read_text())
    assert (numbers["papers"], numbers["held_out_papers"]) == (6, 4)
    assert {name: len(found) for name, found in numbers["accuracy"].items()} == {"with": 2, "without": 2}
    assert re.search(r"^\| without \| \d+\.\d\d \| \d\.\d{3} \(\d\.\d{3}, \d\.\d{3}\) \|$", page, re.MULTILINE)
    (tmp_path / "out" / "pt.json").unlink()
    before = {file: file.stat().st_mtime_ns for file in (tmp_path / "out" / "pt").rglob("run.json")}
    assert len(before) == 5
    assert run("pt") == page
    assert before == {file: file.stat().st_mtime_ns for file in before}

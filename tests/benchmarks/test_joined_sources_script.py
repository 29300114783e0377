"""The benchmark of joined sources, on tables with a few rows."""

import sys

import joined_sources
import polars as pl
import pytest


@pytest.fixture
def measured(tmp_path, monkeypatch, capsys):
    """Return a function that runs the script and returns the cells of each line."""
    rows = [
        {"title": f"paper {n}", "abstract": "clinic heart" if n % 3 else "lattice graph", "label": str(int(n % 3 > 0))}
        for n in range(45)
    ]
    for part in ("train", "dev"):
        pl.DataFrame(rows).write_csv(tmp_path / f"tiny_{part}.csv")
    monkeypatch.setenv("PAPERTUNE_DATA", str(tmp_path))

    def measure(*options):
        monkeypatch.setattr(sys, "argv", ["joined_sources.py", "tiny", *options])
        joined_sources.main()
        return [[cell.strip() for cell in line.split("|")[1:-1]] for line in capsys.readouterr().out.splitlines()[2:]]

    return measure


def test_each_number_of_rows_has_a_line_for_each_system(measured):
    cells = measured("--rows", "30", "0", "--samples", "2")
    assert [row[:5] for row in cells] == [
        ["tiny", rows, sample, system, "45"]
        for rows, sample in (("30", "0"), ("30", "1"), ("45", "0"))
        for system in ("TF-IDF + logistic regression", "joined")
    ]
    assert {tuple(row[5:]) for row in cells if row[3] == "joined"} == {("1.000", "1.000", "1.000", "words alone")}


@pytest.mark.slow
def test_prompting_is_scored_on_the_same_rows_and_continues(measured, tiny_folder, tmp_path, monkeypatch):
    few = ["--few-shot", "--examples", "2", "--prompted-rows", "9", "--set", f"model={tiny_folder}"]
    options = ["--rows", "20", "--samples", "1", *few, "-o", str(tmp_path / "kept")]
    cells = measured(*options)
    assert [row[3:5] for row in cells] == [
        ["TF-IDF + logistic regression", "45"],
        ["TF-IDF + logistic regression", "9"],
        ["joined", "45"],
        ["joined", "9"],
        ["few-shot", "9"],
    ]
    assert cells[-1][-1] == "2 examples before each question"
    monkeypatch.setattr("papertune.train", None)
    monkeypatch.setattr("papertune.pipelines.comparison.base_model.Predictor", None)
    assert measured(*options) == cells

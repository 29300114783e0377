"""The benchmark of joined sources, on tables with a few rows, and its part of the results page."""

import json
import sys
from pathlib import Path

import curves
import joined_sources
import kept_vectors
import numpy as np
import polars as pl
import pytest


@pytest.fixture
def measured(tmp_path, tiny_folder, monkeypatch, capsys):
    """Return a function that runs the script and returns the cells of each line."""
    rows = [
        {"title": f"paper {n}", "abstract": "clinic heart" if n % 3 else "lattice graph", "label": str(int(n % 3 > 0))}
        for n in range(45)
    ]
    for part in ("train", "dev"):
        pl.DataFrame(rows).write_csv(tmp_path / f"tiny_{part}.csv")
    monkeypatch.setenv("PAPERTUNE_DATA", str(tmp_path))

    def measure(*options):
        words = ["tiny", "--set", f"model={tiny_folder}", "--sources", "words", *options]
        monkeypatch.setattr(sys, "argv", ["joined_sources.py", *words])
        joined_sources.main()
        return [[cell.strip() for cell in line.split("|")[1:-1]] for line in capsys.readouterr().out.splitlines()[2:]]

    return measure


def test_each_number_of_rows_has_a_line_for_each_system(measured, tmp_path):
    cells = measured("--rows", "30", "0", "--samples", "2", "-o", str(tmp_path / "kept"))
    assert [row[:5] for row in cells] == [
        ["tiny", rows, sample, system, "45"]
        for rows, sample in (("30", "0"), ("30", "1"), ("45", "0"))
        for system in (curves.TFIDF, curves.JOINED, "words alone")
    ]
    assert {tuple(row[5:]) for row in cells if row[3] == curves.JOINED} == {("1.000", "1.000", "1.000", "words alone")}
    entries = json.loads((tmp_path / "kept" / "tiny" / curves.LABEL_SAMPLES).read_text("utf-8"))
    assert [entry["system"] for entry in entries] == [row[3] for row in cells]
    lines = curves.fewer_rows(entries, "average_precision")
    assert lines[0] == ["", "30 rows", "45 rows"]
    assert lines[1] == [curves.JOINED, "1.000", "1.000"]


@pytest.mark.slow
def test_prompting_is_scored_on_the_same_rows_and_continues(measured, tmp_path, monkeypatch):
    few = ["--with", "few-shot", "--examples", "2", "--prompted-rows", "9"]
    options = ["--rows", "20", "--samples", "1", *few, "-o", str(tmp_path / "kept")]
    cells = measured(*options)
    assert [row[3:5] for row in cells] == [
        [curves.TFIDF, "45"],
        [curves.TFIDF, "9"],
        [curves.JOINED, "45"],
        [curves.JOINED, "9"],
        ["words alone", "45"],
        ["words alone", "9"],
        [curves.FEW_SHOT, "9"],
    ]
    assert cells[-1][-1] == "2 examples before each question"
    entries = json.loads((tmp_path / "kept" / "tiny" / curves.LABEL_SAMPLES).read_text("utf-8"))
    assert [line[0] for line in curves.beside_prompting(entries, "accuracy")[1:]] == [
        curves.JOINED,
        "words alone",
        curves.TFIDF,
        curves.FEW_SHOT,
    ]
    monkeypatch.setattr("papertune.train", None)
    monkeypatch.setattr("papertune.pipelines.comparison.base_model.Predictor", None)
    assert measured(*options) == cells


def test_another_run_is_asked_and_the_same_one_is_not_asked_again(measured, tmp_path, monkeypatch):
    asked = []

    class Given:
        def __init__(self, path):
            self.path, self.directory = Path(path), self

        def weights_checksum(self):
            return self.path.name

    def answers(sample, title, run):
        if title == curves.WITH_MODEL:
            asked.append((run.path.name, (run.path / "run.json").read_text()))
        return {title: (np.full((45, 2), 0.5), "")}

    monkeypatch.setattr("papertune.load_run", Given)
    monkeypatch.setattr(joined_sources.Sample, "_answers", answers)
    monkeypatch.setattr("papertune.train", lambda *_: None)
    for run, written in (("one", "{}"), ("one", "{}"), ("two", "{}"), ("two", "calibrated again")):
        (tmp_path / run).mkdir(exist_ok=True)
        (tmp_path / run / "run.json").write_text(written)
        options = ["--with", "model", "--run", f"tiny={tmp_path / run}", "-o", str(tmp_path / "kept")]
        measured("--rows", "0", "--samples", "1", *options)
    assert asked == [("one", "{}"), ("two", "{}"), ("two", "calibrated again")]


def test_vectors_are_made_once_and_an_incomplete_one_again(tmp_path):
    asked = []

    def make(texts):
        asked.extend(texts)
        return np.array([[len(text), ord(text[-1])] for text in texts], dtype=np.float32)

    texts = [f"{'x' * n}{n % 10}" for n in range(20)]
    plain = make(texts)
    asked.clear()
    path = tmp_path / "encoder.vectors"
    np.testing.assert_array_equal(
        kept_vectors.KeptVectors(path, 2).of([*texts[:9], texts[0]], make), [*plain[:9], plain[0]]
    )
    path.write_bytes(path.read_bytes()[:-3])
    np.testing.assert_array_equal(kept_vectors.KeptVectors(path, 2).of(texts, make), plain)
    assert asked == [*texts[:9], *texts[8:]]


def test_the_page_shows_means_of_samples_and_single_seeds():
    def entry(system, rows, sample, score, test_rows=9):
        scores = {"accuracy": score, "accuracy_interval": {"low": score - 0.1, "high": score + 0.1}}
        return {
            "rows": rows, "of_rows": 99, "sample": sample, "system": system, "test_rows": test_rows,
            "of_test_rows": 9, "about": f"{system}?", "scores": scores, "ece": 0.04, "ece_by_chance": 0.03,
        }  # fmt: skip

    entries = [
        entry(curves.TFIDF, 99, 0, 0.7),
        *(entry(curves.WITH_MODEL, 99, seed, 0.8 + seed / 100) for seed in range(3)),
        entry(curves.TFIDF, 50, 0, 0.5),
        entry(curves.TFIDF, 50, 1, 0.6),
        entry(curves.TFIDF, 50, 1, 0.1, test_rows=4),
    ]
    assert curves.whole_table(entries, ["accuracy"]) == [
        ["", "accuracy", "calibration error (by chance)", "answered by"],
        [curves.WITH_MODEL, "0.810 (0.800, 0.810, 0.820)", "0.040 (0.030)", f"{curves.WITH_MODEL}?"],
        [curves.TFIDF, "0.700 (0.600-0.800)", "0.040 (0.030)", f"{curves.TFIDF}?"],
    ]
    assert curves.fewer_rows(entries, "accuracy") == [
        ["", "50 rows", "99 rows"],
        [curves.WITH_MODEL, "", "0.810"],
        [curves.TFIDF, "0.550", "0.700"],
    ]
    assert curves.beside_prompting(entries, "accuracy") == []


def test_the_overview_shows_words_without_what_is_joined_with_them():
    whole = {"rows": 9, "of_rows": 9, "test_rows": 5, "of_test_rows": 5}
    scores = {"words": 0.2, "words and the sentence encoder": 0.4, "TF-IDF n-grams": 0.1}
    entries = [{**whole, "system": system, "scores": {"f1_at_5": score}} for system, score in scores.items()]
    assert curves.overview({"keywords": ("f1_at_5", entries)})[1:] == [
        ["keywords", "F1@5", "", "", "", "0.200", "", ""]
    ]

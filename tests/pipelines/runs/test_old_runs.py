"""A run directory of format 3, written before column kinds were objects, opens and predicts as it did."""

import shutil
from pathlib import Path

import polars as pl
import pytest

import papertune
from papertune.tables import read_table

OLD = Path(__file__).parents[2] / "data" / "run_format_3"


@pytest.fixture
def run(tmp_path):
    folder = shutil.copytree(OLD / "run", tmp_path / "run")
    return papertune.load_run(folder, base=OLD / "base", device="cpu")


@pytest.mark.once
def test_an_old_run_predicts_as_before(run):
    expected = read_table(OLD / "expected.csv").frame
    filled = run.predict(OLD / "papers.csv", probabilities=True, precision="fp32")
    assert filled.columns == expected.columns
    numbers = [name for name in filled.columns if "_probability_" in name]
    for name in numbers:
        given, now = (frame[name].cast(pl.Float64).to_list() for frame in (expected, filled))
        assert now == pytest.approx(given, abs=2e-5), name
    given, now = (
        [float(part) for cell in frame["ranked_confidence"] for part in cell.split("; ")]
        for frame in (expected, filled)
    )
    assert now == pytest.approx(given, abs=1e-4)
    for name in ("uuid", "label", "label_set", "topics", "Keywords", "ranked"):
        assert filled[name].to_list() == expected[name].to_list(), name


@pytest.mark.once
def test_an_old_run_keeps_its_calibration(run):
    assert run.manifest.format == 3
    assert run.manifest.calibration["label"].rows == run.manifest.rankings["ranked"].rows == 40
    assert run.recipe.columns["topics"].thresholds.keys() == {"heart", "graph", "aspirin"}
    assert not run.manifest.lacks_calibration


@pytest.mark.once
def test_an_old_run_scores_whole_labels(run):
    assert run.recipe.columns["label"].loss == run.recipe.columns["topics"].loss == "answer"
    for name in ("label", "topics: heart"):
        column = run.recipe.questions[name]
        assert column.loss_labels is None


def test_an_old_run_keeps_its_choice_of_int8(run, monkeypatch):
    assert run.manifest.int8.changed == 1
    monkeypatch.setenv("PAPERTUNE_CPU", "int8")
    assert run.settled_precision().startswith("int8") is run.manifest.int8.confirms

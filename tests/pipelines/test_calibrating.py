"""Calibration of a finished run, repeated with other rows."""

import copy
import json

import pytest

import papertune
from papertune import ModelError, PapertuneWarning, RunError, TableError
from papertune.kinds import LabelColumn, LabelsColumn, RankedKeywordsColumn
from papertune.models import cpu_features


@pytest.fixture(scope="module")
def recipe_for_all(both_columns):
    """Return a recipe whose columns want everything that a calibration can fit."""
    recipe = copy.deepcopy(both_columns)
    recipe["columns"] = {
        "label": {**recipe["columns"]["label"], "threshold": "f1", "coverage": 0.8},
        "topics": {
            "kind": "labels",
            "sources": ["model"],
            "question": "About {label}? 1 or 0.",
            "labels": ["heart", "graph"],
            "answers": ["1", "0"],
            "thresholds": "f1",
        },
        "Keywords": {
            "kind": "ranked_keywords",
            "question": "Keyword?",
            "count": 3,
            "beams": 3,
            "max_keyword_tokens": 8,
        },
    }
    recipe["training"] |= {"micro_batch_size": 8}
    return recipe


@pytest.fixture(scope="module")
def rows(papers):
    """Return a function that makes papers with topics."""

    def make(count, start):
        labels = ("heart", "graph")
        return [
            {**row, "topics": "; ".join(label for label in labels if label in row["abstract"].split()[:9])}
            for row in papers(count, start)
        ]

    return make


@pytest.fixture(scope="module")
def trained(recipe_for_all, rows, tmp_path_factory):
    """Return the directory of a run that was calibrated by its training; copy it before changing it."""
    folder = tmp_path_factory.mktemp("calibrating") / "run"
    papertune.train(rows(16, 0), recipe_for_all, folder, dev=rows(80, 300))
    return folder


@pytest.fixture
def run(trained, tmp_path):
    import shutil

    return papertune.load_run(shutil.copytree(trained, tmp_path / "run"))


def found(run):
    return run.manifest.calibration["label"], run.recipe.columns["topics"].thresholds, run.manifest.rankings["Keywords"]


@pytest.mark.slow
def test_other_rows_replace_the_calibration(run, rows, listener):
    before = found(run)
    again = papertune.calibrate(run.directory.path, rows(40, 600), listener=listener)
    assert again.manifest.calibration["label"].rows == again.manifest.rankings["Keywords"].rows == 40
    assert all(new != old for new, old in zip(found(again), before, strict=True))
    assert again.manifest.calibrated_in == again.settled_precision()
    assert {message.split(" on ")[0] for message in listener.messages if " on 40 dev rows" in message} >= {
        "calibrating",
        "choosing thresholds",
        "ranking keywords",
    }
    assert (again.manifest.int8 is not None) == cpu_features().int8


@pytest.mark.slow
def test_the_same_rows_give_the_same_calibration(run, rows):
    first = papertune.calibrate(run, rows(40, 600))
    second = papertune.calibrate(first.directory.path, rows(40, 600))
    assert found(second) == found(first)
    assert second.manifest == first.manifest


@pytest.mark.slow
@pytest.mark.once
def test_several_tables_are_one_calibration_set(run, rows):
    whole = found(papertune.calibrate(run.directory.path, rows(40, 600)))
    import polars as pl

    parts = found(papertune.calibrate(run.directory.path, [pl.DataFrame(rows(20, 600)), pl.DataFrame(rows(20, 620))]))
    assert parts[0].threshold == pytest.approx(whole[0].threshold, abs=1e-4)
    assert parts[1] == pytest.approx(whole[1], abs=1e-4)


def test_settings_that_were_replaced_by_numbers_are_remembered(run):
    kept = json.loads(run.directory.manifest_file.read_text("utf-8"))
    assert kept["fitted_settings"] == {"topics": {"thresholds": "f1"}}


@pytest.mark.once
def test_a_part_that_fails_keeps_its_earlier_result(run, rows, listener, monkeypatch):
    def fail(*_):
        raise ModelError("too large for float16")

    before = found(run)
    monkeypatch.setattr(LabelColumn, "calibrate", fail)
    again = papertune.calibrate(run.directory.path, rows(40, 600), listener=listener)
    assert "probabilities are not calibrated: too large for float16" in listener.messages
    assert found(again)[0] == before[0]
    assert found(again)[1] != before[1]
    assert again.manifest.lacks_calibration


@pytest.mark.slow
@pytest.mark.once
@pytest.mark.parametrize("failing", [LabelColumn, LabelsColumn, RankedKeywordsColumn])
def test_a_failure_of_one_kind_keeps_only_its_earlier_result(run, rows, failing, monkeypatch):
    def fail(*_):
        raise ModelError("too large for float16")

    before, kept = found(run), run.manifest.fitted_settings
    monkeypatch.setattr(failing, "calibrate", fail)
    papertune.calibrate(run.directory.path, rows(40, 600))
    again = papertune.load_run(run.directory.path)
    same = [new == old for new, old in zip(found(again), before, strict=True)]
    assert same == [failing is each for each in (LabelColumn, LabelsColumn, RankedKeywordsColumn)]
    assert again.manifest.fitted_settings == kept


@pytest.mark.parametrize("dev", [[], [[]]])
def test_a_calibration_without_rows_is_refused(run, dev):
    before = found(run)
    with pytest.raises(TableError, match=r"no dev rows|no rows"):
        papertune.calibrate(run.directory.path, dev)
    assert found(papertune.load_run(run.directory.path)) == before


def test_rows_that_the_run_was_trained_on_are_refused(run, rows):
    with pytest.raises(TableError, match="was trained on this table, so every probability would look too good"):
        papertune.calibrate(run, rows(16, 0))


def test_a_table_that_does_not_fit_is_refused(run, rows):
    wrong = rows(40, 600)
    wrong[3]["label"] = "maybe"
    with pytest.raises(TableError, match=r'row 4.*"maybe" is not one of the 2 labels'):
        papertune.calibrate(run, wrong)
    assert found(papertune.load_run(run.directory.path)) == found(run)


def test_too_few_rows_are_reported(run, rows):
    with pytest.warns(
        PapertuneWarning, match=r'column "label": threshold and coverage will not be fitted: 12 rows are'
    ):
        again = papertune.calibrate(run, rows(12, 600))
    assert again.manifest.calibration["label"].threshold is None


def test_an_unfinished_run_is_refused(tmp_path, rows):
    with pytest.raises(RunError, match="there is no such run directory"):
        papertune.calibrate(tmp_path / "nothing", rows(40, 600))

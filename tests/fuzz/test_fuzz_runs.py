"""Run directories and journals: damaged files end in a message, or in what was there before the damage."""

import json
from pathlib import Path
from typing import Any

import pytest
from fuzz_damage import damaged, damages
from fuzz_outcome import FUZZED, outcome
from hypothesis import given
from hypothesis import strategies as st
from test_fuzz_instructions import replaced, wrong_values

from papertune.inference.cascades import about_cascades
from papertune.inference.journal import Journal
from papertune.kinds.label.join_words import join_in_words
from papertune.recipe import dump_recipe, load_recipe
from papertune.run import load_run
from papertune.run_directory import RunDirectory

RECIPE = {
    "model": "smollm2-135m-instruct",
    "table": {"document": "{title}"},
    "columns": {
        "label": {"kind": "label", "question": "Question 0?", "labels": ["1", "0"]},
        "topics": {"kind": "labels", "question": "{label}?", "labels": ["a", "b"]},
        "Keywords": {"kind": "ranked_keywords", "question": "Question 1?"},
        "n": {"kind": "number", "question": "Question 2?"},
    },
}
JOIN = {
    "weights": {"words": 1.0},
    "offsets": [0.1, -0.1],
    "evidence": "dev rows",
    "rows": 50,
    "losses": {"joined": 0.5},
}
MANIFEST: dict[str, Any] = {
    "base_name": "smollm2-135m-instruct",
    "base_checksum": "0" * 64,
    "tables": [{"source": "papers.csv", "rows": 3, "checksum": "1" * 64}],
    "label_counts": {"label": {"1": 2, "0": 1}},
    "examples": 9,
    "steps": 3,
    "seconds": 1.5,
    "trained_weights": 1000,
    "dev_score": 0.5,
    "int8": {"rows": 3, "labels": 3, "changed": 0, "scores": {"label": [0.5, 0.5]}},
    "calibration": {
        "label": {
            "rows": 50,
            "calibrator": {"kind": "temperature", "temperature": 1.5},
            "threshold": 0.5,
            "abstain_below": 0.1,
            "set_threshold": None,
        }
    },
    "rankings": {
        "Keywords": {
            "rows": 50,
            "weights": None,
            "intercept": 0.0,
            "min_confidence": 0.2,
            "evidence": {"words": 0.1},
        }
    },
    "joins": {"label": {**JOIN, "weights": {"words": 0.6, "model": 0.4}}},
    "cascades": {
        "label": {
            "certainty": 0.9,
            "joins": {"label": JOIN},
            "rows": 50,
            "share": 0.5,
            "log_loss": [0.5, 0.51],
            "score": [0.9, 0.9],
            "changed": 1,
        }
    },
    "fitted_settings": {"label": {"threshold": 0.5}},
    "calibrated_in": "fp32",
    "format": 5,
}


@pytest.fixture(scope="module")
def run(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Return a run directory that opens, without weights."""
    path = tmp_path_factory.mktemp("run")
    for name in ("adapter", "tokenizer", "sources"):
        (path / name).mkdir()
    (path / "recipe.toml").write_text(dump_recipe(load_recipe(RECIPE)), "utf-8")
    (path / "run.json").write_text(json.dumps(MANIFEST), "utf-8")
    load_run(path)
    return path


def _open(path: Path) -> None:
    """Open a run; if it opens, all that is shown of its manifest can be shown."""
    opened = load_run(path)
    manifest = opened.manifest
    assert manifest.int8 is None or manifest.int8.confirms in (True, False)
    for name, column in opened.recipe.columns.items():
        column.calibration_gaps(manifest.record(name, column))
    for question, join in opened.joins.items():
        assert join_in_words(question, join)
    if opened.joins and opened.manifest.cascades:
        assert about_cascades(opened.with_cascade(), opened.recipe)
    opened.directory.finish(manifest, opened.recipe)


@FUZZED
@given(done=damages)
def test_a_damaged_manifest_is_a_message_or_opens(done: list, run: Path):
    (run / "run.json").write_bytes(damaged(json.dumps(MANIFEST, indent=2).encode(), done))
    outcome(lambda: _open(run))


@FUZZED
@given(way=st.lists(st.integers(0, 20), min_size=1, max_size=5), new=wrong_values)
def test_a_manifest_with_another_value_is_a_message_or_opens(way: list[int], new: object, run: Path):
    (run / "run.json").write_text(json.dumps(replaced(MANIFEST, way, new)), "utf-8")
    outcome(lambda: _open(run))


METRICS = b'{"step": 1, "epoch": 0.5, "loss": 0.7}\n{"step": 2, "epoch": 1.0, "score": 0.9}\n'


@FUZZED
@given(done=damages)
def test_damaged_metrics_and_versions_are_numbers_texts_or_a_message(done: list, run: Path):
    directory = RunDirectory(run)
    directory.metrics.write_bytes(damaged(METRICS, done))
    for entry in outcome(directory.metric_entries).value:
        assert entry["step"] + entry.get("epoch", 0) + entry.get("loss", 0) is not None
    (run / "versions.json").write_bytes(damaged(b'{"python": "3.11", "torch": "2.13"}', done))
    versions = outcome(directory.versions).value
    assert versions is None or all(isinstance(version, str) for version in versions.values())


VALUES = [{"label": [[0.25, 0.75], None], "Keywords": ["a; \u4e2d", "b"]}, {"label": [[1.0, 0.0]], "Keywords": [None]}]


@pytest.fixture(scope="module")
def journal(tmp_path_factory: pytest.TempPathFactory) -> tuple[Path, bytes]:
    """Return the output of a prediction, and a journal with two of its three batches."""
    output = tmp_path_factory.mktemp("journal") / "out.csv"
    with Journal(output, "print", 3) as kept:
        for batch, values in enumerate(VALUES):
            kept.begin(batch, range(2))
            kept.finish(batch, values)
    return output, kept.path.read_bytes()


def _finished(output: Path) -> dict[int, Any]:
    with Journal(output, "print", 3) as opened:
        return {batch: opened.read(batch) for batch in range(3) if opened.finished[batch]}


@FUZZED
@given(done=damages)
def test_a_damaged_journal_gives_batches_as_they_were_or_a_message(done: list, journal: tuple[Path, bytes]):
    output, content = journal
    path = output.with_name("out.csv.journal")
    path.write_bytes(damaged(content, done))
    found = outcome(lambda: _finished(output))
    if found.value is not None:
        assert all(batch < 2 and values == VALUES[batch] for batch, values in found.value.items())

"""The measurement of exports at tiny size: a stopped one goes on, and its table has the numbers."""

import argparse
import json
from importlib.util import find_spec

import pytest

import exports
import papertune

pytestmark = [pytest.mark.slow, pytest.mark.once]
ROWS = [{"title": f"paper {number}", "abstract": "a trial", "label": str(number % 2)} for number in range(4)]


def test_labels_and_probabilities_are_compared(tiny_folder, tmp_path, monkeypatch):
    if find_spec("xllamacpp") is None:
        pytest.skip("llama.cpp is not installed: pip install xllamacpp")
    label = {"kind": "label", "question": "Medical?", "labels": ["1", "0"], "sources": ["model"]}
    recipe = {
        "model": str(tiny_folder),
        "table": {"document": "{title}\n{abstract}"},
        "columns": {"label": label},
        "training": {"max_steps": 1, "precision": "fp32"},
    }
    papertune.train(ROWS, recipe, tmp_path / "run")
    (tmp_path / "rows.json").write_text(json.dumps(ROWS))
    (tmp_path / "work").mkdir()
    arguments = argparse.Namespace(
        run=tmp_path / "run",
        table=str(tmp_path / "rows.json"),
        work=tmp_path / "work",
        rows=3,
        max_prompt_tokens=1024,
        what=["f16"],
    )
    monkeypatch.setattr(exports, "ROWS_AT_ONCE", 2)
    table = exports.measure(arguments)
    assert "| f16 | 0 | 3 of 3 | 0.00" in table
    kept = json.loads((tmp_path / "work" / "f16.json").read_text())
    kept["probabilities"] = kept["probabilities"][:1]
    (tmp_path / "work" / "f16.json").write_text(json.dumps(kept))
    assert "| f16 | 0 | 3 of 3 | 0.00" in exports.measure(arguments)

"""Opening a run again in a process with another working directory, as workers do."""

import json
import shutil

import pytest

from papertune import load_run
from papertune.inference.journal import prediction_facts


@pytest.fixture
def moved(run, tiny_folder, tmp_path, monkeypatch):
    """Return a run whose base model has a relative path, and change to the folder where that path is right."""
    folder = tmp_path / "run"
    shutil.copytree(run.directory.path, folder, ignore=shutil.ignore_patterns("training"))
    manifest = json.loads((folder / "run.json").read_text("utf-8"))
    (folder / "run.json").write_text(json.dumps({**manifest, "base_name": tiny_folder.name}), "utf-8")
    monkeypatch.chdir(tiny_folder.parent)
    return folder


@pytest.mark.parametrize("said", [False, True], ids=["recipe", "--base"])
def test_the_base_model_is_found_from_another_folder(run, moved, tiny_folder, tmp_path, monkeypatch, said):
    reopen = load_run(moved, device="cpu", base=tiny_folder.name if said else None).reopening()
    monkeypatch.chdir(tmp_path)
    assert prediction_facts(reopen("cpu"), "float32") == prediction_facts(run, "float32")


def test_the_run_is_found_from_another_folder(run, moved, tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    reopen = load_run("run", device="cpu", base=run.manifest.base_name).reopening()
    monkeypatch.chdir("/")
    assert prediction_facts(reopen("cpu"), "float32") == prediction_facts(run, "float32")

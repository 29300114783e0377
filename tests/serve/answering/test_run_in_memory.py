import os
from types import SimpleNamespace

import pytest

import papertune.run
from papertune.serve.answering import opened as opened_module
from papertune.serve.answering.opened import RunInMemory
from papertune.serve.errors import ServeError
from papertune.serve.workspace import open_workspace, remove, set_aside


@pytest.fixture
def runs(tmp_path, monkeypatch):
    """Return the folder of two runs that open at once."""
    made = open_workspace(tmp_path / "work")
    for name in ("first", "second"):
        (made.runs / name).mkdir()
        (made.runs / name / "run.json").write_text("{}", "utf-8")
    monkeypatch.setattr(papertune.run, "load_run", lambda path, device: SimpleNamespace(path=path))
    monkeypatch.setattr(opened_module, "OpenRun", lambda run: run)
    return made


def test_a_run_stays_open_until_it_changes_or_another_one_is_asked_for(runs):
    memory = RunInMemory(runs.run_path)
    assert memory.name is None
    first = memory.open("first")
    assert memory.open("first") is first
    os.utime(runs.runs / "first" / "run.json", ns=(1, 1))  # calibrated anew
    assert not memory.is_current("first")
    again = memory.open("first")
    assert again is not first
    assert memory.is_current("first")
    assert not memory.is_current("second")
    assert memory.open("second").path == runs.runs / "second"
    assert memory.name == "second"
    assert memory.open("first") is not again


def test_a_run_that_is_deleted_is_noticed(runs):
    memory = RunInMemory(runs.run_path)
    assert not memory.is_deleted()
    memory.open("first")
    assert not memory.is_deleted()
    remove(set_aside(runs.runs / "first"))
    assert memory.is_deleted()
    assert not memory.is_current("first")
    memory.close()
    assert memory.name is None
    with pytest.raises(ServeError, match=r'^there is no run "first"\. It may have been deleted: reload\.$'):
        memory.open("first")

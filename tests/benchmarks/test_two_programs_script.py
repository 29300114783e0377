"""The benchmark of two programs at once, at tiny size: one real prediction, the others stand still."""

import json
import subprocess
import sys
from pathlib import Path
from types import SimpleNamespace

import pytest
import two_programs

PAPERS = Path(__file__).parents[2] / "examples" / "papers.csv"

pytestmark = pytest.mark.slow


def test_each_way_runs_alone_and_twice_with_its_own_setting(tiny_folder, tmp_path, monkeypatch, capsys):
    started = []

    def start(command, **options):
        started.append(options["env"]["GOMP_SPINCOUNT"])
        return real.Popen(command if len(started) == 1 else [sys.executable, "-c", ""], **options)

    real = subprocess
    monkeypatch.setattr(two_programs, "subprocess", SimpleNamespace(Popen=start, DEVNULL=subprocess.DEVNULL))
    words = ["--table", str(PAPERS), "--set", f"model={tiny_folder}", "--rows", "2", "--rounds", "1", "--threads", "1"]
    monkeypatch.setattr(sys, "argv", ["two_programs.py", *words, "--output", str(tmp_path / "table.md")])
    two_programs.main()
    *table, last = capsys.readouterr().out.splitlines()
    assert started == ["1000"] * 3 + ["300000"] * 3
    result = json.loads(last)
    assert {way: len(times) for way, times in result["two_at_once_s"].items()} == dict.fromkeys(two_programs.WAYS, 1)
    assert result["rows"] == 2
    assert (tmp_path / "table.md").read_text().splitlines() == table
    assert all(f"| {way}" in "\n".join(table) for way in two_programs.WAYS)

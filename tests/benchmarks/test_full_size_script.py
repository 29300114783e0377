import json
import sys

import chatglm2
import pytest


@pytest.mark.slow
def test_the_full_size_script_runs_at_tiny_size(monkeypatch, capsys):
    counts = ["--steps", "1", "--rows", "6", "--tutorial-rows", "2"]
    monkeypatch.setattr(sys, "argv", ["chatglm2.py", "--size", "tiny", *counts])
    chatglm2.main()
    result = json.loads(capsys.readouterr().out.splitlines()[-1])
    for part in ("training", "papertune", "tutorial"):
        assert {"rows_per_s", "tokens_per_s", "peak_gb", "share_of_ceiling"} <= result[part].keys()

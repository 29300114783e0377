import json
import subprocess
import sys
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[2]


@pytest.mark.slow
def test_the_full_size_script_runs_at_tiny_size():
    counts = ["--steps", "1", "--rows", "6", "--tutorial-rows", "2"]
    command = [sys.executable, str(ROOT / "benchmarks" / "chatglm2.py"), "--size", "tiny", *counts]
    ended = subprocess.run(command, capture_output=True, text=True, timeout=300)
    assert ended.returncode == 0, ended.stderr
    result = json.loads(ended.stdout.splitlines()[-1])
    for part in ("training", "papertune", "tutorial"):
        assert {"rows_per_s", "tokens_per_s", "peak_gb", "share_of_ceiling"} <= result[part].keys()

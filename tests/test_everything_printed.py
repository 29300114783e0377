"""All that a process prints: no progress bars and warnings of libraries between papertune's own lines."""

import os
import re
import subprocess
import sys
from pathlib import Path

import pytest
from transformers import AutoTokenizer

PAPERS = Path(__file__).parents[1] / "examples" / "papers.csv"

pytestmark = pytest.mark.slow


def run_process(folder, *arguments):
    """Run a command in a process and a cache folder of its own; return its output and its error lines."""
    environment = os.environ | {"PAPERTUNE_CACHE": str(folder / "cache")}
    command = [sys.executable, "-m", "papertune", *map(str, arguments)]
    done = subprocess.run(command, env=environment, cwd=folder, capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stderr
    return done.stdout, done.stderr.splitlines()


def write_papers(folder, chosen):
    """Write some of the sample papers, of both labels."""
    head, *rows = PAPERS.read_text("utf-8").splitlines(keepends=True)
    (folder / "papers.csv").write_text(head + "".join(rows[row] for row in chosen), "utf-8")


def test_the_first_command_of_a_fresh_cache_converts_the_small_model_silently(tmp_path):
    write_papers(tmp_path, [0, 4])
    settings = ["--set", "training.max_steps=1", "--set", "training.micro_batch_size=1", "--only", "label"]
    out, lines = run_process(tmp_path, "train", "papers.csv", "-r", "medical-papers", "-o", "run", *settings)
    assert re.fullmatch(r"run: 1 steps in \d+ s\n", out)
    expected = [
        "loading smollm2-135m",
        r"training [\d,]+ of [\d,]+ parameters on 2 examples, cpu, (bf16|fp32)",
        r"training: 1/1  \d+\.\d+ rows/s, 0 s left",
    ]
    assert len(lines) == len(expected), lines
    for pattern, line in zip(expected, lines, strict=True):
        assert re.fullmatch(pattern, line), line
    # The converted tokenizer splits digits as the file says; to convert it again would take ten seconds.
    tokenizer = AutoTokenizer.from_pretrained(tmp_path / "run" / "tokenizer")
    assert tokenizer.tokenize("a  12") == ["a", "ĠĠ", "1", "2"]
    assert tokenizer.tokenize("x\n\n12") == ["x", "ĊĊ", "1", "2"]


def test_a_quiet_command_prints_its_result_only(tmp_path, tiny_folder):
    write_papers(tmp_path, range(12))
    settings = ["--set", f"model={tiny_folder}", "--set", "training.max_steps=1", "--only", "label", "--quiet"]
    out, lines = run_process(tmp_path, "train", "papers.csv", "-r", "medical-papers", "-o", "run", *settings)
    assert re.fullmatch(r"run: 1 steps in \d+ s\n", out)
    assert lines == []

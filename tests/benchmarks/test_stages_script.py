"""The benchmark of stages, on tables with a few rows and the tiny model."""

import json
import re
import sys

import polars as pl
import pytest

import stages

SIZES = ["--papers", "6", "--held-out", "4", "--rows", "6", "--test-rows", "4", "--seeds", "2"]


@pytest.fixture
def run(tmp_path, monkeypatch, tiny_folder):
    rows = [
        {
            "uuid": str(n),
            "title": f"paper {n}",
            "abstract": "clinic heart" if n % 2 else "graph",
            "Keywords": f"a {n}; b; c {n}",
            "label": str(n % 2),
        }
        for n in range(24)
    ]
    for number, (name, part) in enumerate((name, part) for name in ("keywords", "papers") for part in ("train", "dev")):
        named = [row | {"title": f"{row['title']} of {number}"} for row in rows]
        pl.DataFrame(named).write_csv(tmp_path / f"{name}_{part}.csv")
    monkeypatch.setenv("PAPERTUNE_DATA", str(tmp_path))

    def run(*options):
        model = ["--model", str(tiny_folder), "--set", "training.max_steps=1"]
        monkeypatch.setattr(sys, "argv", ["stages.py", *options, *SIZES, *model, "-o", str(tmp_path / "out")])
        stages.main()
        return (tmp_path / "out" / "stages.md").read_text("utf-8")

    return run


@pytest.mark.slow
def test_stage_pt_is_measured_and_resumed(run, tmp_path):
    page = run("pt")
    numbers = json.loads((tmp_path / "out" / "pt.json").read_text())
    assert (numbers["papers"], numbers["held_out_papers"]) == (6, 4)
    assert {name: len(found) for name, found in numbers["accuracy"].items()} == {"with": 2, "without": 2}
    assert re.search(r"^\| without \| \d+\.\d\d \| \d\.\d{3} \(\d\.\d{3}, \d\.\d{3}\) \|$", page, re.MULTILINE)
    (tmp_path / "out" / "pt.json").unlink()
    before = {file: file.stat().st_mtime_ns for file in (tmp_path / "out" / "pt").rglob("run.json")}
    assert len(before) == 5
    assert run("pt") == page
    assert before == {file: file.stat().st_mtime_ns for file in before}


@pytest.mark.slow
@pytest.mark.filterwarnings("ignore::papertune.PapertuneWarning")  # a tiny model learns and writes next to nothing
def test_stages_that_learn_from_feedback_are_measured_on_papers_of_their_own(run, tmp_path):
    sizes = {"start-rows": 6, "pairs": 5, "judge-pairs": 5, "corrections": 4, "prompts": 4, "dev-papers": 3}
    options = [text for name, size in sizes.items() for text in (f"--{name}", str(size))]
    page = run("rm", "dpo", "rloo", *options, "--steps", "1", "--score-rows", "4")
    assert re.findall(r"^## (\w+)$", page, re.MULTILINE) == ["rm", "dpo", "rloo"]
    assert page.count("F1@M of 4 papers: ") == page.count("F1@5 of 4 papers: ") == 4
    rm, dpo, rloo = (json.loads((tmp_path / "out" / f"{name}.json").read_text()) for name in ("rm", "dpo", "rloo"))
    assert rm["shares"]["all"]["reward model"]["pairs"] == 5
    assert dpo["counts"] == {"learned": 4, "held-out": 5}
    assert (rloo["prompts"], len(rloo["seeds"])) == (4, 1)

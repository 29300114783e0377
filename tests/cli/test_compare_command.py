"""papertune compare on the command line."""

import json
import sys

import pytest

pytestmark = pytest.mark.once


@pytest.fixture
def tables(here, monkeypatch):
    """Add test.csv with six more papers and their gold columns."""
    for name in ("setfit", "keybert"):
        monkeypatch.setitem(sys.modules, name, None)
    header, *papers = (here / "papers.csv").read_text("utf-8").splitlines()
    others = [f"q{n},a new {line.split(',the ', 1)[1]}" for n, line in enumerate(papers[:6])]
    (here / "test.csv").write_text("\n".join([header, *others]) + "\n", "utf-8")
    return here


@pytest.mark.slow
def test_compare_trains_a_run_and_writes_a_report(tables, papertune):
    command = ["compare", "papers.csv", "test.csv", "-r", "recipe.toml", "-o", "report", "--only", "label"]
    done = papertune(*command, "--curve", "all", "--set", "training.max_steps=2")
    assert done.code == 0
    lines = done.out.splitlines()
    assert lines[0] == "test.csv: 6 rows"
    for title in ("fine-tuned ", "few-shot ", "zero-shot ", "TF-IDF + logistic regression ", "majority "):
        scores = [line for line in lines if " Accuracy" in line.partition(": ")[0]]  # the verdict has it after a colon
        assert sum(line.strip().startswith(title) for line in scores) == 1, title
    assert lines[-1] == "report/report.html: open it in a browser"
    assert "label: TF-IDF + logistic regression" in done.err.splitlines()
    report = json.loads((tables / "report" / "report.json").read_text("utf-8"))
    assert {each["column"] for each in report["contestants"]} == {"label"}
    assert (tables / "report" / "run" / "run.json").is_file()

    refused = papertune(*command)
    assert refused.error.startswith("report already holds a report. Add --overwrite")
    again = papertune(*command, "--set", "training.max_steps=2", "--overwrite", "--quiet")
    assert again.code == 0
    assert again.err == ""
    assert again.out.splitlines()[:2] == lines[:2]


def test_user_errors_are_one_message(tables, papertune, trained):
    start = ["compare", "papers.csv", "test.csv", "-r", "recipe.toml", "-o", "report"]
    assert papertune(*start, "--curve", "50,all,x").error == (
        '--curve: "x" is not a number of rows, at least 2. Write for example 50,100,all.\n'
    )
    same = papertune("compare", "papers.csv", "papers.csv", "-r", "recipe.toml", "-o", "report")
    assert "papers.csv is also the training table" in same.error
    other = papertune(*start, "--run", trained, "--set", "layout=question-first")
    assert "was trained with another layout than the recipe has" in other.error
    seen = papertune("compare", "test.csv", "papers.csv", "-r", "recipe.toml", "-o", "report", "--run", trained)
    assert "was trained on papers.csv, so its scores" in seen.error
    assert not (tables / "report").exists()

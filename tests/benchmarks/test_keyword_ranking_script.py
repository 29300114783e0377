"""The keyword ranking benchmark on a tiny model, with and without its cache."""

import sys

import keyword_ranking
import polars as pl
import pytest

import papertune
from papertune.tables import write_table

WORDS = ["heart", "graph", "aspirin", "network", "trial", "method", "patients", "learning", "effect", "study", "neural"]


@pytest.fixture(scope="module")
def papers(tmp_path_factory):
    rows = []
    for n in range(50):
        words = [WORDS[(n * 5 + i * (1 + n % 3)) % len(WORDS)] for i in range(6 + n % 7)]
        keywords = f"{words[0]} {words[1]}; {words[3]}" if n else ""  # the first paper has none
        rows.append({"uuid": f"p{n}", "title": " ".join(words), "Keywords": keywords})
    return rows


@pytest.fixture(scope="module")
def run(tiny_folder, papers, tmp_path_factory):
    recipe = {
        "model": str(tiny_folder),
        "table": {"id": "uuid", "document": "{title}"},
        "columns": {
            "Keywords": {"kind": "ranked_keywords", "question": "Keyword?", "beams": 5, "max_keyword_tokens": 6}
        },
        "training": {"precision": "fp32", "warmup_steps": 1, "learning_rate": 0.01},
    }
    return papertune.train(papers[1:9], recipe, tmp_path_factory.mktemp("runs") / "run")


def lines(monkeypatch, capsys, *arguments):
    monkeypatch.setattr(sys, "argv", ["keyword_ranking.py", *map(str, arguments)])
    keyword_ranking.main()
    return [line for line in capsys.readouterr().out.splitlines() if line.startswith("|")]


def test_each_source_and_order_has_its_line(run, papers, tmp_path, monkeypatch, capsys):
    write_table(pl.DataFrame(papers), tmp_path / "papers.csv")
    arguments = ["--run", run.directory.path, "--table", tmp_path / "papers.csv", "--cache", tmp_path / "cache.jsonl"]
    found = lines(monkeypatch, capsys, *arguments)
    cells = [[cell.strip() for cell in line.split("|")[1:-1]] for line in found[2:]]
    orders = ["sum", "by token", "learned", "learned, cut off"]
    assert [row[:2] for row in cells] == [[s, o] for s in ("generated", "document", "both") for o in orders]
    f1 = {(source, order): float(score.split()[0]) for source, order, score, *_ in cells}
    # The keywords are phrases of the titles, which a model with little training does not generate.
    assert f1["document", "learned"] > f1["generated", "learned"] + 0.1
    assert cells[0][-1].startswith("+0.000 ")
    monkeypatch.setattr(keyword_ranking, "collect", lambda *_: pytest.fail("the cache is not read"))
    assert lines(monkeypatch, capsys, *arguments) == found


def test_with_few_rows_the_learned_order_is_the_first_one(run, papers, tmp_path, monkeypatch, capsys):
    write_table(pl.DataFrame(papers), tmp_path / "papers.csv")
    found = lines(monkeypatch, capsys, "--run", run.directory.path, "--table", tmp_path / "papers.csv", "--rows", 11)
    scores = [line.split("|")[3:] for line in found[2:]]
    assert [scores[place] == scores[place + 2] for place in (0, 4, 8)] == [True] * 3

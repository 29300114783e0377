"""papertune prefer on the command line."""

import json

import pytest

RECIPE = """
model = "tiny"
[table]
id = "id"
document = "{title}"
[columns.label]
kind = "label"
question = "Is it medical?"
labels = ["1", "0"]
[columns.Keywords]
kind = "keywords"
question = "Which keywords?"
"""


@pytest.fixture
def folder(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    return tmp_path


def save(folder, **tables):
    (folder / "recipe.toml").write_text(RECIPE)
    for name, lines in tables.items():
        (folder / f"{name}.csv").write_text("\n".join(lines) + "\n")


def entries(path):
    return [json.loads(line) for line in path.read_text().splitlines()]


def test_from_a_corrected_and_judged_table_to_two_files(papertune, folder):
    save(
        folder,
        papers=["id,title", "01,Hearts", "02,Graphs", "03,Falls"],
        filled=["id,label,Keywords", "01,1,a; b", "02,0,c", "03,1,d"],
        corrected=["id,label,Keywords,Keywords_good", "03,1,e,no", "01,0,b; a,yes"],
    )
    arguments = ("prefer", "filled.csv", "corrected.csv", "-r", "recipe.toml", "--documents", "papers.csv")
    done = papertune(*arguments, "-o", "pairs.jsonl", "--thumbs", "thumbs.json")
    assert (done.code, done.err) == (0, "")
    assert done.out.splitlines() == [
        "label: 3 cells left out, since cross-entropy over the label set is exact; there is nothing to prefer",
        "filled.csv, row 2 below the header: 1 row is not in corrected.csv; left out",
        "Keywords: 2 cells compared, 1 changed, 1 unchanged",
        "Keywords_good: 1 good, 1 bad",
        "pairs.jsonl: 1 pair (1 human, 0 synthetic)",
        'the first one (Keywords of 03): "e" is better than "d"',
        "thumbs.json: 2 judged answers",
    ]
    (pair,) = entries(folder / "pairs.jsonl")
    asked = {"instruction": "Which keywords?", "input": "Falls", "column": "Keywords", "paper": "03"}
    assert pair == {**asked, "chosen": "e", "rejected": "d", "tier": "", "source": "human"}
    assert json.loads((folder / "thumbs.json").read_text())[0] == {
        **asked,
        "output": "d",
        "kto_tag": False,
        "source": "human",
    }
    assert papertune(*arguments, "-o", "pairs.jsonl").error.strip() == (
        "pairs.jsonl exists already. Add --overwrite to replace it, or choose another name."
    )


def test_synthetic_pairs_are_called_synthetic(papertune, folder):
    save(folder, papers=["id,title,Keywords", "01,Hearts,a; b", "02,Graphs,c; d"])
    done = papertune("prefer", "papers.csv", "-r", "recipe.toml", "--synthesise", "-o", "pairs.jsonl")
    assert (done.code, done.err) == (0, "")
    assert done.out.splitlines() == [
        "Keywords: 10 synthetic pairs of 2 gold cells (other-paper 2, one-swapped 2, from-text 2, repeated 2, "
        "cut-short 2)",
        "pairs.jsonl: 10 pairs (0 human, 10 synthetic)",
        'the first one (Keywords of 01): "a; b" is better than "c; d"',
    ]
    assert {entry["source"] for entry in entries(folder / "pairs.jsonl")} == {"synthetic"}


def test_a_file_must_be_named(papertune, folder):
    save(folder, filled=["id,Keywords", "01,a"])
    assert papertune("prefer", "filled.csv", "-r", "recipe.toml").error.strip() == (
        "name a file: --output for pairs of answers, --thumbs for judged answers, or both."
    )

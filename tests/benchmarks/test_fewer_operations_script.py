"""The benchmark of fewer operations, on a table with a few rows."""

import json
import sys
import tomllib
from argparse import Namespace

import fewer_operations
import polars as pl
import pytest


@pytest.mark.once
def test_each_setting_has_its_lines_and_is_measured_once(tmp_path, tiny_folder, monkeypatch, capsys):
    rows = [
        {"title": f"paper {n}", "abstract": "clinic heart" if n % 3 else "lattice graph", "label": str(int(n % 3 > 0))}
        for n in range(60)
    ]
    for part in ("train", "dev"):
        pl.DataFrame(rows).write_csv(tmp_path / f"tiny_{part}.csv")
    monkeypatch.setenv("PAPERTUNE_DATA", str(tmp_path))
    options = [
        "tiny",
        "-o",
        str(tmp_path / "out"),
        "--rows",
        "45",
        "--dev-rows",
        "30",
        "--layers",
        "1",
        "0",
    ]
    sets = [f"model={tiny_folder}", "training.max_steps=1", "training.precision=fp32"]
    options += ["--tokens", "500", "--cascade", *(each for setting in sets for each in ("--set", setting))]
    monkeypatch.setattr(sys, "argv", ["fewer_operations.py", *options])
    fewer_operations.main()
    printed = capsys.readouterr().out
    lines = [json.loads(line) for line in printed.splitlines()]
    cascades = [f"cascade {share}%" for share in range(0, 101, 10)]
    assert [line["setting"] for line in lines] == ["layers 1", "all", "tokens 500", *cascades]
    assert all(0 <= line["joined"]["accuracy"] <= 1 and line["rows_per_s"] > 0 for line in lines)
    (place,) = (tmp_path / "out").glob("tiny-45-30-*")
    kept = json.loads((place / "layers 1" / "run.json").read_text())
    short = (place / "tokens 500" / "recipe.toml").read_text()
    assert kept["trained_weights"] > 0
    assert 500 < tomllib.loads(short)["encoding"]["max_prompt_tokens"] < 1024
    certainties = [line["certainty"] for line in lines[4:]]
    assert certainties == sorted(certainties, reverse=True)
    monkeypatch.setattr(fewer_operations, "train", None)  # nothing is trained or measured again
    fewer_operations.main()
    assert capsys.readouterr().out == printed


def test_another_recipe_has_a_folder_of_its_own(tmp_path, tiny_folder, monkeypatch):
    rows = [{"title": f"paper {n}", "abstract": "heart graph", "label": str(n % 2)} for n in range(20)]
    for part in ("train", "dev"):
        pl.DataFrame(rows).write_csv(tmp_path / f"tiny_{part}.csv")
    monkeypatch.setenv("PAPERTUNE_DATA", str(tmp_path))
    monkeypatch.setattr(fewer_operations, "line", lambda title, run, dev: {"setting": title, "run": str(run)})
    monkeypatch.setattr(fewer_operations, "trained", lambda table, recipe, folder: folder.mkdir(parents=True) or folder)

    def measured(*sets):
        overrides = [f"model={tiny_folder}", *sets]
        options = Namespace(rows=10, dev_rows=10, layers=[0], tokens=[], cascade=False)
        options.overrides, options.output = overrides, tmp_path / "out"
        return [line for lines in fewer_operations.measured("tiny", options) for line in lines]

    assert measured() == measured()
    assert measured("training.epochs=1") != measured("training.epochs=2")
    assert len(list((tmp_path / "out").iterdir())) == 3

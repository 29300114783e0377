"""The start-up benchmark at tiny size. Its times mean nothing here."""

import argparse

import pytest
import start_up

import papertune

pytestmark = pytest.mark.slow


def test_all_parts_of_the_start_are_measured(tiny_folder, tmp_path, capsys):
    table = papertune.read_table(start_up.EXAMPLES).take([0, 4])
    settings = [f"model={tiny_folder}", "training.max_steps=1", "training.precision=fp32"]
    papertune.train(table, "medical-papers", tmp_path / "run", only=["label"], overrides=settings)
    arguments = argparse.Namespace(run=tmp_path / "run", times=1, output=tmp_path / "table.md")
    result = start_up.measure(arguments)
    names = list(result["parts"])
    assert names[0] == "Python"
    assert names[-2:] == ["tokenizer, weights, adapter", "first row"]
    seconds = [parts[0][0] for parts in result["parts"].values()]
    assert min(seconds) > 0
    assert result["to_first_row"][0][0] == pytest.approx(sum(seconds))
    assert len(result["program"]) == 1
    output = capsys.readouterr().out
    assert (tmp_path / "table.md").read_text() in output
    assert all(f"| {name}" in output for name in [*names, "**to the first row**", "`papertune predict`, to its end"])

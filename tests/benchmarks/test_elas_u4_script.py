"""The comparison with ASReview, whose answers are made up here: as papertune's own, and turned round."""

import sys

import elas_u4
import polars as pl
import pytest

from papertune.tables import write_table

TOPICS = (["mice", "rats", "swim", "drug"], ["nurses", "costs", "survey", "patients"])


@pytest.fixture
def command(tmp_path, monkeypatch, capsys):
    """Return a function that compares the tables with a stand-in for ASReview and returns what is printed."""
    for part, rows in (("train", 90), ("dev", 8)):
        cells = [
            {
                "uuid": str(n),
                "title": f"{TOPICS[n % 3 > 0][n % 4]} {n}x",
                "abstract": f"{TOPICS[n % 3 > 0][n // 4 % 4]} {n * 7 % 50}y",
                "label": "excluded" if n % 3 else "included",
            }
            for n in range(rows)
        ]
        write_table(pl.DataFrame(cells), tmp_path / f"toy_{part}.csv")
    monkeypatch.setenv("PAPERTUNE_DATA", str(tmp_path))

    def command(stand_in):
        monkeypatch.setattr(elas_u4, "_asreview", stand_in)
        monkeypatch.setattr(sys, "argv", ["elas_u4.py", "toy", "--asreview", "python", "--seeds", "3"])
        elas_u4.main()
        return capsys.readouterr().out

    return command


def own(python, texts, relevant, priors, train_rows, seed):
    documents = [f"{title} {abstract}" for title, abstract in texts]
    assert sum(relevant[priors]) == len(priors) / 2
    return {
        "picks": elas_u4._picks(documents[:train_rows], relevant[:train_rows], priors),
        "ranking": elas_u4._ranking(documents, relevant, train_rows),
    }


def test_equal_picks_and_rankings_are_counted(command):
    same = "picks 50 in the same place (ASReview with itself 50 in the same place)"
    ranked = "ranking of 8 rows 8 in the same place (with itself 8 in the same place)"
    assert command(own) == f"toy, seed 3: {same}; {ranked}\n"


def test_another_order_is_seen(command):
    def turned(*given):
        return {name: rows[::-1] for name, rows in own(*given).items()}

    printed = command(turned)
    assert "picks 0 in the same place (ASReview with itself 50 in" in printed
    assert "ranking of 8 rows 0 in the same place (with itself 8 in" in printed

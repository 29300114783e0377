"""Simulated screenings: their measures by hand, both ways of fitting, and what is refused."""

import json

import numpy as np
import pytest

from papertune.errors import PapertuneError
from papertune.screening.simulation import simulate
from papertune.screening.simulation.report import write_simulations
from papertune.screening.simulation.simulate import Measures, make_features, measure, run_simulations
from papertune.screening.simulation.table import labelled_documents

TOPICS = ("mice swim drug water dose cage", "doctors nudge reminder order default screen")
DOCUMENTS = [" ".join(np.random.default_rng(n).choice(TOPICS[n % 5 == 0].split(), 5)) + f" w{n % 7}" for n in range(40)]
RELEVANT = np.arange(40) % 5 == 0


def test_the_measures_of_a_screening():
    # 20 records; relevant ones are found after 1, 2, 4 and 12: all four are needed for 95 percent.
    found = measure(np.array([1, 2, 4, 12]), 20)
    assert found == Measures(
        wss=pytest.approx(0.95 - 12 / 20),
        early_recall=2 / 4,
        mean_recall=pytest.approx((9 * 1 + 8 * 0.75 + 2 * 0.5 + 1 * 0.25) / 20),
        atd=pytest.approx((1 + 2 + 4 + 12) / 4 / 20),
    )


def test_the_fast_machine_and_the_ranker_find_the_same(monkeypatch):
    features = make_features(DOCUMENTS)
    fast = simulate.simulate(features, RELEVANT, seed=3, growth=0)
    monkeypatch.setattr(simulate, "_MAX_PRODUCTS", 0)
    assert simulate.simulate(features, RELEVANT, seed=3, growth=0).tolist() == fast.tolist()


def test_each_seed_begins_with_other_records_and_comes_out_the_same_again(tmp_path):
    done = [run_simulations(DOCUMENTS, RELEVANT, 3, encoder="none") for _ in range(2)]
    assert all(len(found) == 7 for each in done[0].found.values() for found in each)
    assert [f.tolist() for f in done[0].found["papertune"]] == [f.tolist() for f in done[1].found["papertune"]]
    write_simulations(done[0], tmp_path / "out")
    numbers = json.loads((tmp_path / "out" / "simulation.json").read_text())
    assert (numbers["records"], numbers["relevant"]) == (40, 8)
    # Without an encoder papertune ranks as ELAS u4 does.
    assert numbers["systems"]["papertune"] == numbers["systems"]["ELAS u4"]
    assert numbers["systems"]["papertune"]["mean"]["atd"] < 0.35
    assert done[0].curve("papertune")[[0, -1]].tolist() == [0, 1]
    assert (tmp_path / "out" / "recall.svg").read_text().startswith("<?xml")


@pytest.mark.parametrize(
    ("rows", "label", "include", "message"),
    [
        ([{"title": "x", "label": "in"}], None, ["yes"],
         'list of rows, column "label": no cell is "yes". The cells are "in". Name the value that means include with '
         "--include."),
        ([{"title": "x", "label": "1"}, {"title": "y", "label": ""}], None, [],
         'list of rows, row 2, column "label": the cell is empty, as are 0 others. A simulation needs all labels: fill '
         "them in, or leave these rows out."),
        ([{"text": "x", "label": "1"}], None, [],
         "list of rows: there is no column with titles. The columns are text, label. Name it with --title."),
    ],
)  # fmt: skip
def test_tables_that_cannot_be_simulated(rows, label, include, message):
    with pytest.raises(PapertuneError) as caught:
        labelled_documents(rows, None, label, include)
    assert str(caught.value) == message


def test_too_few_relevant_records():
    with pytest.raises(PapertuneError, match=r"^1 of 3 records are relevant; a simulation needs at least two"):
        run_simulations(["a", "b", "c"], np.array([True, False, False]), 1, encoder="none")


def test_a_recipe_names_document_and_label():
    rows = [{"t": f"paper {n}", "label": "10"[n % 2]} for n in range(4)]
    recipe = {
        "table": {"document": "T: {t}"},
        "columns": {"label": {"kind": "label", "question": "?", "labels": ["1", "0"]}},
    }
    documents, relevant = labelled_documents(rows, recipe, None, [])
    assert documents == ["T: paper 0", "T: paper 1", "T: paper 2", "T: paper 3"]
    assert relevant.tolist() == [True, False, True, False]

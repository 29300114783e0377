import gc
import json
import tracemalloc
from types import SimpleNamespace

import numpy as np
import polars as pl
import pytest

from papertune.errors import ModelError
from papertune.events import SILENT, Progress
from papertune.inference.journal import Journal
from papertune.inference.outputs import build_output, empty_cells, keyword_cells, label_cells
from papertune.inference.plan import make_plan
from papertune.inference.predict import Pace, collect_rows
from papertune.kinds.label.decision import Decision, decisions
from papertune.kinds.values import TableValues, each_text, text_series
from papertune.prompts.batches import Batches
from papertune.prompts.examples import RowReader
from papertune.recipe import load_recipe
from papertune.tables import Table


@pytest.fixture(scope="module")
def recipe(tmp_path_factory):
    path = tmp_path_factory.mktemp("recipe") / "recipe.toml"
    path.write_text(
        """
        [table]
        document = "{title}"
        [columns.label]
        kind = "label"
        question = "Is it medical?"
        labels = ["1", "0"]
        abstain_below = 0.6
        [columns.Keywords]
        kind = "keywords"
        question = "Keywords?"
        """,
        "utf-8",
    )
    return load_recipe(path)


def test_values_come_in_any_order_of_rows(recipe):
    values = TableValues(recipe, 5)
    values.put([3, 0], {"label": [[0.25, 0.75], None], "Keywords": ["b; c", None]})
    values.put([4, 1], {"label": [[0.1, 0.9], [0.5, 0.5]], "Keywords": ["", "a"]})
    columns = values.columns()
    assert columns["label"].dtype == np.float64
    np.testing.assert_array_equal(columns["label"], [[np.nan] * 2, [0.5, 0.5], [np.nan] * 2, [0.25, 0.75], [0.1, 0.9]])
    assert columns["Keywords"].to_list() == [None, "a", None, "b; c", ""]
    answered = decisions(recipe, {})
    label = label_cells(columns["label"], recipe.columns["label"], answered["label"])
    assert label.to_list() == [None, "", None, "0", "0"]
    assert keyword_cells(columns["Keywords"], recipe.columns["Keywords"]).to_list() == [None, "a", None, "b; c", ""]
    assert empty_cells(columns, recipe, answered) == {"label": 1, "Keywords": 1}


def test_of_equal_labels_the_first_is_taken(recipe):
    assert label_cells(np.array([[0.5, 0.5]]), recipe.columns["label"], Decision()).to_list() == ["1"]


def test_what_was_not_said_is_left_empty(recipe):
    table = Table(pl.DataFrame({"title": ["x", "y"]}), "list of rows")
    output = build_output(table, recipe, {}, ["row", "label", "label_probability_1", "Keywords"], {})
    assert output.rows() == [("1", "", "", ""), ("2", "", "", "")]


@pytest.mark.parametrize("count", [0, 1, 1023, 1024, 1025, 3000])
def test_a_column_of_many_texts(count):
    texts = [None if n % 7 == 3 else f"text {n}" for n in range(count)]
    series = text_series("name", iter(texts))
    assert (series.name, series.dtype, series.to_list()) == ("name", pl.String, texts)
    assert list(each_text(series)) == texts


class TestJournal:
    def test_reads_back_what_it_keeps(self, tmp_path):
        first = {"label": [[0.1 + 0.2, 1e-300]], "Keywords": ["\u5fc3\u810f; \ue000 \U0001f600\n\u2028"]}
        second = {"label": [None], "Keywords": [None]}
        with Journal(tmp_path / "out.csv", "print", 3) as journal:
            journal.finish(2, first)
            assert journal.read(2) == first
            journal.finish(0, second)  # a reading in between has not moved the end
            assert (journal.read(0), journal.read(2)) == (second, first)
        with Journal(tmp_path / "out.csv", "print", 3) as journal:
            assert journal.finished.tolist() == [True, False, True]
            assert (journal.read(0), journal.read(2)) == (second, first)
            journal.finish(1, first)
        lines = (tmp_path / "out.csv.journal").read_text("utf-8").split("\n")
        assert [json.loads(line).get("batch") for line in lines[:-1]] == [None, 2, 0, 1]


def characters(prompts):
    texts = [prompt.before + prompt.document + prompt.after for prompt in prompts]
    return [SimpleNamespace(ids=text.encode(), truncated=False) for text in texts]


# Without a polars heap, which `tracemalloc` does not see: its columns say themselves how large they are.
def bytes_beyond_the_table(recipe, rows, folder):
    words = ["heart", "graph", "aspirin", "network"]
    titles = [" ".join(words[(n + i) % 4] for i in range(1 + n % 40)) for n in range(rows)]
    table = Table(pl.DataFrame({"title": titles}), "list of rows")
    reader = RowReader(table, recipe)

    def answering(numbers):
        for number in numbers:
            size = len(plan.batches[number])
            keywords = [f"{words[n % 4]} {number}; {words[(n + 1) % 4]}" for n in range(size)]
            yield number, {"label": [[1 / (n + 1), n / (n + 1)] for n in range(size)], "Keywords": keywords}

    gc.collect()
    tracemalloc.start()
    try:
        plan = make_plan(SimpleNamespace(encode_many=characters), reader, range(rows), 4096)
        with Journal(folder / f"{rows}.csv", "print", len(plan.batches)) as journal:
            predicted = collect_rows(answering, recipe, plan, journal=journal, listener=SILENT)
            names = ["row", "label", "label_probability_1", "Keywords"]
            output = build_output(table, recipe, predicted.values, names, decisions(recipe, {}))
        peak = tracemalloc.get_traced_memory()[1]
    finally:
        tracemalloc.stop()
    return peak + predicted.values["Keywords"].estimated_size() + output.estimated_size()


def test_a_row_takes_at_most_200_bytes(recipe, tmp_path):
    bytes_beyond_the_table(recipe, 500, tmp_path)  # what is only made once
    few, many = (bytes_beyond_the_table(recipe, rows, tmp_path) for rows in (3_000, 9_000))
    # Both sizes fill the buffers of 1,024 texts and of a batch, so these fall out; 91 are left.
    assert 60 < (many - few) / 6_000 < 200


@pytest.mark.parametrize("before", [[], [1], [0, 2]])
def test_a_pace_is_told_by_tokens(listener, monkeypatch, before):
    rows, tokens = [3, 2, 4], [30, 50, 20]
    plan = SimpleNamespace(tokens=np.array(tokens), batches=Batches(np.arange(9), np.array([0, 3, 5, 9])))
    now = [100.0]
    monkeypatch.setattr("papertune.inference.predict.time.monotonic", lambda: now[0])
    finished = np.isin(np.arange(3), before)
    pace = Pace(plan, listener, finished)
    todo = [number for number in (2, 0, 1) if number not in before]
    for place, number in enumerate(todo):
        now[0] += 5.0
        pace.finish(number)
        done, left = todo[: place + 1], todo[place + 1 :]
        seconds = 5.0 * len(done)
        new = sum(rows[each] for each in done)
        seconds_left = seconds * sum(tokens[each] for each in left) / sum(tokens[each] for each in done)
        rows_done = new + sum(rows[each] for each in before)
        assert listener.steps[-1] == Progress("rows", rows_done, 9, new / seconds, seconds_left)
    assert listener.steps[-1].done == 9


def test_numbers_that_are_none_are_not_kept(recipe, tmp_path):
    reader = RowReader(Table(pl.DataFrame({"title": ["x"]}), "list of rows"), recipe)
    plan = make_plan(SimpleNamespace(encode_many=characters), reader, range(1), 4096)
    said = {"label": [[float("nan"), 0.5]], "Keywords": ["a"]}
    with Journal(tmp_path / "out.csv", "print", 1) as journal:
        with pytest.raises(ModelError, match='probabilities for "label" are not numbers'):
            collect_rows(lambda numbers: [(0, said)], recipe, plan, journal=journal, listener=SILENT)
        assert not journal.finished.any()

import gc
import tracemalloc
from types import SimpleNamespace

import numpy as np
import polars as pl
import pytest

from papertune.errors import ModelError
from papertune.events import SILENT, Progress
from papertune.inference.journal import Journal
from papertune.inference.outputs import build_output
from papertune.inference.plan import make_plan
from papertune.inference.predict import Pace, collect_rows
from papertune.prompts.batches import Batches
from papertune.prompts.examples import RowReader
from papertune.recipe import load_recipe
from papertune.tables import Table

RECIPE = load_recipe(
    {
        "table": {"document": "{title}"},
        "columns": {
            "label": {"kind": "label", "question": "Is it medical?", "labels": ["1", "0"], "abstain_below": 0.6},
            "Keywords": {"kind": "keywords", "question": "Keywords?"},
        },
    }
)


def characters(prompts):
    texts = [prompt.before + prompt.document + prompt.after for prompt in prompts]
    return [SimpleNamespace(ids=text.encode(), truncated=False) for text in texts]


# `tracemalloc` does not see the heap of polars, so the sizes of its columns are added.
def bytes_beyond_the_table(rows, folder):
    words = ["heart", "graph", "aspirin", "network"]
    titles = [" ".join(words[(n + i) % 4] for i in range(1 + n % 40)) for n in range(rows)]
    table = Table(pl.DataFrame({"title": titles}), "list of rows")
    reader = RowReader(table, RECIPE)

    def answering(numbers):
        for number in numbers:
            size = len(plan.batches[number])
            keywords = [f"{words[n % 4]} {number}; {words[(n + 1) % 4]}" for n in range(size)]
            yield number, {"label": [[1 / (n + 1), n / (n + 1)] for n in range(size)], "Keywords": keywords}

    gc.collect()
    tracemalloc.start()
    try:
        plan = make_plan(SimpleNamespace(encode_many=characters, max_prompt_tokens=4096), reader, range(rows), 4096)
        with Journal(folder / f"{rows}.csv", "print", len(plan.batches)) as journal:
            predicted = collect_rows(answering, RECIPE, plan, journal=journal, listener=SILENT)
            names = ["row", "label", "label_probability_1", "Keywords"]
            decisions = {name: column.decision(name, None) for name, column in RECIPE.columns.items()}
            output = build_output(table, RECIPE, predicted.values, names, decisions)
        peak = tracemalloc.get_traced_memory()[1]
    finally:
        tracemalloc.stop()
    return peak + predicted.values["Keywords"].estimated_size() + output.estimated_size()


@pytest.mark.slow
def test_a_row_takes_at_most_200_bytes(tmp_path):
    bytes_beyond_the_table(500, tmp_path)  # allocates what is made only once
    few, many = (bytes_beyond_the_table(rows, tmp_path) for rows in (2_000, 6_000))
    # Both sizes fill the buffers of 1,024 texts and of a batch, so these cancel; 91 bytes are left.
    assert 60 < (many - few) / 4_000 < 200


@pytest.mark.parametrize("before", [[], [1], [0, 2]])
def test_the_time_left_is_estimated_from_tokens(listener, monkeypatch, before):
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


def test_probabilities_that_are_not_numbers_are_not_kept(tmp_path):
    reader = RowReader(Table(pl.DataFrame({"title": ["x"]}), "list of rows"), RECIPE)
    plan = make_plan(SimpleNamespace(encode_many=characters, max_prompt_tokens=4096), reader, range(1), 4096)
    values = {"label": [[float("nan"), 0.5]], "Keywords": ["a"]}
    with Journal(tmp_path / "out.csv", "print", 1) as journal:
        with pytest.raises(ModelError, match='probabilities for "label" are not numbers'):
            collect_rows(lambda numbers: [(0, values)], RECIPE, plan, journal=journal, listener=SILENT)
        assert not journal.finished.any()

import json

import numpy as np
import polars as pl
import pytest

from papertune.config import load_recipe
from papertune.encoding import Batches
from papertune.errors import MissingExtraError, ModelError, RunError
from papertune.inference.plan import Plan
from papertune.inference.workers import Workers, _Worker, cores_each, told_of_lost_workers, values_of
from papertune.tables import Table

pa = pytest.importorskip("pyarrow")
ray = pytest.importorskip("ray")

BATCHES = Batches(np.array([1, 0, 2]), np.array([0, 2, 3]))
PART = {"number": [0, 1]}


@pytest.mark.parametrize(
    ("nodes", "workers", "cores"),
    [([8], 2, 4), ([8], 3, 2), ([2], 2, 1), ([32] * 4, 4, 32), ([8, 64], 2, 32), ([8, 64], 9, 8), ([3, 3], 3, 1)],
)
def test_cores_are_shared_out(nodes, workers, cores):
    assert cores_each(nodes, workers) == cores


def test_more_workers_than_cores():
    with pytest.raises(ModelError, match=r"^5 workers need as many cores, but the Ray cluster has 4\. Take fewer"):
        cores_each([2, 2], 5)


def test_without_ray(monkeypatch):
    monkeypatch.setattr("papertune.inference.workers.find_spec", lambda name: None)
    with pytest.raises(MissingExtraError, match=r"Ray, which is not installed: pip install 'papertune\[ray\]'$"):
        Workers(2)


def test_a_certain_gpu_is_no_choice():
    with pytest.raises(ModelError, match=r"^--device cuda:1: workers take the GPUs that Ray gives them"):
        Workers(2, device="cuda:1")


@pytest.fixture(scope="module")
def recipe(tmp_path_factory):
    path = tmp_path_factory.mktemp("recipe") / "recipe.toml"
    label = 'kind = "label"\nquestion = "Medical?"\nlabels = ["1", "0"]'
    path.write_text(f'[table]\ndocument = "{{title}}"\n[columns.label]\n{label}\n')
    return load_recipe(path)


class Repeats:
    """Gives back what it is asked about, as a label's probabilities."""

    def __init__(self, fails_at=None):
        self._fails_at = fails_at

    def answer(self, reader, rows):
        if rows == self._fails_at:
            raise ModelError("the weights are damaged")
        return {"label": [[row + 0.1, float(len(reader.document(row)))] for row in rows]}


@pytest.fixture
def make_worker(recipe, monkeypatch):
    monkeypatch.setattr(ray, "get", lambda shared: shared)

    def make(opening, facts):
        cells = pa.table({"title": ["a", "bb", "ccc"]})
        return _Worker(opening, facts, (cells, BATCHES), "papers.csv", recipe, 1)

    return make


def results_of(worker):
    return list(values_of(pa.table(worker(pa.table(PART)))))


def test_a_worker_answers_each_batch_of_its_part(make_worker):
    results = results_of(make_worker(lambda: (Repeats(), {"torch": "2"}), {"torch": "2"}))
    assert results == [(0, {"label": [[1.1, 2.0], [0.1, 1.0]]}), (1, {"label": [[2.1, 3.0]]})]
    assert json.loads(json.dumps(results[0][1])) == results[0][1]


def test_what_fails_in_a_worker_reaches_the_user(make_worker):
    results = values_of(pa.table(make_worker(lambda: (Repeats([2]), {}), {})(pa.table(PART))))
    assert next(results)[0] == 0
    with pytest.raises(ModelError, match=r"^the weights are damaged$"):
        next(results)


def test_a_run_that_cannot_be_opened_there(make_worker):
    def opening():
        raise RunError("shared/run is no run directory.")

    with pytest.raises(RunError, match=r"^shared/run is no run directory\.$"):
        results_of(make_worker(opening, {}))


def test_another_library_on_a_workers_machine(make_worker):
    worker = make_worker(lambda: (Repeats(), {"torch": "2.12"}), {"torch": "2.13"})
    with pytest.raises(RunError, match=r"^on a worker's machine \(.+\) torch is 2\.12, but where .* it is 2\.13\. All"):
        results_of(worker)


def lose_worker(error, back):
    """Have a worker lost when some batches are back."""
    table = Table(pl.DataFrame({"title": list("abcde")}), "papers.csv")
    plan = Plan(Batches(np.array([2, 3, 0, 1, 4]), np.array([0, 2, 4, 5])), np.array([9, 7, 2]), [])
    with told_of_lost_workers([0, 1, 2], plan, table) as is_back:
        for number in back:
            is_back(number)
        raise error


@pytest.mark.parametrize("error", [ray.exceptions.ActorDiedError(), ray.exceptions.OutOfMemoryError("no memory")])
@pytest.mark.parametrize(
    ("back", "rows"),
    [([], "row 3 and 1 more of its batch"), ([2, 0], "row 1 and 1 more of its batch"), ([0, 1], "row 5")],
)
def test_rows_that_end_their_worker_again_and_again(error, back, rows):
    message = (
        rf"^papers\.csv, {rows}: most likely these rows have ended their worker 3 times, perhaps for lack of memory\. "
        r"Finished rows are safe; run the same command with fewer workers\.$"
    )
    with pytest.raises(ModelError, match=message):
        lose_worker(error, back)

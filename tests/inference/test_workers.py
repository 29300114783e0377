import json
import logging
import os

import numpy as np
import polars as pl
import pytest

from papertune.errors import MissingExtraError, ModelError, PapertuneError, RunError
from papertune.inference.plan import Plan
from papertune.inference.ray_session import quiet_ray
from papertune.inference.workers import Workers, _Worker, cores_each, told_of_lost_workers, values_of
from papertune.prompts import Batches
from papertune.recipe import load_recipe
from papertune.tables import Table

pa = pytest.importorskip("pyarrow")
ray = pytest.importorskip("ray")
pytest.importorskip("ray.data")

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


@pytest.mark.parametrize(
    ("nodes", "gpus", "workers", "cores"),
    [([64, 16], [0, 4], 4, 4), ([16, 16], [1, 8], 2, 16), ([16, 16], [1, 8], 4, 5), ([8, 4], [2, 8], 6, 1)],
)
def test_cores_are_those_of_machines_with_gpus(nodes, gpus, workers, cores):
    assert cores_each(nodes, workers, gpus) == cores


def test_gpus_without_cores():
    message = (
        r"^4 workers need a GPU and a core on the same machine each, but the Ray cluster has that for 3\. "
        r"Take fewer workers, or --device cpu\.$"
    )
    with pytest.raises(ModelError, match=message):
        cores_each([64, 2, 1], 4, [0, 8, 1])


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
        raise RunError("shared/run is not a run directory.")

    with pytest.raises(RunError, match=r"^shared/run is not a run directory\.$"):
        results_of(make_worker(opening, {}))


def test_another_library_on_a_workers_machine(make_worker):
    worker = make_worker(lambda: (Repeats(), {"torch": "2.12"}), {"torch": "2.13"})
    with pytest.raises(RunError, match=r"^on a worker's machine \(.+\) torch is 2\.12, but where .* it is 2\.13\. All"):
        results_of(worker)


def test_an_error_of_a_name_that_is_not_known_here():
    part = pa.table({"number": [0], "values": [""], "error": ["OwnError"], "message": ["it is broken"]})
    with pytest.raises(PapertuneError, match=r"^it is broken$"):
        next(values_of(part))


def task_error(cause):
    """What Ray makes of an exception in another process."""
    text = f"Traceback (most recent call last):\n{type(cause).__name__}: of there"
    return ray.exceptions.RayTaskError("question", text, cause, proctitle="ray", pid=1, ip="127.0.0.1")


@pytest.fixture
def workers_elsewhere(monkeypatch):
    """Workers whose questions end with an exception on another machine."""

    class Asked:
        def options(self, **_):
            return self

        def remote(self, device):
            return device

    def make(cause):
        def get(_):
            raise task_error(cause).as_instanceof_cause()

        monkeypatch.setattr(ray, "remote", lambda question: Asked())
        monkeypatch.setattr(ray, "get", get)
        workers = Workers(2)
        workers.device = "cpu"
        return workers

    return make


def test_our_errors_come_from_another_machine_without_its_traceback(workers_elsewhere):
    with pytest.raises(RunError, match=r"^shared/run: there is no such run directory\.$") as caught:
        workers_elsewhere(RunError("shared/run: there is no such run directory.")).ask(str)
    assert type(caught.value) is RunError


def test_other_errors_keep_it(workers_elsewhere):
    with pytest.raises(ray.exceptions.RayTaskError, match="KeyError: of there"):
        workers_elsewhere(KeyError("device")).ask(str)


@pytest.mark.filterwarnings("ignore::DeprecationWarning")  # Ray warns of its own defaults
def test_what_ray_prints_is_the_programs_own_again(monkeypatch):
    from ray._private import worker

    monkeypatch.delenv("RAY_USAGE_STATS_ENABLED", raising=False)
    monkeypatch.setenv("RAY_BACKEND_LOG_LEVEL", "info")
    context = ray.data.DataContext.get_current()
    monkeypatch.setattr(context, "enable_progress_bars", True)
    loggers = [logging.getLogger("ray"), logging.getLogger("ray.data")]

    def state():
        flags = (context.enable_progress_bars, context.print_on_execution_start, worker._worker_logs_enabled)
        return flags, [logger.level for logger in loggers], dict(os.environ)

    before = state()
    with quiet_ray():
        flags, levels, environment = state()
        assert flags == (False, False, False)
        assert levels == [logging.CRITICAL, logging.CRITICAL]
        assert (environment["RAY_USAGE_STATS_ENABLED"], environment["RAY_BACKEND_LOG_LEVEL"]) == ("0", "info")
    assert state() == before


@pytest.fixture
def session(monkeypatch):
    """Two machines, one with GPUs; give a list of what is done to the session."""
    nodes = [{"CPU": 64.0}, {"CPU": 16.0, "GPU": 4.0}]
    done = []
    monkeypatch.setattr(ray, "cluster_resources", lambda: {"CPU": 80.0, "GPU": 4.0})
    monkeypatch.setattr(ray, "nodes", lambda: [{"Alive": True, "Resources": resources} for resources in nodes])
    monkeypatch.setattr(ray, "init", lambda *_, **__: done.append("init"))
    monkeypatch.setattr(ray, "shutdown", lambda: done.append("shutdown"))
    monkeypatch.setattr(ray, "is_initialized", lambda: True)
    return done


def test_a_session_of_the_programs_own_stays_as_it_is(session):
    before = logging.getLogger("ray").level
    assert before != logging.CRITICAL
    with Workers(4) as workers:
        assert (workers.device, workers.threads) == ("cuda", 4)
        assert logging.getLogger("ray").level == before
    assert session == []


@pytest.mark.filterwarnings("ignore::DeprecationWarning")  # Ray warns of its own defaults
@pytest.mark.parametrize("count", [4, 5])
def test_a_session_of_ours_ends_and_ray_prints_again(session, monkeypatch, count):
    monkeypatch.setattr(ray, "is_initialized", lambda: False)
    monkeypatch.setenv("RAY_ADDRESS", "first-machine:6379")
    before = logging.getLogger("ray").level
    if count == 4:
        with Workers(count):
            assert session == ["init"]
            assert logging.getLogger("ray").level == logging.CRITICAL
    else:
        with pytest.raises(ModelError, match=r"^5 workers need 5 GPUs, but there are 4"), Workers(count, device="cuda"):
            pass
    assert session == ["init", "shutdown"]
    assert logging.getLogger("ray").level == before


def lose_worker(error, back):
    """Have a worker lost when some batches are back."""
    table = Table(pl.DataFrame({"title": list("abcde")}), "papers.csv")
    plan = Plan(Batches(np.array([2, 3, 0, 1, 4]), np.array([0, 2, 4, 5])), np.array([9, 7, 2]), [])
    with told_of_lost_workers([0, 1, 2], plan, table) as is_back:
        for number in back:
            is_back(number)
        raise error


lost = pytest.mark.parametrize(
    "error", [ray.exceptions.ActorDiedError(), ray.exceptions.OutOfMemoryError("no memory")], ids=["died", "memory"]
)


@lost
@pytest.mark.parametrize(("back", "rows"), [([2, 0], "row 1 and 1 more of its batch"), ([0, 1], "row 5")])
def test_rows_that_end_their_worker_again_and_again(error, back, rows):
    message = (
        rf"^papers\.csv, {rows}: most likely these rows have ended their worker again and again, perhaps for lack of "
        r"memory\. Finished rows are safe; run the same command with fewer workers\.$"
    )
    with pytest.raises(ModelError, match=message):
        lose_worker(error, back)


@lost
def test_workers_that_end_before_they_answer(error):
    message = (
        r"^papers\.csv, row 3 and 1 more of its batch: workers end while they load the model or answer their first "
        r"rows, which are most likely these, perhaps for lack of memory\. Finished rows are safe; run the same command "
        r"with fewer workers\.$"
    )
    with pytest.raises(ModelError, match=message):
        lose_worker(error, [])


@lost
def test_a_worker_that_is_lost_when_all_rows_are_back(error):
    with pytest.raises(type(error)):
        lose_worker(error, [0, 1, 2])


def test_a_mistake_in_opening_a_run_keeps_its_traceback():
    with pytest.raises(ray.exceptions.ActorDiedError, match="KeyError: of there"):
        lose_worker(ray.exceptions.ActorDiedError(task_error(KeyError("layers"))), [])


def test_a_worker_that_dies_is_not_started_again_without_end(monkeypatch):
    given = {}

    class Data:
        def map_batches(self, _, **options):
            given.update(options)
            return self

        def iter_batches(self, **_):
            return iter([])

    monkeypatch.setattr(ray.data, "from_arrow", lambda parts: Data())
    workers = Workers(2)
    workers.device, workers._cores = "cpu", 1
    assert list(workers._results([0, 1], ())) == []
    assert given["max_restarts"] == 5
    assert given["max_task_retries"] == 2

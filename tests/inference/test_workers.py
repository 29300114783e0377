import json
import logging
import os
import threading
from functools import partial

import numpy as np
import polars as pl
import pytest

from papertune.errors import MissingExtraError, ModelError, PapertuneError, RunError
from papertune.inference.plan import Plan
from papertune.inference.processes.ray_session import connect_ray, quiet_ray
from papertune.inference.processes.workers import (
    Workers,
    _Worker,
    cores_per_worker,
    count_parts,
    prompt_columns,
    read_results,
    reserved_cores,
    translate_worker_loss,
)
from papertune.prompts import Batches
from papertune.recipe import load_recipe
from papertune.tables import Table, read_table

pa = pytest.importorskip("pyarrow")
ray = pytest.importorskip("ray")
pytest.importorskip("ray.data")

BATCHES = Batches(np.array([1, 0, 2]), np.array([0, 2, 3]))
PART = {"number": [0, 1]}


@pytest.mark.parametrize(
    ("nodes", "workers", "cores"),
    [([8], 2, 4), ([8], 3, 2), ([2], 2, 1), ([32] * 4, 4, 32), ([8, 64], 2, 32), ([8, 64], 9, 8), ([3, 3], 3, 1)],
)
def test_cores_are_shared_equally(nodes, workers, cores):
    assert cores_per_worker(nodes, workers) == cores


def test_workers_get_the_columns_of_prompts():
    entries = read_table([{"id": 1, "instruction": "q", "output": "", "system": "s", "history": [["a", "b"]]}])
    assert prompt_columns(entries, load_recipe("instruct")) == ["instruction", "output", "system", "history"]
    answer = {"kind": "text", "question": "{why}"}
    recipe = load_recipe({"table": {"document": "{title}"}, "columns": {"answer": answer}})
    papers = read_table([{"id": 1, "title": "t", "abstract": "a", "why": "q"}])
    assert prompt_columns(papers, recipe) == ["title", "why"]


def test_more_workers_than_cores_raise():
    with pytest.raises(ModelError, match=r"^5 workers need 5 cores, but the Ray cluster has 4\. Use fewer"):
        cores_per_worker([2, 2], 5)


@pytest.mark.parametrize(
    ("nodes", "gpus", "workers", "cores"),
    [([64, 16], [0, 4], 4, 4), ([16, 16], [1, 8], 2, 16), ([16, 16], [1, 8], 4, 5), ([8, 4], [2, 8], 6, 1)],
)
def test_gpu_workers_share_the_cores_of_machines_with_gpus(nodes, gpus, workers, cores):
    assert cores_per_worker(nodes, workers, gpus) == cores


def test_gpus_without_cores_raise():
    message = (
        r"^each of 4 workers needs a GPU and a core on the same machine, but the Ray cluster has these for 3\. "
        r"Use fewer workers, or --device cpu\.$"
    )
    with pytest.raises(ModelError, match=message):
        cores_per_worker([64, 2, 1], 4, [0, 8, 1])


@pytest.mark.parametrize("cores", [1, 2, 3, 8])
def test_the_workers_of_a_lost_machine_find_a_place_on_the_other_one(cores):
    each = reserved_cores(cores)
    assert 2 * each <= cores
    assert each == 0.5 or each == int(each) > 0  # what Ray accepts


def test_missing_ray_raises(monkeypatch):
    monkeypatch.setattr("papertune.inference.processes.workers.find_spec", lambda name: None)
    with pytest.raises(MissingExtraError, match=r"Ray, which is not installed: pip install 'papertune\[ray\]'$"):
        Workers(2)


def test_a_gpu_with_a_number_raises():
    with pytest.raises(ModelError, match=r"^--device cuda:1: Ray assigns a GPU to each worker"):
        Workers(2, device="cuda:1")


@pytest.fixture(scope="module")
def recipe(tmp_path_factory):
    path = tmp_path_factory.mktemp("recipe") / "recipe.toml"
    label = 'kind = "label"\nquestion = "Medical?"\nlabels = ["1", "0"]'
    path.write_text(f'[table]\ndocument = "{{title}}"\n[columns.label]\n{label}\n')
    return load_recipe(path)


class Repeats:
    """Returns row numbers and document lengths as probabilities of a label."""

    def __init__(self, fails_at=None, encodes_ahead=False):
        self._fails_at = fails_at
        self.encodes_ahead = encodes_ahead
        self.encoded = []
        self.two_encoded = threading.Event()

    def encode(self, reader, rows):
        self.encoded.append(list(rows))
        if len(self.encoded) == 2:
            self.two_encoded.set()
        return [reader.document(row) for row in rows]

    def answer(self, reader, rows, prompts):
        assert prompts == [reader.document(row) for row in rows]
        if self.encodes_ahead:
            assert self.two_encoded.wait(timeout=60), "the second batch is encoded before the first is answered"
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
    return list(read_results(pa.table(worker(pa.table(PART)))))


def test_a_worker_answers_each_batch_of_its_part(make_worker):
    results = results_of(make_worker(lambda: (Repeats(), {"torch": "2"}), {"torch": "2"}))
    assert results == [(0, {"label": [[1.1, 2.0], [0.1, 1.0]]}), (1, {"label": [[2.1, 3.0]]})]
    assert json.loads(json.dumps(results[0][1])) == results[0][1]


def test_a_worker_encodes_the_next_batch_of_its_part_while_it_answers_one(make_worker):
    ahead = Repeats(encodes_ahead=True)
    results = results_of(make_worker(lambda: (ahead, {}), {}))
    assert results == results_of(make_worker(lambda: (Repeats(), {}), {}))
    assert ahead.encoded == [[1, 0], [2]]


@pytest.mark.parametrize(
    ("batches", "encodes_ahead", "parts"),
    [
        (0, False, 0),
        (10, False, 10),
        (9000, False, 4000),
        (10, True, 10),  # each of four workers may have sixteen parts
        (300, True, 64),
        (8000, True, 1000),
        (90_000, True, 4000),
    ],
)
def test_parts_have_several_batches_where_prompts_are_encoded_ahead(batches, encodes_ahead, parts):
    assert count_parts(batches, 4, encodes_ahead=encodes_ahead) == parts


def test_an_error_in_a_worker_is_raised_in_the_driver(make_worker):
    results = read_results(pa.table(make_worker(lambda: (Repeats([2]), {}), {})(pa.table(PART))))
    assert next(results)[0] == 0
    with pytest.raises(ModelError, match=r"^the weights are damaged$"):
        next(results)


def test_a_run_that_a_worker_cannot_open_raises(make_worker):
    def opening():
        raise RunError("shared/run is not a run directory.")

    with pytest.raises(RunError, match=r"^shared/run is not a run directory\.$"):
        results_of(make_worker(opening, {}))


def test_another_library_version_on_a_workers_machine_raises(make_worker):
    worker = make_worker(lambda: (Repeats(), {"torch": "2.12"}), {"torch": "2.13"})
    with pytest.raises(RunError, match=r"^on a worker's machine \(.+\) torch is 2\.12, but where .* it is 2\.13\. All"):
        results_of(worker)


def test_an_unknown_error_class_becomes_a_papertune_error():
    part = pa.table({"number": [0], "values": [""], "error": ["OwnError"], "message": ["it is broken"]})
    with pytest.raises(PapertuneError, match=r"^it is broken$"):
        next(read_results(part))


def test_a_cluster_with_another_token_is_an_error_that_says_so(monkeypatch):
    def refuse(*_, **__):
        try:
            raise RuntimeError("Failed to connect to GCS.\nray.exceptions.AuthenticationError: InvalidAuthToken")
        except RuntimeError as error:
            raise ConnectionError("Failed to connect to Ray cluster at first:6379") from error

    monkeypatch.setenv("RAY_ADDRESS", "first:6379")
    monkeypatch.setattr(ray, "init", refuse)
    with pytest.raises(ModelError) as caught:
        connect_ray(2)
    assert str(caught.value) == (
        "the Ray cluster at RAY_ADDRESS=first:6379 asks for another token. Set RAY_AUTH_MODE=token, and RAY_AUTH_TOKEN "
        "or the file ~/.ray/auth_token as on the cluster's first machine."
    )


def task_error(cause):
    """Return the exception that Ray raises for an exception in another process."""
    text = f"Traceback (most recent call last):\n{type(cause).__name__}: from there"
    return ray.exceptions.RayTaskError("function", text, cause, proctitle="ray", pid=1, ip="127.0.0.1")


@pytest.fixture
def workers_elsewhere(monkeypatch):
    """Return a maker of workers on another machine on which every call raises an exception."""

    class Task:
        def options(self, **_):
            return self

        def remote(self, device):
            return device

    def make(cause):
        def get(_):
            raise task_error(cause).as_instanceof_cause()

        remote = ray.remote
        monkeypatch.setattr(ray, "remote", lambda function: remote(function) and Task())
        monkeypatch.setattr(ray, "get", get)
        workers = Workers(2)
        workers.device = "cpu"
        return workers

    return make


def test_errors_of_papertune_come_from_another_machine_without_its_traceback(workers_elsewhere):
    with pytest.raises(RunError, match=r"^shared/run: there is no such run directory\.$") as caught:
        workers_elsewhere(RunError("shared/run: there is no such run directory.")).call(str)
    assert type(caught.value) is RunError


def test_a_bound_function_is_called_on_another_machine(monkeypatch):
    class Task:
        def __init__(self, function):
            self.remote = function

        def options(self, **_):
            return self

    remote = ray.remote  # it refuses what is no function
    monkeypatch.setattr(ray, "remote", lambda function: remote(function) and Task(function))
    monkeypatch.setattr(ray, "get", lambda value: value)
    workers = Workers(2)
    workers.device = "cpu"
    assert workers.call(partial("{} on {}".format, "run")) == "run on cpu"


def test_other_errors_from_another_machine_keep_its_traceback(workers_elsewhere):
    with pytest.raises(ray.exceptions.RayTaskError, match="KeyError: from there"):
        workers_elsewhere(KeyError("device")).call(str)


@pytest.mark.filterwarnings("ignore::DeprecationWarning")  # Ray warns about its own defaults
def test_quiet_ray_restores_all_settings(monkeypatch):
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
    """Pretend a session of two machines, one with GPUs; return the list of calls that change the session."""
    nodes = [{"CPU": 64.0}, {"CPU": 16.0, "GPU": 4.0}]
    calls = []
    monkeypatch.setattr(ray, "cluster_resources", lambda: {"CPU": 80.0, "GPU": 4.0})
    monkeypatch.setattr(ray, "nodes", lambda: [{"Alive": True, "Resources": resources} for resources in nodes])
    monkeypatch.setattr(ray, "init", lambda *_, **__: calls.append("init"))
    monkeypatch.setattr(ray, "shutdown", lambda: calls.append("shutdown"))
    monkeypatch.setattr(ray, "is_initialized", lambda: True)
    return calls


def test_a_session_of_the_calling_program_is_not_changed(session):
    before = logging.getLogger("ray").level
    assert before != logging.CRITICAL
    with Workers(4) as workers:
        assert (workers.device, workers.threads) == ("cuda", 4)
        assert logging.getLogger("ray").level == before
    assert session == []


@pytest.mark.filterwarnings("ignore::DeprecationWarning")  # Ray warns about its own defaults
@pytest.mark.parametrize("count", [4, 5])
def test_a_session_started_by_workers_is_shut_down(session, monkeypatch, count):
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


def lose_worker(error, done):
    """Lose a worker after some batches are done."""
    table = Table(pl.DataFrame({"title": list("abcde")}), "papers.csv")
    plan = Plan(Batches(np.array([2, 3, 0, 1, 4]), np.array([0, 2, 4, 5])), np.array([9, 7, 2]), [])
    with translate_worker_loss([0, 1, 2], plan, table) as mark_done:
        for number in done:
            mark_done(number)
        raise error


lost = pytest.mark.parametrize(
    "error", [ray.exceptions.ActorDiedError(), ray.exceptions.OutOfMemoryError("no memory")], ids=["died", "memory"]
)


@lost
@pytest.mark.parametrize(("done", "rows"), [([2, 0], "row 1 and 1 more of its batch"), ([0, 1], "row 5")])
def test_rows_that_repeatedly_crash_their_worker_are_named(error, done, rows):
    message = (
        rf"^papers\.csv, {rows}: most likely these rows repeatedly crash their worker, perhaps for lack of memory\. "
        r"Finished rows are kept; run the same command with fewer workers\.$"
    )
    with pytest.raises(ModelError, match=message):
        lose_worker(error, done)


@lost
def test_workers_that_crash_before_their_first_answer_are_reported(error):
    message = (
        r"^papers\.csv, row 3 and 1 more of its batch: workers crash while they load the model or answer their first "
        r"rows, most likely these, perhaps for lack of memory\. Finished rows are kept; run the same command with "
        r"fewer workers\.$"
    )
    with pytest.raises(ModelError, match=message):
        lose_worker(error, [])


@lost
def test_a_worker_lost_after_all_rows_raises_the_error_of_ray(error):
    with pytest.raises(type(error)):
        lose_worker(error, [0, 1, 2])


def test_an_exception_while_a_worker_opens_a_run_keeps_its_traceback():
    with pytest.raises(ray.exceptions.ActorDiedError, match="KeyError: from there"):
        lose_worker(ray.exceptions.ActorDiedError(task_error(KeyError("layers"))), [])


def test_restarts_of_a_worker_are_limited(monkeypatch):
    passed = {}

    class Data:
        def map_batches(self, _, **options):
            passed.update(options)
            return self

        def iter_batches(self, **_):
            return iter([])

    monkeypatch.setattr(ray.data, "from_arrow", lambda parts: Data())
    workers = Workers(2)
    workers.device, workers._cores = "cpu", 1
    assert list(workers._results([0, 1], ())) == []
    assert (passed["max_restarts"], passed["max_task_retries"]) == (5, -1)

"""Prediction by several processes on one or more machines, through Ray Data.

    driver                                      workers, each with the run loaded once
    plan, table ──── batch numbers ──▶ answer the batches of a part
    journal, output ◀── values, as JSON, or the message of an error

Only the driver writes files. Results go to the journal at once, in any order. So killing the driver loses the parts
that are being answered, and killing a worker loses its part: Ray restarts the worker with the same part. Workers read
no table file: the columns that prompts need, and the rows of all batches, are in Ray's shared memory, once per machine.
"""

import json
import os
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import ExitStack, closing, contextmanager
from importlib.util import find_spec
from typing import Any, TypeVar

import numpy as np
import polars as pl
import torch

from papertune import errors
from papertune.errors import MissingExtraError, ModelError, PapertuneError, RunError
from papertune.events import SILENT, Listener
from papertune.inference.batches import BatchPredictor
from papertune.inference.journal import Journal
from papertune.inference.plan import Plan
from papertune.inference.predict import Predicted, collect_rows, encode_batches
from papertune.inference.processes.ray_session import connect_ray, quiet_ray
from papertune.kinds.values import BatchValues
from papertune.prompts import Batches
from papertune.prompts.examples import RowReader, reads_entries
from papertune.recipe import Recipe
from papertune.tables import Table
from papertune.templates import template_columns

Result = TypeVar("Result")

# Returns the predictor of a worker, and facts that must be the same in all processes.
Opening = Callable[[], tuple[BatchPredictor, Mapping[str, str | None]]]

# Ray needs some milliseconds and kilobytes for each part, so the parts of a large table have several batches.
_MAX_PARTS = 4000

# Batches of a part where prompts are encoded ahead, so that a worker waits for the first of them only; and how many
# parts each worker has at least, so that all end at about the same time.
_BATCHES_AHEAD = 8
_MIN_PARTS_PER_WORKER = 16

# Restarts of a worker: one that dies while it loads, or of a part that needs more memory than there is, would otherwise
# restart forever. Enough for a long prediction to survive several lost machines, or parts that each crash it once.
_MAX_RESTARTS = 5

# Retries of a part, without limit: its worker's restarts end them. Until Ray has noticed that a machine is lost, it
# tries the part on it again each second, and any small number would be used up before.
_MAX_RETRIES = -1

_INSTRUCTION_COLUMNS = ("instruction", "input", "output", "history", "system")


class Workers:
    """Processes that answer batches. Use it as a context manager; the processes end with it.

    They join the Ray session of this program if it has one, else the cluster at RAY_ADDRESS, else they run on this
    machine. Each worker has its own GPU, or an equal share of the CPU cores.

    Args:
        count: Number of workers.
        device: "cpu" or "cuda"; None: GPUs if Ray has any.

    Attributes:
        count: Number of workers.
        device: "cpu" or "cuda".
        threads: Number of threads of each worker.
    """

    def __init__(self, count: int, *, device: str | None = None) -> None:
        if count < 1:
            raise ValueError(f"there must be at least one worker, not {count}")
        if find_spec("ray") is None:
            raise MissingExtraError("--workers needs Ray, which is not installed: pip install 'papertune[ray]'")
        if device not in (None, "cpu", "cuda"):
            raise ModelError(
                f"--device {device}: Ray assigns a GPU to each worker. Use --device cuda, or omit the option."
            )
        self.count = count
        self._wanted = device
        self._is_local = False
        self._stack = ExitStack()

    def __enter__(self) -> "Workers":
        """Join or start Ray.

        Raises:
            ModelError: If there are fewer cores or GPUs than workers, or the cluster cannot be reached.
        """
        import ray

        with ExitStack() as stack:
            if not ray.is_initialized():
                stack.enter_context(quiet_ray())  # a session of the calling program keeps its output
                self._is_local = connect_ray(self.count)
                stack.callback(ray.shutdown)
            gpus = int(ray.cluster_resources().get("GPU", 0))
            self.device = self._wanted or ("cuda" if gpus else "cpu")
            if self.device == "cuda" and gpus < self.count:
                raise ModelError(
                    f"{self.count} workers need {self.count} GPUs, but there are {gpus}. Use fewer workers, or "
                    "--device cpu."
                )
            if self._is_local:
                self.threads, self._cores = max(torch.get_num_threads() // self.count, 1), 1
            else:
                found = [node["Resources"] for node in ray.nodes() if node["Alive"]]
                cores, cards = ([int(node.get(kind, 0)) for node in found] for kind in ("CPU", "GPU"))
                self.threads = self._cores = cores_per_worker(
                    cores, self.count, cards if self.device == "cuda" else None
                )
            self._stack = stack.pop_all()
        return self

    def __exit__(self, *_: object) -> None:
        """End the workers, and Ray if it was started here; its output settings are restored."""
        self._stack.close()

    def call(self, function: Callable[[str], Result]) -> Result:
        """Call a function with the device on a machine with workers; papertune's errors are raised unchanged."""
        if self._is_local:
            return function(self.device)
        import ray

        # Ray takes functions only, and a bound one (`partial`) is none for it.
        task = ray.remote(lambda device: function(device)).options(num_cpus=1, num_gpus=int(self.device == "cuda"))
        try:
            return ray.get(task.remote(self.device))  # type: ignore[no-any-return]
        except ray.exceptions.RayTaskError as error:  # its text is the traceback of the other machine
            if isinstance(error.cause, PapertuneError):
                raise error.cause from None
            raise

    def predict_rows(
        self,
        opening: Opening,
        facts: Mapping[str, str | None],
        table: Table,
        recipe: Recipe,
        asked: Recipe,
        plan: Plan,
        *,
        journal: Journal,
        listener: Listener = SILENT,
    ) -> Predicted:
        """Run a plan.

        Args:
            opening: Called once in each worker.
            facts: Facts that must be the same in the workers.
            table: The table.
            recipe: The recipe of the run.
            asked: The recipe with only the columns to predict.
            plan: The batches, of all rows of the table.
            journal: Stores finished batches; those that it already has are skipped.
            listener: Gets the progress after each batch.

        Raises:
            ModelError: If the model's numbers overflow, or a batch repeatedly crashes its worker.
            RunError: If a worker has another run or other libraries.
        """
        import ray

        frame = table.frame.select(prompt_columns(table, asked))
        shared = ray.put((frame.to_arrow(compat_level=pl.CompatLevel.oldest()), plan.batches))
        arguments = (opening, dict(facts), shared, table.source, asked, self.threads)

        def answering(numbers: list[int]) -> Iterator[tuple[int, BatchValues]]:
            with translate_worker_loss(numbers, plan, table) as mark_done:
                for number, values in self._results(numbers, arguments):
                    mark_done(number)
                    journal.begin(number, plan.batches[number])
                    yield number, values

        return collect_rows(answering, recipe, plan, journal=journal, listener=listener)

    def _results(self, numbers: Sequence[int], arguments: tuple[Any, ...]) -> Iterator[tuple[int, BatchValues]]:
        if not numbers:
            return
        import pyarrow as pa
        import ray

        count = count_parts(len(numbers), self.count, encodes_ahead=self.device != "cpu")
        parts = np.array_split(np.asarray(numbers, dtype=np.int64), count)
        done = ray.data.from_arrow([pa.table({"number": part}) for part in parts]).map_batches(
            _Worker,
            fn_constructor_args=arguments,
            batch_size=None,  # all of a part
            batch_format="pyarrow",
            compute=ray.data.ActorPoolStrategy(size=min(self.count, len(parts))),
            num_cpus=1 if self._is_local else reserved_cores(self._cores),
            num_gpus=int(self.device == "cuda"),
            max_restarts=_MAX_RESTARTS,
            max_task_retries=_MAX_RETRIES,
        )
        for part in done.iter_batches(batch_size=None, batch_format="pyarrow", prefetch_batches=0):
            yield from read_results(part)


def count_parts(batches: int, workers: int, *, encodes_ahead: bool) -> int:
    """Return into how many parts the batches are divided.

    Args:
        batches: Number of batches.
        workers: Number of workers.
        encodes_ahead: Whether a worker encodes the prompts of a batch of its part while it answers the one before.
    """
    if not encodes_ahead:
        return min(batches, _MAX_PARTS)
    wanted = max(batches // _BATCHES_AHEAD, _MIN_PARTS_PER_WORKER * workers)
    return min(batches, wanted, _MAX_PARTS)


def prompt_columns(table: Table, recipe: Recipe) -> list[str]:
    """Return the columns of a table that prompts are made from."""
    names = {each.question_column for each in recipe.questions.values()}
    names |= {*(_INSTRUCTION_COLUMNS if reads_entries(table, recipe) else template_columns(recipe.table.document))}
    return [name for name in table.columns if name in names]


@contextmanager
def translate_worker_loss(numbers: Sequence[int], plan: Plan, table: Table) -> Iterator[Callable[[int], None]]:
    """Turn Ray's error of a lost worker into a message with the rows that have probably crashed it.

    Ray reports that a worker is lost, but not with which batch. Batches are distributed in order, so it is most likely
    the first unfinished one: the others continued while it was retried. If no batch is finished, the worker may have
    died while it loaded the model.

    Args:
        numbers: The batches to answer, in the order of their distribution.
        plan: All batches.
        table: The table.

    Yields:
        A function to call with the number of each finished batch.

    Raises:
        ModelError: If Ray has given up a worker. An exception from the constructor of a worker is raised unchanged.
    """
    import ray

    done = np.zeros(len(plan.batches), dtype=np.bool_)
    try:
        yield lambda number: done.__setitem__(number, True)
    except (ray.exceptions.RayActorError, ray.exceptions.OutOfMemoryError) as error:
        number = next((number for number in numbers if not done[number]), None)
        if number is None or getattr(error, "actor_init_failed", False):
            raise
        rows = plan.batches[number]
        more = f" and {len(rows) - 1:,} more of its batch" if len(rows) > 1 else ""
        where = f"{table.where(rows[0])}{more}"
        if not done.any():
            raise ModelError(
                f"{where}: workers crash while they load the model or answer their first rows, most likely these, "
                "perhaps for lack of memory. Finished rows are kept; run the same command with fewer workers."
            ) from error
        raise ModelError(
            f"{where}: most likely these rows repeatedly crash their worker, perhaps for lack of memory. Finished rows "
            "are kept; run the same command with fewer workers."
        ) from error


def cores_per_worker(nodes: Sequence[int], workers: int, gpus: Sequence[int] | None = None) -> int:
    """Return how many cores each worker may have if every worker is on one machine.

    Args:
        nodes: Cores of each machine.
        workers: Number of workers.
        gpus: GPUs of each machine, if every worker needs one.

    Raises:
        ModelError: If there are fewer cores than workers, or fewer on the machines with GPUs.
    """
    limits = nodes if gpus is None else gpus
    for cores in range(sum(nodes) // workers, 0, -1):
        if sum(min(node // cores, limit) for node, limit in zip(nodes, limits, strict=True)) >= workers:
            return cores
    if gpus is None:
        raise ModelError(
            f"{workers} workers need {workers} cores, but the Ray cluster has {sum(nodes)}. Use fewer workers."
        )
    places = sum(map(min, nodes, gpus))
    raise ModelError(
        f"each of {workers} workers needs a GPU and a core on the same machine, but the Ray cluster has these for "
        f"{places}. Use fewer workers, or --device cpu."
    )


def reserved_cores(cores: int) -> float:
    """Return how many of a worker's cores are reserved in a cluster: half of them, for Ray in whole numbers above one.

    Ray starts the worker of a lost machine again only where its cores are free. With all of them reserved there would
    be no such place, and the prediction would wait for another machine to join.
    """
    return cores / 2 if cores == 1 else cores // 2


def read_results(part: Any) -> Iterator[tuple[int, BatchValues]]:
    """Yield the results of a part, batch by batch; the error of a batch is raised in its place.

    Args:
        part: The result of a `_Worker` as a pyarrow table.
    """
    for result in part.to_pylist():
        if result["error"]:
            raise getattr(errors, result["error"], PapertuneError)(result["message"])
        yield result["number"], json.loads(result["values"])


class _Worker:
    """Answers parts in a process of Ray. Errors of papertune are returned as data; Ray handles others."""

    def __init__(
        self,
        opening: Opening,
        facts: Mapping[str, str | None],
        shared: Any,
        source: str,
        asked: Recipe,
        threads: int,
    ) -> None:
        import ray

        torch.set_num_threads(threads)
        self._failure: PapertuneError | None = None
        self._batches: Batches
        try:
            self._predictor, here = opening()
            _check_same(facts, here)
            cells, self._batches = ray.get(shared)
            frame = pl.from_arrow(cells)
            assert isinstance(frame, pl.DataFrame)
            self._reader = RowReader(Table(frame, source), asked)
        except PapertuneError as error:
            self._failure = error

    def __call__(self, part: Any) -> dict[str, list[Any]]:
        """Answer the batches of a part, a pyarrow table with their numbers."""
        results: dict[str, list[Any]] = {"number": [], "values": [], "error": [], "message": []}
        numbers = part["number"].to_pylist()

        def add(values: str, error: str = "", message: str = "") -> None:
            line = numbers[len(results["number"])], values, error, message
            for name, value in zip(results, line, strict=True):
                results[name].append(value)

        try:
            if self._failure is not None:
                raise self._failure
            batches = [self._batches[number] for number in numbers]
            with closing(encode_batches(self._predictor, self._reader, batches)) as encoded:
                for rows, prompts in zip(batches, encoded, strict=True):
                    add(json.dumps(self._predictor.answer(self._reader, rows, prompts)))
        except PapertuneError as failure:  # the driver ends with it, so the rest of the part is not answered
            add("", type(failure).__name__, str(failure))
        return results


def _check_same(facts: Mapping[str, str | None], here: Mapping[str, str | None]) -> None:
    for name, value in facts.items():
        if here.get(name) != value:
            raise RunError(
                f"on a worker's machine ({os.uname().nodename}) {name} is {here.get(name)}, but where the prediction "
                f"was started it is {value}. All machines must have the same, or results would differ."
            )

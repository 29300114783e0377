"""Prediction by several processes on one or more machines, through Ray Data.

    driver                                      workers, each with the run loaded once
    plan, table ──── batch numbers ──▶ answer the batches of a part
    journal, output ◀── values, as JSON, or the message of an error

The driver alone writes. What comes back goes to the journal at once, in whatever order; so killing the driver costs the
parts that are on their way, and killing a worker costs its part: Ray starts the worker again and gives it the same one.
Workers read no table file: the columns that prompts are made of, and the rows of all batches, lie in Ray's shared
memory, once a machine.
"""

import json
import os
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import ExitStack, contextmanager
from importlib.util import find_spec
from typing import Any, TypeVar

import numpy as np
import polars as pl
import torch

from papertune import errors
from papertune.errors import MissingExtraError, ModelError, PapertuneError, RunError
from papertune.events import SILENT, Listener
from papertune.inference.journal import Journal
from papertune.inference.plan import Plan
from papertune.inference.predict import Predicted, collect_rows
from papertune.inference.predictor import Predictor
from papertune.inference.ray_session import connect_ray, quiet_ray
from papertune.kinds.values import BatchValues
from papertune.prompts import Batches
from papertune.prompts.examples import RowReader
from papertune.recipe import Recipe
from papertune.tables import Table
from papertune.templates import template_columns

Answer = TypeVar("Answer")

# Gives what answers batches, and facts that must be the same in all processes.
Opening = Callable[[], tuple[Predictor, Mapping[str, str | None]]]

# Ray takes some milliseconds and kilobytes for each part of the work, so a large table's parts are of several batches.
_MOST_PARTS = 4000

# A part that has ended its worker so often is not tried again: perhaps it takes more memory than there is.
_RETRIES = 2

# Nor is a worker started again without end: one that dies while it loads would never tell. It is more than _RETRIES, so
# that a long prediction outlives some parts that have ended the same worker once each.
_RESTARTS = 5

_INSTRUCTION_COLUMNS = ("instruction", "input", "output", "history")


class Workers:
    """Processes that answer batches. Use it as a context manager; the processes end with it.

    They join the Ray session of this program if it has one, else the cluster at RAY_ADDRESS, else they are on this
    machine only. On GPUs each has one of its own; on CPUs they share the cores out.

    Args:
        count: How many.
        device: "cpu" or "cuda"; None: GPUs where Ray has any.

    Attributes:
        count: How many.
        device: "cpu" or "cuda".
        threads: Of each worker.
    """

    def __init__(self, count: int, *, device: str | None = None) -> None:
        if count < 1:
            raise ValueError(f"{count} workers; there must be one at least")
        if find_spec("ray") is None:
            raise MissingExtraError("--workers needs Ray, which is not installed: pip install 'papertune[ray]'")
        if device not in (None, "cpu", "cuda"):
            raise ModelError(
                f"--device {device}: workers take the GPUs that Ray gives them. Say cuda, or leave it out."
            )
        self.count = count
        self._wanted = device
        self._is_local = False
        self._ending = ExitStack()

    def __enter__(self) -> "Workers":
        """Join or start Ray.

        Raises:
            ModelError: If there are fewer cores or GPUs than workers, or the cluster cannot be reached.
        """
        import ray

        with ExitStack() as ending:
            if not ray.is_initialized():
                ending.enter_context(quiet_ray())  # a session of the program's own prints what the program wants
                self._is_local = connect_ray(self.count)
                ending.callback(ray.shutdown)
            gpus = int(ray.cluster_resources().get("GPU", 0))
            self.device = self._wanted or ("cuda" if gpus else "cpu")
            if self.device == "cuda" and gpus < self.count:
                raise ModelError(
                    f"{self.count} workers need {self.count} GPUs, but there are {gpus}. Take fewer workers, or "
                    "--device cpu."
                )
            if self._is_local:
                self.threads, self._cores = max(torch.get_num_threads() // self.count, 1), 1
            else:
                found = [node["Resources"] for node in ray.nodes() if node["Alive"]]
                cores, cards = ([int(node.get(kind, 0)) for node in found] for kind in ("CPU", "GPU"))
                self.threads = self._cores = cores_each(cores, self.count, cards if self.device == "cuda" else None)
            self._ending = ending.pop_all()
        return self

    def __exit__(self, *_: object) -> None:
        """End the workers, and Ray if it was started here; what it prints is then as it was before."""
        self._ending.close()

    def ask(self, question: Callable[[str], Answer]) -> Answer:
        """Give what a function says of the device, on a machine where workers will be; our errors come as they are."""
        if self._is_local:
            return question(self.device)
        import ray

        asked = ray.remote(question).options(num_cpus=1, num_gpus=int(self.device == "cuda"))
        try:
            return ray.get(asked.remote(self.device))  # type: ignore[no-any-return]
        except ray.exceptions.RayTaskError as error:  # its text is the other machine's traceback
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
            facts: What must be the same there as here.
            table: The table.
            recipe: The run's recipe.
            asked: The recipe with just the columns that are wanted.
            plan: The batches, of all rows of the table.
            journal: Keeps finished batches; those that it has already are not done again.
            listener: Gets the progress after each batch.

        Raises:
            ModelError: If the model's numbers overflow, or a batch ends its worker again and again.
            RunError: If a worker has another run or other libraries.
        """
        import ray

        names = _INSTRUCTION_COLUMNS if table.is_instructions else template_columns(asked.table.document)
        frame = table.frame.select([name for name in table.columns if name in names])
        shared = ray.put((frame.to_arrow(compat_level=pl.CompatLevel.oldest()), plan.batches))
        arguments = (opening, dict(facts), shared, table.source, asked, self.threads)

        def answering(numbers: list[int]) -> Iterator[tuple[int, BatchValues]]:
            with told_of_lost_workers(numbers, plan, table) as is_back:
                for number, values in self._results(numbers, arguments):
                    is_back(number)
                    journal.begin(number, plan.batches[number])
                    yield number, values

        return collect_rows(answering, recipe, plan, journal=journal, listener=listener)

    def _results(self, numbers: Sequence[int], arguments: tuple[Any, ...]) -> Iterator[tuple[int, BatchValues]]:
        if not numbers:
            return
        import pyarrow as pa
        import ray

        parts = np.array_split(np.asarray(numbers, dtype=np.int64), min(len(numbers), _MOST_PARTS))
        done = ray.data.from_arrow([pa.table({"number": part}) for part in parts]).map_batches(
            _Worker,
            fn_constructor_args=arguments,
            batch_size=None,  # all of a part
            batch_format="pyarrow",
            compute=ray.data.ActorPoolStrategy(size=min(self.count, len(parts))),
            num_cpus=self._cores,
            num_gpus=int(self.device == "cuda"),
            max_restarts=_RESTARTS,
            max_task_retries=_RETRIES,
        )
        for part in done.iter_batches(batch_size=None, batch_format="pyarrow", prefetch_batches=0):
            yield from values_of(part)


@contextmanager
def told_of_lost_workers(numbers: Sequence[int], plan: Plan, table: Table) -> Iterator[Callable[[int], None]]:
    """Tell the user which rows have ended their worker again and again, or that no worker has answered any.

    Ray says that a worker is lost, but not with which batch. Batches are given out in order, so it is most likely the
    first that is not back: the others have gone on while it was tried again. If none is back, the worker may not even
    have loaded the model.

    Args:
        numbers: The batches that are answered, in the order in which they are given out.
        plan: All batches.
        table: The table.

    Yields:
        What is to be told of each batch that is back.

    Raises:
        ModelError: If Ray has given a worker up. An exception that a worker has raised while it was made goes through.
    """
    import ray

    back = np.zeros(len(plan.batches), dtype=np.bool_)
    try:
        yield lambda number: back.__setitem__(number, True)
    except (ray.exceptions.RayActorError, ray.exceptions.OutOfMemoryError) as error:
        number = next((number for number in numbers if not back[number]), None)
        if number is None or getattr(error, "actor_init_failed", False):
            raise
        rows = plan.batches[number]
        more = f" and {len(rows) - 1:,} more of its batch" if len(rows) > 1 else ""
        where = f"{table.where(rows[0])}{more}"
        if not back.any():
            raise ModelError(
                f"{where}: workers end while they load the model or answer their first rows, which are most likely "
                "these, perhaps for lack of memory. Finished rows are safe; run the same command with fewer workers."
            ) from error
        raise ModelError(
            f"{where}: most likely these rows have ended their worker again and again, perhaps for lack of memory. "
            "Finished rows are safe; run the same command with fewer workers."
        ) from error


def cores_each(nodes: Sequence[int], workers: int, gpus: Sequence[int] | None = None) -> int:
    """Give how many cores each worker may have if none is spread over two machines.

    Args:
        nodes: Cores of each machine.
        workers: How many workers.
        gpus: GPUs of each machine, if every worker needs one.

    Raises:
        ModelError: If there are fewer cores than workers, or fewer on the machines with GPUs.
    """
    most = nodes if gpus is None else gpus
    for cores in range(sum(nodes) // workers, 0, -1):
        if sum(min(node // cores, limit) for node, limit in zip(nodes, most, strict=True)) >= workers:
            return cores
    if gpus is None:
        raise ModelError(
            f"{workers} workers need as many cores, but the Ray cluster has {sum(nodes)}. Take fewer workers."
        )
    places = sum(map(min, nodes, gpus))
    raise ModelError(
        f"{workers} workers need a GPU and a core on the same machine each, but the Ray cluster has that for {places}. "
        "Take fewer workers, or --device cpu."
    )


def values_of(part: Any) -> Iterator[tuple[int, BatchValues]]:
    """Give what a worker says of a part, batch by batch; its error is raised where it came.

    Args:
        part: A pyarrow table of what `_Worker` gives back.
    """
    for result in part.to_pylist():
        if result["error"]:
            raise getattr(errors, result["error"], PapertuneError)(result["message"])
        yield result["number"], json.loads(result["values"])


class _Worker:
    """Answers parts of the work in a process of Ray's. Our errors go back as data, others as Ray has it."""

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
        for number in part["number"].to_pylist():
            said, error, message = "", "", ""
            try:
                if self._failure is not None:
                    raise self._failure
                said = json.dumps(self._predictor.answer(self._reader, self._batches[number]))
            except PapertuneError as failure:
                error, message = type(failure).__name__, str(failure)
            for name, value in zip(results, (number, said, error, message), strict=True):
                results[name].append(value)
        return results


def _check_same(facts: Mapping[str, str | None], here: Mapping[str, str | None]) -> None:
    for name, value in facts.items():
        if here.get(name) != value:
            raise RunError(
                f"on a worker's machine ({os.uname().nodename}) {name} is {here.get(name)}, but where the prediction "
                f"was started it is {value}. All machines must have the same; results would differ otherwise."
            )

"""A training of a stage before weights load: its recipe, input files, start and run directory, checked."""

import warnings
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

from papertune.errors import PapertuneWarning, TableError
from papertune.events import Listener
from papertune.manifest import Parent, TableNote
from papertune.models import Base, check_quantization, find_base
from papertune.pipelines.training.chosen_columns import choose_columns_to_learn
from papertune.pipelines.training.job import (
    find_parents,
    inherit_adapter_settings,
    start_adapter,
)
from papertune.pipelines.training.request import TrainingRequest
from papertune.recipe import Recipe, dump_recipe
from papertune.run_directory import RunDirectory, TrainingPlan
from papertune.tables import Table, read_table
from papertune.training import Processes, check_trackers


class TableFiles:
    """Input tables, read one at a time: only those that are in memory already stay there.

    Args:
        sources: Paths, data frames, lists of dicts, or tables.
    """

    def __init__(self, sources: Sequence[Any]) -> None:
        # Standard input can be read only once.
        self._sources = [read_table(source) if source == "-" else source for source in sources]

    def __iter__(self) -> Iterator[Table]:
        return map(read_table, self._sources)

    def __len__(self) -> int:
        return len(self._sources)


@dataclass(frozen=True)
class StageJob:
    """What a stage trains with.

    Attributes:
        recipe: The recipe with just the columns to learn.
        tables: The input, checked.
        dev: The dev rows, checked; empty: there are none, or they are a share of the input.
        dev_fraction: Share of the input's rows that become dev rows; 0 if there is a dev table.
        notes: What the manifest records of `tables`.
        base: The base model.
        base_place: Where the user says that it is; None: where the recipe says.
        start: The adapter folder to start from; None: a new adapter.
        parents: The runs that the training starts from, the first one first.
        plan: What a resumed training must have in common.
        directory: The run directory; claimed when the stage trains.
        processes: The processes of the training.
        resume: Whether checkpoints in the directory are continued.
        listener: Gets messages and progress.
    """

    recipe: Recipe
    tables: TableFiles
    dev: TableFiles
    dev_fraction: float
    notes: list[TableNote]
    base: Base
    base_place: Path | None
    start: Path | None
    parents: list[Parent]
    plan: TrainingPlan
    directory: RunDirectory
    processes: Processes
    resume: bool
    listener: Listener


def prepare_stage(
    request: TrainingRequest,
    recipe: Recipe,
    directory: RunDirectory,
    processes: Processes,
    *,
    resume: bool,
    listener: Listener,
) -> StageJob:
    """Read and check all that can be checked before weights load; the arguments are those of `train_stage`.

    Raises:
        RecipeError, TableError, ModelError: If something is invalid.
    """
    chosen = inherit_adapter_settings(choose_columns_to_learn(recipe, request.only))
    chosen.stage.check_recipe(chosen)
    check_trackers(chosen.training.report_to)
    check_quantization(chosen.base_bits)
    parents = find_parents(chosen)
    dev_fraction = request.dev_share(chosen)
    tables, dev = TableFiles(request.table_list), TableFiles(request.dev_list)
    notes, dev_notes = _check([tables, dev], chosen)
    found = find_base(chosen.model, request.base_place)
    plan = TrainingPlan(
        recipe=dump_recipe(chosen),
        tables=[note.checksum for note in notes],
        dev=[note.checksum for note in dev_notes] or [f"fraction {dev_fraction:g}"],
        base=found.checksum,
        processes=processes.count,
    )
    job = StageJob(
        recipe=chosen,
        tables=tables,
        dev=dev,
        dev_fraction=dev_fraction,
        notes=notes,
        base=found,
        base_place=request.base_place,
        start=start_adapter(chosen, found),
        parents=parents,
        plan=plan,
        directory=directory,
        processes=processes,
        resume=resume,
        listener=listener,
    )
    chosen.stage.check_job(job)
    return replace(job, plan=replace(plan, runs=[*(each.checksum for each in parents), *chosen.stage.other_runs()]))


def _check(files: Sequence[TableFiles], recipe: Recipe) -> list[list[TableNote]]:
    """Check all tables, and return what the manifest records of them."""
    problems: list[str] = []
    notes: list[list[TableNote]] = []
    for tables in files:
        notes.append([])
        for table in tables:
            findings = recipe.stage.check_table(table, recipe)
            problems += findings.problems
            for warning in findings.warnings:
                warnings.warn(warning, PapertuneWarning, stacklevel=5)
            notes[-1].append(TableNote(table.source, len(table), table.checksum()))
    if problems:
        raise TableError.collect("the tables do not fit the recipe", problems)
    return notes

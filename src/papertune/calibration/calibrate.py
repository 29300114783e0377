"""What prediction has to know beside the weights: its precision, probabilities, thresholds, the order of keywords."""

from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, field, replace
from typing import Any

import torch

from papertune.calibration.int8 import compare_int8
from papertune.calibration.rows import find_candidates, predict_values
from papertune.errors import ModelError
from papertune.events import SILENT, Listener
from papertune.kinds.base import CalibrationOutcome
from papertune.kinds.label.fit import MIN_ROWS
from papertune.models import choose_device, cpu_features
from papertune.recipe import Recipe
from papertune.run import Run
from papertune.run_directory import FORMAT
from papertune.tables import Table


def calibrate(
    run: Run,
    choosing: Sequence[Table],
    kept_apart: Sequence[Table],
    *,
    listener: Listener = SILENT,
) -> None:
    """Find out on dev rows what prediction has to know, and write it into a complete run.

    Whether int8 answers as float32 does comes first; all else is then fitted in the precision that will answer. What
    cannot be found out, where numbers leave float16 or memory does not suffice, is told and left out, and the run stays
    one that asks to be calibrated.

    Args:
        run: A run whose files are written.
        choosing: Dev rows that chose the weights.
        kept_apart: Dev rows that did not; none where they would be too few.
        listener: Gets messages, and the progress after each batch.
    """
    parts = _Parts(run, listener)
    if _may_use_int8(run):
        listener.message(
            f"comparing int8 with float32 on {sum(map(len, choosing)):,} dev rows; the run can be used already"
        )
        with parts.kept_without("int8 will not be used"):
            run.manifest = replace(run.manifest, int8=compare_int8(run, choosing, listener))
    for stage, names in _stages(run.recipe).items():
        columns = {name: run.recipe.columns[name] for name in names}
        on_selection = not kept_apart and all(each.is_calibrated_on_selection_set for each in columns.values())
        tables = choosing if on_selection else kept_apart
        consequence = "; ".join(dict.fromkeys(each.uncalibrated(name) for name, each in columns.items()))
        if not tables:
            listener.message(f"{consequence}: at least {2 * MIN_ROWS} dev rows with an answer are needed")
            continue
        listener.message(f"{stage} on {sum(map(len, tables)):,} dev rows")
        with parts.kept_without(consequence):
            on_candidates = all(each.is_calibrated_on_candidates for each in columns.values())
            predicted = (find_candidates if on_candidates else predict_values)(run, tables, names, listener)
            for name, column in columns.items():
                outcome = column.calibrate(name, predicted[name])
                for message in outcome.messages:
                    listener.message(message)
                _keep(run, name, outcome)
    if not parts.failed:
        run.manifest = replace(run.manifest, calibrated_in=run.settled_precision(), format=FORMAT)
    run.directory.finish(run.manifest, run.recipe)


def _stages(recipe: Recipe) -> dict[str, list[str]]:
    """Return the columns that want to be calibrated, by what is reported meanwhile."""
    stages: dict[str, list[str]] = {}
    for name, column in recipe.columns.items():
        if column.wants_calibration_set:
            stages.setdefault(column.calibration_stage, []).append(name)
    return stages


def _keep(run: Run, name: str, outcome: CalibrationOutcome) -> None:
    """Put into a run what was found for one of its columns."""
    column = run.recipe.columns[name]
    if outcome.column is not None:
        run.recipe = run.recipe.model_copy(update={"columns": {**run.recipe.columns, name: outcome.column}})
    if outcome.record is not None:
        records = {**getattr(run.manifest, column.record_field), name: outcome.record}
        found: dict[str, Any] = {column.record_field: records}
        run.manifest = replace(run.manifest, **found)


def _may_use_int8(run: Run) -> bool:
    """Whether prediction by itself may take int8, if dev rows confirm it."""
    return choose_device(run.device) == "cpu" and run.recipe.base_bits is None and cpu_features().int8


@dataclass
class _Parts:
    """The parts of a calibration, each of which may fail without the others."""

    run: Run
    listener: Listener
    failed: list[str] = field(default_factory=list)

    @contextmanager
    def kept_without(self, consequence: str) -> Iterator[None]:
        """Report why a part is not found out, where numbers leave float16 or memory does not suffice, and go on."""
        try:
            yield
        except Exception as error:
            first = str(error).partition("\n")[0] or type(error).__name__
            if _is_of_memory(error):
                self.listener.message(
                    f"{consequence}: there is not enough memory ({first}). The trained weights are kept. To do this "
                    "part again, make room and give the same command with --resume"
                )
            elif isinstance(error, ModelError):
                self.listener.message(f"{consequence}: {first}")
            else:
                raise
            self.failed.append(consequence)


def _is_of_memory(error: Exception) -> bool:
    """Whether memory did not suffice: torch has an error of its own for GPUs, and for CPUs says it in words only."""
    if isinstance(error, torch.OutOfMemoryError | MemoryError):
        return True
    # A predictor says of a single row that it does not fit.
    if isinstance(error, ModelError) and isinstance(error.__cause__, torch.OutOfMemoryError):
        return True
    return isinstance(error, RuntimeError) and "DefaultCPUAllocator" in str(error)

"""What prediction has to know beside the weights: its precision, probabilities, thresholds, the order of keywords."""

from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, field, replace

import torch

from papertune.events import SILENT, Listener
from papertune.kinds.label.fit import MIN_ROWS
from papertune.calibration.fits import fit_labels, rank_keywords, with_chosen_thresholds
from papertune.calibration.int8 import compare_int8
from papertune.kinds.labels.thresholds import asks_for_f1
from papertune.errors import ModelError
from papertune.models import choose_device, cpu_features
from papertune.pipelines.training_job import ranks_keywords, wants_dev_rows
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
    rows_that_chose, rows_kept = (sum(map(len, tables)) for tables in (choosing, kept_apart))
    if _may_use_int8(run):
        listener.message(f"comparing int8 with float32 on {rows_that_chose:,} dev rows; the run can be used already")
        with parts.kept_without("int8 will not be used"):
            run.manifest = replace(run.manifest, int8=compare_int8(run, choosing, listener))
    if wants_dev_rows(run.recipe):
        if kept_apart:
            listener.message(f"calibrating on {rows_kept:,} dev rows")
            with parts.kept_without("probabilities are not calibrated"):
                run.manifest = replace(run.manifest, calibration=fit_labels(run, kept_apart, listener))
        else:
            needed = f"at least {2 * MIN_ROWS} dev rows with a label are needed"
            listener.message(f"probabilities are not calibrated: {needed}")
    if unchosen := [name for name, column in run.recipe.columns.items() if asks_for_f1(column)]:
        listener.message(f"choosing thresholds on {rows_kept or rows_that_chose:,} dev rows")
        with parts.kept_without(f"{', '.join(unchosen)}: thresholds are not chosen, so 0.5 is taken"):
            run.recipe = with_chosen_thresholds(run, kept_apart or choosing, listener)
    if ranks_keywords(run.recipe):
        if kept_apart:
            listener.message(f"ranking keywords on {rows_kept:,} dev rows")
            with parts.kept_without("keywords are ranked by their probability alone"):
                run.manifest = replace(run.manifest, rankings=rank_keywords(run, kept_apart, listener))
        else:
            needed = f"at least {2 * MIN_ROWS} dev rows with keywords are needed"
            listener.message(f"keywords are ranked by their probability alone: {needed}")
    if not parts.failed:
        run.manifest = replace(run.manifest, calibrated_in=run.settled_precision(), format=FORMAT)
    run.directory.finish(run.manifest, run.recipe)


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

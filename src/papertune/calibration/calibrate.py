"""Calibration of a run: precision, probabilities, thresholds and the ranking of keywords, fitted on dev rows."""

from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, field, replace
from typing import Any

import torch

from papertune.calibration.cascading import choose_cascades
from papertune.calibration.int8 import compare_int8
from papertune.calibration.joining import (
    Evidence,
    TrainingEvidence,
    gather_evidence,
    join_sources,
    training_rows_as_evidence,
)
from papertune.calibration.rows import find_candidates, predict_values
from papertune.errors import ModelError
from papertune.events import SILENT, Listener
from papertune.inference.cascades import cascades_in_words
from papertune.kinds.base import CalibrationOutcome, ColumnSpec, PredictedTable
from papertune.kinds.label.fit import MIN_ROWS
from papertune.kinds.label.join_words import join_in_words
from papertune.kinds.label.record import Join
from papertune.manifest import FORMAT, Manifest
from papertune.models import choose_device, cpu_features
from papertune.run import Run
from papertune.sources.label_sources import LabelSources
from papertune.tables import Table


def calibrate_run(
    run: Run,
    selection: Sequence[Table],
    calibration: Sequence[Table],
    *,
    training: TrainingEvidence | None = None,
    listener: Listener = SILENT,
    again: str = "give the same command again",
) -> bool:
    """Fit on dev rows what prediction needs beside the weights, and write it into a complete run.

    The comparison of int8 with float32 comes first, since the rest is fitted in the precision that predicts. An earlier
    calibration is replaced. A part that fails because numbers overflow float16 or memory runs out is reported, and its
    earlier result is kept.

    Args:
        run: A run whose files are written.
        selection: Dev rows that chose the checkpoint; int8 is compared on them.
        calibration: The other dev rows; empty if they would be too few.
        training: What the sources beside the model say about the training rows, held out; None: not known.
        listener: Gets messages, and progress after each batch.
        again: How to repeat a part for which memory ran out, for the message.

    Returns:
        Whether all parts succeeded. If not, the run still counts as one that lacks its calibration.
    """
    before, columns_before = run.manifest, run.recipe.columns
    run.recipe = run.recipe.with_settings(before.fitted_settings)
    run.manifest = _uncalibrated(before)
    parts = _Parts(listener, again)
    if selection and run.directory.has_model and _may_use_int8(run):
        _decide_on_int8(run, selection, parts, before)
    dev = [*selection, *(table for table in calibration if not any(table is each for each in selection))]
    evidence = _join(run, dev, training, parts, before.joins)
    for stage, names in _stages(run).items():
        columns = {name: run.recipe.columns[name] for name in names}
        tables = _tables_of(run, columns, selection, calibration, evidence)
        consequence = "; ".join(dict.fromkeys(each.uncalibrated(name) for name, each in columns.items()))
        outcomes = {
            name: CalibrationOutcome([], before.record(name, column), columns_before[name])
            for name, column in columns.items()
        }
        if tables:
            kind = "dev" if training is None or tables is not training.tables else "training"
            listener.message(f"{stage} on {sum(map(len, tables)):,} {kind} rows")
            with parts.optional(consequence):
                outcomes = _fit(run, columns, tables, evidence, listener)
        else:
            listener.message(f"{consequence}: at least {2 * MIN_ROWS} dev rows with an answer are needed")
        _keep_outcomes(run, outcomes, listener)
    if run.joins == before.joins:
        run.manifest = replace(run.manifest, cascades=before.cascades)
    is_calibrated = not parts.failed
    if is_calibrated:
        run.manifest = replace(run.manifest, calibrated_in=run.settled_precision(), format=FORMAT)
    run.directory.finish(run.manifest, run.recipe)
    if evidence is not None:
        _choose_cascades(run, evidence, parts)
    return is_calibrated


def _tables_of(
    run: Run,
    columns: Mapping[str, ColumnSpec],
    selection: Sequence[Table],
    calibration: Sequence[Table],
    evidence: Evidence | None,
) -> Sequence[Table]:
    """Return the rows on which columns are calibrated together."""
    on_selection = not calibration and all(each.is_calibrated_on_selection_set for each in columns.values())
    tables = selection if on_selection else calibration
    are_joined = all(_is_joined(run, name) for name in columns)
    if not tables and evidence is not None and are_joined and not run.asks_model(run.recipe.only(tuple(columns))):
        return evidence.tables
    return tables


def _uncalibrated(manifest: Manifest) -> Manifest:
    """Return a manifest without what calibration finds."""
    return replace(
        manifest,
        int8=None,
        calibration={},
        rankings={},
        joins={},
        cascades={},
        fitted_settings={},
        calibrated_in=None,
    )


def _decide_on_int8(run: Run, selection: Sequence[Table], parts: "_Parts", before: Manifest) -> None:
    """Compare int8 with float32; an earlier comparison stays if this one fails."""
    rows = sum(map(len, selection))
    parts.listener.message(f"comparing int8 with float32 on {rows:,} dev rows; the run can be used already")
    with parts.optional("int8 will not be used"):
        run.manifest = replace(run.manifest, int8=compare_int8(run, selection, parts.listener))
    if parts.failed:
        run.manifest = replace(run.manifest, int8=before.int8)


def _choose_cascades(run: Run, evidence: Evidence, parts: "_Parts") -> None:
    """Choose which rows need no model, write it into the run, and report what it costs.

    Only --cascade needs it, so the run is calibrated without it.
    """
    with parts.optional("--cascade has no new certainty"):
        run.manifest = replace(run.manifest, cascades=choose_cascades(run, evidence))
        run.directory.finish(run.manifest, run.recipe)
        for text in cascades_in_words(run.manifest.cascades, run.recipe):
            parts.listener.message(f"with --cascade, {text}")


def _join(
    run: Run,
    tables: Sequence[Table],
    training: TrainingEvidence | None,
    parts: "_Parts",
    before: Mapping[str, Join],
) -> Evidence | None:
    """Join the sources of a run, and report how.

    Returns:
        What the sources say about the dev rows, or about the training rows if there are no dev rows; None if only the
        model answers.
    """
    if not LabelSources.is_saved(run.directory.sources):
        return None
    found: list[Evidence] = []
    run.manifest = replace(run.manifest, joins=dict(before) or run.label_sources.plain_joins)
    with parts.optional("the sources of label columns are not weighed again"):
        found.append(gather_evidence(run, tables, training, parts.listener))
        run.manifest = replace(run.manifest, joins=join_sources(run, found[0]))
        for question, join in run.joins.items():
            parts.listener.message(join_in_words(question, join))
    if not tables and training is not None:
        return training_rows_as_evidence(training)
    return found[0] if found else None


def _fit(
    run: Run,
    columns: Mapping[str, ColumnSpec],
    tables: Sequence[Table],
    evidence: Evidence | None,
    listener: Listener,
) -> dict[str, CalibrationOutcome]:
    """Calibrate the columns of a stage on joined values, on the model's values, or on candidates."""
    joined = [] if evidence is None else [name for name in columns if _is_joined(run, name)]
    others = [name for name in columns if name not in joined]
    predicted: dict[str, list[PredictedTable]] = {}
    if others:
        on_candidates = all(column.is_calibrated_on_candidates for column in columns.values())
        predicted = (find_candidates if on_candidates else predict_values)(run, tables, others, listener)
    for name in joined:
        assert evidence is not None
        predicted[name] = evidence.predicted(run, name, tables)
    return {name: column.calibrate(name, predicted[name]) for name, column in columns.items()}


def _is_joined(run: Run, name: str) -> bool:
    """Whether sources answer all questions of a column."""
    return {*run.recipe.questions_of(name)} <= {*run.joins}


def _stages(run: Run) -> dict[str, list[str]]:
    """Return the columns to calibrate, by the message that is reported meanwhile."""
    stages: dict[str, list[str]] = {}
    for name, column in run.recipe.columns.items():
        if column.wants_calibration_set:
            stages.setdefault(column.calibration_stage, []).append(name)
    return stages


def _keep_outcomes(run: Run, outcomes: Mapping[str, CalibrationOutcome], listener: Listener) -> None:
    """Store what calibration has found for some columns, and report it."""
    for name, outcome in outcomes.items():
        for message in outcome.messages:
            listener.message(message)
        _keep(run, name, outcome)


def _keep(run: Run, name: str, outcome: CalibrationOutcome) -> None:
    """Store the calibration of a column in a run."""
    column = run.recipe.columns[name]
    if outcome.column is not None:
        old, new = column.model_dump(mode="json"), outcome.column.model_dump(mode="json")
        if replaced := {key: value for key, value in old.items() if new[key] != value}:
            run.manifest = replace(run.manifest, fitted_settings={**run.manifest.fitted_settings, name: replaced})
            run.recipe = run.recipe.with_settings({name: {key: new[key] for key in replaced}})
    if outcome.record is not None:
        records: dict[str, Any] = {**getattr(run.manifest, column.record_field), name: outcome.record}
        run.manifest = _with_field(run.manifest, column.record_field, records)


def _with_field(manifest: Manifest, name: str, value: Any) -> Manifest:
    changes: dict[str, Any] = {name: value}
    return replace(manifest, **changes)


def _may_use_int8(run: Run) -> bool:
    """Whether `precision = "auto"` may mean int8 here, if dev rows confirm it."""
    return choose_device(run.device) == "cpu" and run.recipe.base_bits is None and cpu_features().int8


@dataclass
class _Parts:
    """The parts of a calibration, each of which may fail without the others.

    Attributes:
        listener: Gets the reasons.
        again: How to repeat a part.
        failed: What each failure means for the run.
    """

    listener: Listener
    again: str
    failed: list[str] = field(default_factory=list)

    @contextmanager
    def optional(self, consequence: str) -> Iterator[None]:
        """Report an error of the model or of memory, and go on."""
        try:
            yield
        except Exception as error:
            first = str(error).partition("\n")[0] or type(error).__name__
            if _is_out_of_memory(error):
                self.listener.message(
                    f"{consequence}: there is not enough memory ({first}). The trained weights are kept. To do this "
                    f"part again, free some memory and {self.again}"
                )
            elif isinstance(error, ModelError):
                self.listener.message(f"{consequence}: {first}")
            else:
                raise
            self.failed.append(consequence)


def _is_out_of_memory(error: Exception) -> bool:
    """Whether memory ran out; torch has an exception type for this on GPUs, and only a message on CPUs."""
    if isinstance(error, torch.OutOfMemoryError | MemoryError):
        return True
    # A predictor reports a single row that does not fit as an error of the model.
    if isinstance(error, ModelError) and isinstance(error.__cause__, torch.OutOfMemoryError):
        return True
    return isinstance(error, RuntimeError) and "DefaultCPUAllocator" in str(error)

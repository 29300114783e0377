"""Is fine-tuning worth it? The run beside simpler systems, on the same rows."""

import warnings
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from functools import partial
from pathlib import Path
from typing import Any

from papertune.errors import PapertuneWarning, TrainingStopped
from papertune.evaluation.predictions import score_predictions
from papertune.evaluation.report import (
    ColumnReport,
    LearningPoint,
    Report,
    SystemReport,
    shown_measures,
    with_rows_to_look_at,
    write_report,
)
from papertune.evaluation.systems.other_tools import package_versions
from papertune.evaluation.systems.outputs import NotMeasured, SystemOutput, compare_outputs, training_rows
from papertune.events import SILENT, Listener
from papertune.inference.journal import prediction_facts
from papertune.kinds.predictions import Predictions
from papertune.models import choose_device
from papertune.pipelines.comparison.base_model import BaseModelSystems, asked_facts, libraries
from papertune.pipelines.comparison.kept import KeptOutputs, Place, answer_rows
from papertune.pipelines.comparison.learning_curve import CurveSize, curve_steps, subset
from papertune.pipelines.comparison.prepare import (
    Comparison,
    check_curve_point,
    check_trainings,
    open_run,
    prepare_comparison,
)
from papertune.pipelines.comparison.report_parts import (
    ScoredTables,
    answered_by,
    check_report_place,
    name_of_run,
    report_on_run,
    training_costs,
    unscored,
    with_details,
)
from papertune.pipelines.comparison.source_systems import SYSTEMS, title_of
from papertune.pipelines.comparison.sources_alone import sources_alone
from papertune.pipelines.comparison.training_rows import find_training_rows
from papertune.pipelines.train import train as train_run
from papertune.prompts.examples import RowReader
from papertune.recipe import Recipe
from papertune.run import Run
from papertune.tables import Table

# Optional packages that count as baselines, since they need neither a language model nor an encoder.
_BASELINE_PACKAGES = ("YAKE",)


@dataclass(frozen=True)
class _Work:
    """What the steps of a comparison share.

    Attributes:
        comparison: What is compared.
        folder: The folder of the report, the runs and the kept outputs.
        kept: The kept outputs.
        device: As in `compare`, like all the rest.
        base: Where the base model is now.
        listener: Gets messages and progress.
    """

    comparison: Comparison
    folder: Path
    kept: KeptOutputs
    device: str | None
    base: str | Path | None
    listener: Listener


@dataclass
class _Column:
    """The results for one column.

    Attributes:
        outputs: By system.
        baselines: Which of the systems are baselines.
        facts: Why a system was not measured, by system.
        curve: For each system the outputs by number of training rows.
    """

    outputs: dict[str, SystemOutput]
    baselines: list[str]
    facts: dict[str, str]
    curve: dict[str, list[tuple[int, SystemOutput]]]


def compare(
    train: Any,
    test: Any,
    recipe: str | Path | Mapping[str, Any] | Recipe,
    report: str | Path,
    *,
    dev: Any = None,
    run: str | Path | Run | None = None,
    only: Sequence[str] = (),
    curve: Sequence[CurveSize] = (),
    overrides: Sequence[str] = (),
    overwrite: bool = False,
    device: str | None = None,
    base: str | Path | None = None,
    listener: Listener = SILENT,
) -> Report:
    """Fill in the columns of a table with several systems, score them on the same rows, and write a report.

    The systems are the fine-tuned run, the base model without and with examples in its prompt, TF-IDF with logistic
    regression or TF-IDF n-grams, the most frequent label, and, if their packages are installed, SetFit, YAKE and
    KeyBERT. No system sees a gold cell of the test table, and all have the same training rows. Finished work is kept in
    the folder of the report, so the same call resumes a stopped one.

    Args:
        train: The training table: a path, a data frame or a list of dicts.
        test: The table to score on, without any training row. Rows whose cell of a column is empty are not scored.
        recipe: A recipe, its file or built-in name, or a mapping.
        report: The folder for report.html and report.json, the kept outputs and the runs.
        dev: A dev table for a run that is trained here; no system is trained on it.
        run: A run that was trained with this recipe; None: one is trained in the folder. If some rows of `train` are
            its dev rows, the other systems are not trained on them either.
        only: Just these of the recipe's columns.
        curve: Numbers of training rows, or "all", for a learning curve; each number is a training of its own.
        overrides: Settings such as "training.epochs=3".
        overwrite: Replace an existing report.
        device: "cpu", "cuda", ...; None: a GPU if there is one.
        base: Where the base model is now, if not where the recipe says.
        listener: Gets messages, and the progress after each training step and each batch of rows.

    Returns:
        The report.

    Raises:
        RecipeError, TableError, RunError, ModelError: Errors of the user, found before weights load if possible.
        OutputError: If a report exists, or the folder cannot be written.
        TrainingStopped: If SIGTERM or Ctrl-C ended a training; a checkpoint has been written.
    """
    folder = Path(report)
    check_report_place(folder, overwrite=overwrite)
    comparison = prepare_comparison(train, test, recipe, only, overrides, dev)
    whole = comparison.train  # a copy of a dev row is a leak too, since dev rows chose the checkpoint
    opened = None if run is None else open_run(run, comparison, device, base)
    if opened is not None:
        comparison = replace(comparison, train=find_training_rows(opened, comparison.train, listener))
    steps = curve_steps(curve, comparison.train)
    used_dev = _check_trainings(comparison, steps, opened, base)
    work = _Work(comparison, folder, KeptOutputs(folder / "contestants", listener), device, base, listener)
    opened, columns = _answer_with_all(work, opened, steps)
    tables = ScoredTables(comparison.test, whole, comparison.recipe, comparison.test.source, used_dev)
    return _report(work, opened, columns, tables)


def _answer_with_all(work: _Work, run: Run | None, steps: Sequence[int]) -> tuple[Run, dict[str, _Column]]:
    """Predict each column with all systems, cheap ones first, and return the run too, trained if there was none."""
    columns = {name: _without_base_model(work, name) for name in work.comparison.recipe.columns}
    if run is None:
        run = _train(work, work.comparison.train, work.folder / "run")
    tuned = _fine_tuned(work, run)
    single = _alone(work, run)
    prompted = _prompted(work, columns)
    for name, column in columns.items():
        column.outputs = {
            name_of_run(run, name): tuned[name],
            **single.get(name, {}),
            **prompted[name],
            **column.outputs,
        }
        column.facts |= answered_by(run, name)
    _add_curve(work, steps, run, columns)
    return run, columns


def _check_trainings(
    comparison: Comparison, steps: Sequence[int], run: Run | None, base: str | Path | None
) -> Table | None:
    """Check the trainings to come, and return the dev table that they use; None if there is none."""
    parts = [subset(comparison.train, rows) for rows in steps if rows < len(comparison.train)]
    used_dev = comparison.dev
    if run is not None and parts:
        check_curve_point(run, comparison)
    elif run is not None and used_dev is not None:
        warnings.warn(
            f"--dev: nothing is trained, so the rows of {used_dev.source} are not used.", PapertuneWarning, stacklevel=3
        )
        used_dev = None
    check_trainings(parts if run else [*parts, comparison.train], comparison, base)
    return used_dev


def _without_base_model(work: _Work, name: str) -> _Column:
    """Predict a column with the systems that need no base model."""
    comparison = work.comparison
    column = comparison.recipe.columns[name]
    known = training_rows(comparison.train, comparison.recipe, name)
    documents = _documents(comparison)
    recipe, trained_on = comparison.recipe.only((name,)), comparison.train.checksum()
    found = _Column({}, [], {}, {})
    baselines, packages = column.baselines(), column.other_tools()
    for title, fill in {**baselines, **packages}.items():
        facts = _facts(work, recipe, trained_on=trained_on, packages=package_versions())
        try:
            found.outputs[title] = work.kept.get(
                f"{name}: {title}",
                facts,
                lambda _, fill=fill: fill(known, documents),  # type: ignore[misc]
            )
        except NotMeasured as reason:
            found.facts[title] = f"not measured: {reason}"
    found.baselines = [title for title in found.outputs if title in (*baselines, *_BASELINE_PACKAGES)]
    return found


def _prompted(work: _Work, columns: Mapping[str, _Column]) -> dict[str, dict[str, SystemOutput]]:
    """Predict with the base model, without and with examples; its weights are released afterwards."""
    comparison = work.comparison
    model = comparison.recipe.model
    systems = BaseModelSystems(
        comparison.recipe, comparison.documents, work.kept, device=work.device, base=work.base, listener=work.listener
    )
    prompted: dict[str, dict[str, SystemOutput]] = {}
    for name, column in columns.items():
        found: dict[str, SystemOutput] = {}
        try:
            found[f"few-shot {model}"] = systems.few_shot(name, comparison.train)
        except NotMeasured as reason:
            column.facts[f"few-shot {model}"] = f"not measured: {reason}"
        found[f"zero-shot {model}"] = systems.zero_shot(name)
        asked = comparison.recipe.questions.get(name)
        for source in SYSTEMS if asked is not None and asked.joined_labels else ():
            title = title_of(source, comparison.recipe)
            try:
                found[title] = systems.source(source, name, comparison.train)
            except NotMeasured as reason:
                column.facts[title] = f"not measured: {reason}"
        prompted[name] = found
    return prompted


def _train(work: _Work, table: Table, folder: Path) -> Run:
    """Train the recipe on a table, or resume the training in the folder."""
    try:
        return train_run(
            table,
            work.comparison.recipe,
            folder,
            dev=work.comparison.dev,
            resume=True,
            device=work.device,
            base=work.base,
            listener=work.listener,
        )
    except TrainingStopped as stopped:
        raise TrainingStopped(
            f"stopped while training in {folder}; a checkpoint is written. The same command resumes it.",
            stopped.signal,
        ) from stopped


def _fine_tuned(work: _Work, run: Run) -> dict[str, SystemOutput]:
    """Predict each column with a run."""
    comparison = work.comparison
    run = run.reopening()(choose_device(run.device))  # its weights are released at the end
    outputs: dict[str, SystemOutput] = {}
    decisions = run.decisions
    recipe = run.recipe.only(tuple(comparison.recipe.columns))  # it has the thresholds of labels columns
    predictions: dict[str, Predictions] = {}
    rate: float | None = None

    def make(place: Place, name: str) -> SystemOutput:
        nonlocal rate
        if not predictions:
            # All columns in one pass, as in `predict` and `evaluate`: rounding depends on which columns share a pass.
            reader, rows = RowReader(comparison.documents, recipe), len(comparison.documents)
            found, rate = answer_rows(run.predictor(), reader, rows, recipe, place, work.listener, decisions)
            predictions.update(found)
        return SystemOutput(predictions[name], rate, *training_costs(run))

    for name in comparison.recipe.columns:
        facts = _facts(
            work, recipe, decision=repr(decisions.get(name)), **prediction_facts(run, run.settled_precision())
        )
        outputs[name] = work.kept.get(f"{name}: fine-tuned", facts, partial(make, name=name))
    return outputs


def _alone(work: _Work, run: Run) -> dict[str, dict[str, SystemOutput]]:
    """Predict the joined columns with each source alone."""
    comparison = work.comparison
    run = run.reopening()(choose_device(run.device))  # its weights are released at the end
    recipe = run.recipe.only(tuple(comparison.recipe.columns))
    return sources_alone(run, comparison.documents, recipe, work.kept, work.listener)


def _add_curve(work: _Work, steps: Sequence[int], run: Run, columns: Mapping[str, _Column]) -> None:
    """Train on nested subsets, and add the outputs of the runs and of the strongest baseline."""
    comparison = work.comparison
    todo = [rows for rows in steps if rows < len(comparison.train)]
    rows_of_run = sum(note.rows for note in run.manifest.tables)
    if todo and run.manifest.seconds and rows_of_run:
        minutes = sum(todo) * run.manifest.seconds / rows_of_run / 60
        trainings = "1 training" if len(todo) == 1 else f"{len(todo)} trainings"
        work.listener.message(f"learning curve: {trainings}, about {max(minutes, 1):.0f} min at the pace of the run")
    for rows in steps:
        if rows < len(comparison.train):
            part = subset(comparison.train, rows)
            smaller = _train(work, part, work.folder / "curve" / f"{rows}-rows")
        else:
            part, smaller = comparison.train, run
        tuned = _fine_tuned(work, smaller)
        for name, column in columns.items():
            outputs = {name_of_run(run, name): tuned[name]}
            known = training_rows(part, comparison.recipe, name)
            baselines = comparison.recipe.columns[name].baselines()
            for title, fill in list(baselines.items())[:1] if known.documents else []:
                outputs[title] = fill(known, _documents(comparison))
            for title, output in outputs.items():
                column.curve.setdefault(title, []).append((rows, output))


def _with_curve(
    about: ColumnReport, curve: Mapping[str, Sequence[tuple[int, SystemOutput]]], work: _Work
) -> ColumnReport:
    """Add the scores of a learning curve to the report of a column."""
    comparison, name = work.comparison, about.name
    gold = RowReader(comparison.test, comparison.recipe)
    points: dict[str, list[LearningPoint]] = {}
    for title, outputs in curve.items():
        for rows, output in outputs:
            scores = score_predictions(
                {name: output.predictions}, gold, comparison.recipe, range(len(comparison.test))
            )[name]
            main = shown_measures(about, SystemReport(title, scores))[0]
            assert main.score is not None
            assert main.interval is not None
            points.setdefault(title, []).append(LearningPoint(rows, main.score, main.interval.low, main.interval.high))
    return replace(about, learning_curve=points)


def _report(work: _Work, run: Run, columns: Mapping[str, _Column], tables: ScoredTables) -> Report:
    """Score all outputs, search for leaks and likely label errors, and write the report."""
    recipe, test = tables.recipe, tables.gold
    gold = RowReader(test, recipe)
    predictions = {name: column.outputs[name_of_run(run, name)].predictions for name, column in columns.items()}
    reports: list[ColumnReport] = []
    for name, column in columns.items():
        spec = recipe.columns[name]
        systems = compare_outputs(column.outputs, column.baselines, gold, recipe, name, len(test))
        facts = {**unscored(gold, recipe, name, len(test)), **column.facts}
        about = ColumnReport(name, spec.kind, spec.question_in_words, systems, facts=facts)
        about = with_rows_to_look_at(about, predictions[name], test, tables.train, recipe)
        about = with_details(run, about, predictions[name], gold)
        reports.append(_with_curve(about, column.curve, work))
    title = f"fine-tuned {run.manifest.base_name} and others on {Path(test.source).name}"
    report = report_on_run(run, title, reports, predictions, tables)
    write_report(report, work.folder)
    return report


def _facts(work: _Work, recipe: Recipe, **more: Any) -> dict[str, Any]:
    """Return everything that an output depends on."""
    return {**asked_facts(recipe), "documents": work.comparison.documents.checksum(), **libraries(), **more}


def _documents(comparison: Comparison) -> list[str]:
    reader = RowReader(comparison.documents, comparison.recipe)
    return [reader.document(row) for row in range(len(comparison.documents))]

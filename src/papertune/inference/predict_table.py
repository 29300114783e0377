"""The columns of a table filled in by a run: in memory, or in a file with a journal beside it."""

import warnings
from collections.abc import Callable, Mapping, Sequence
from contextlib import ExitStack
from dataclasses import dataclass, replace
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING, Any, Literal

from papertune.errors import OutputError, PapertuneWarning, TableError, quoted
from papertune.events import Listener
from papertune.inference.batches import BatchPredictor
from papertune.inference.cascades import about_cascades
from papertune.inference.joined import JoinedPredictor
from papertune.inference.journal import Journal, fingerprint, prediction_facts
from papertune.inference.outputs import (
    asks_own_questions,
    build_output,
    choose_columns,
    empty_cells,
    output_forms,
    predicting,
)
from papertune.inference.plan import Plan
from papertune.inference.predict import Predicted, predict_rows
from papertune.kinds.label.output import most_probable_rows
from papertune.kinds.output_names import ROW
from papertune.kinds.values import ColumnValues
from papertune.manifest import Manifest
from papertune.models import PredictionPrecision
from papertune.prompts.check_table import check_table
from papertune.prompts.examples import RowReader, prompt_columns
from papertune.prompts.given_cells import open_table
from papertune.recipe import Recipe
from papertune.tables import Table, check_output, write_table
from papertune.tables.formats.xlsx_files import check_fits_xlsx

if TYPE_CHECKING:
    from papertune.inference.processes.workforce import Workforce
    from papertune.run import Run

Columns = Sequence[str] | Literal["all"] | None

# Warnings name the line that calls `Run.predict` or `Run.predict_file`: two calls above the helper that warns.
_CALLER = 4


@dataclass(frozen=True)
class FileOptions:
    """How a table is filled in and written, as in `Run.predict_file`."""

    columns: Columns
    probabilities: bool
    sort_by: str | None
    precision: PredictionPrecision
    overwrite: bool
    workers: int


def predict_table(
    run: "Run", table: Any, *, columns: Columns, probabilities: bool, precision: PredictionPrecision
) -> Any:
    """Fill in the columns of a table, as described in `Run.predict`."""
    read = open_checked(table, run.recipe)
    chosen = choose_columns(columns, read, run.recipe, probabilities=probabilities)
    asked = predicting(run.recipe, chosen)
    warn_of_gaps(run.manifest, asked)
    reader = RowReader(read, asked)
    predictor = run.predictor(precision, asked)
    plan = predictor.plan(reader, range(len(read)))
    warn_of_truncation(plan, read, asked)
    values = predict_rows(predictor, reader, plan).values
    decisions = run.decisions
    output = build_output(read, run.recipe, values, chosen, decisions)
    warn_of_empty_cells(values, run.recipe, decisions, chosen, read.source)
    if type(table).__module__.partition(".")[0] != "pandas":
        return output
    # With the table's own index, `table["label"] = filled["label"]` puts each cell beside its document.
    return type(table)(output.to_dict(as_series=False), index=table.index)


def predict_file(run: "Run", table: Any, path: Path, options: FileOptions, listener: Listener) -> Predicted:
    """Fill in the columns of a table and write it, as described in `Run.predict_file`."""
    read = open_checked(table, run.recipe)
    chosen = choose_columns(options.columns, read, run.recipe, probabilities=options.probabilities)
    sorting = [] if options.sort_by is None else [_sort_column(options.sort_by, run.recipe)]
    asked = predicting(run.recipe, [*chosen, *sorting])
    warn_of_gaps(run.manifest, asked)
    if sorting:
        _warn_of_unnamed_rows(path, read, chosen, run.recipe)
    reader = RowReader(read, asked)
    _check_place(path, overwrite=options.overwrite)
    if path.suffix.lower() == ".xlsx":  # its limits are checked before the work
        check_fits_xlsx(build_output(read, run.recipe, {}, chosen, run.decisions), str(path))
    for text in about_cascades(run, asked):
        listener.message(text)
    with ExitStack() as stack:
        found: BatchPredictor | Workforce
        if options.workers == 1:
            found = predictor = run.predictor(options.precision, asked)
            run_plan: Callable[..., Predicted] = partial(predict_rows, predictor, reader)
        else:
            from papertune.inference.processes.workforce import workforce

            found = force = stack.enter_context(workforce(run, asked, options.workers, options.precision))
            run_plan = partial(force.predict_rows, read, asked)
            listener.message(force.about)
        plan = found.plan(reader, range(len(read)))
        warn_of_truncation(plan, read, asked)
        # The number of processes and threads is not among the options: it changes neither the batches nor the output.
        beside = [chosen, list(asked.columns), options.probabilities, found.max_batch_tokens]
        facts = prediction_facts(run, found.precision_name)
        checksum = read.checksum()
        named = {
            **facts,
            "the cells of the table": checksum,
            "the columns to predict": ", ".join(asked.columns),
            "the columns to write": ", ".join(chosen),
            "--probabilities": options.probabilities,
            "the tokens of a batch": found.max_batch_tokens,
        }
        journal = stack.enter_context(Journal(path, fingerprint(facts, checksum, beside), len(plan.batches), named))
        if kept := int(plan.batches.sizes[journal.finished].sum()):
            listener.message(f"resuming: {kept:,} of {len(read):,} rows are finished")
        predicted = run_plan(plan, journal=journal, listener=listener)
        if isinstance(found, JoinedPredictor):
            decided = {name: count for name, count in found.decided.items() if name in asked.columns}
            predicted = replace(predicted, decided=decided, answered=found.answered)
        frame = build_output(read, run.recipe, predicted.values, chosen, run.decisions)
        forms = output_forms(read, run.recipe, chosen)
        for name in sorting:
            order = most_probable_rows(predicted.values[name], run.decisions[name])
            frame, forms = frame[order], {each: bytes(map(cells.__getitem__, order)) for each, cells in forms.items()}
        _write(frame, forms, path, journal, overwrite=options.overwrite)
    warn_of_empty_cells(predicted.values, run.recipe, run.decisions, chosen, str(path))
    return predicted


def open_checked(table: Any, recipe: Recipe) -> Table:
    """Read a table and check it against a recipe; warnings are shown.

    Raises:
        TableError: If it cannot be read, or does not fit.
    """
    read = open_table(table, recipe)
    findings = check_table(read, recipe, "predict")
    for warning in findings.warnings:
        warnings.warn(warning, PapertuneWarning, stacklevel=_CALLER)
    findings.raise_problems(read)
    return read


def _sort_column(name: str, recipe: Recipe) -> str:
    names = [each for each, column in recipe.columns.items() if column.is_ranked_by_first_label]
    if name not in names:
        there = f"there are: {', '.join(names)}" if names else "it has none"
        raise TableError(f'--sort-by: "{name}" is not a label column of the run; {there}.')
    return name


def _warn_of_unnamed_rows(path: Path, table: Table, chosen: Sequence[str], recipe: Recipe) -> None:
    """Warn if nothing in a sorted output says which row of the table each row is."""
    names = {recipe.table.id} | ({ROW} if ROW not in table.columns or table.identifies(ROW) else set())
    if names.isdisjoint(chosen) and not {*prompt_columns(table, recipe)} <= {*chosen}:
        warnings.warn(
            f"{path} is sorted, and nothing in it says which row of {table.source} each row is. Add "
            f"{quoted(recipe.table.id or ROW)} to --columns.",
            PapertuneWarning,
            stacklevel=_CALLER,
        )


def _check_place(path: Path, *, overwrite: bool) -> None:
    # A journal beside an output may mean that a kill came between writing the one and removing the other.
    try:
        has_journal = path.with_name(f"{path.name}.journal").exists()
    except OSError as error:  # such as a name that is too long
        raise OutputError(f"{path} cannot be written: {error.strerror or error}. Choose another name.") from None
    check_output(path, overwrite=overwrite or has_journal)


def warn_of_truncation(plan: Plan, table: Table, recipe: Recipe) -> None:
    """Warn if documents are too long for the prompts of a plan."""
    if plan.truncated:
        has_rounds = "history" in table.columns and asks_own_questions(table, recipe)
        what = (
            "the oldest rounds are not read, or only the beginning is" if has_rounds else "only the beginning is read"
        )
        count = "1 document has" if len(plan.truncated) == 1 else f"{len(plan.truncated):,} documents have"
        warnings.warn(
            f"{table.where(min(plan.truncated))}: {count} more than {plan.max_prompt_tokens} tokens; "
            f"{what} (this is the first).",
            PapertuneWarning,
            stacklevel=_CALLER,
        )


def warn_of_gaps(manifest: Manifest, asked: Recipe) -> None:
    """Warn of settings that ask for a calibration which found nothing."""
    for name, column in asked.columns.items():
        for key, consequence in column.calibration_gaps(manifest.record(name, column)).items():
            warnings.warn(
                f'column "{name}": the dev rows of the training gave nothing for {key}; {consequence}.',
                PapertuneWarning,
                stacklevel=_CALLER,
            )


def warn_of_empty_cells(
    values: Mapping[str, ColumnValues],
    recipe: Recipe,
    decisions: Mapping[str, Any],
    chosen: Sequence[str],
    where: str,
) -> None:
    """Warn of predicted cells that are empty and no answer.

    Args:
        values: The values of the columns.
        recipe: The columns.
        decisions: How each is predicted.
        chosen: Names of the output's columns.
        where: What the message calls the output.
    """
    counts = empty_cells(values, recipe, decisions)
    for name, count in ((name, counts[name]) for name in chosen if name in counts):
        why = recipe.columns[name].reason_for_empty(decisions[name])
        cells = "1 cell" if count == 1 else f"{count:,} cells"
        verb = "is" if count == 1 else "are"
        warnings.warn(f'{where}: {cells} of "{name}" {verb} empty ({why}).', PapertuneWarning, stacklevel=_CALLER)


def _write(frame: Any, forms: Mapping[str, bytes], path: Path, journal: Journal, *, overwrite: bool) -> None:
    if path.exists() and not overwrite:
        # Written before a kill, or another file that appeared meanwhile.
        fresh = path.with_name(f".{path.stem}.check{path.suffix}")
        write_table(frame, fresh, overwrite=True, forms=forms)
        same = fresh.read_bytes() == path.read_bytes()
        fresh.unlink()
        if not same:
            raise OutputError(
                f"{path} exists and is not this prediction. The finished rows are safe in {journal.path}; add "
                "--overwrite to replace the file, or move it away and run the same command."
            )
    else:
        write_table(frame, path, overwrite=overwrite, forms=forms)
    journal.remove()

"""Scores of a run against a table's own columns, and the report."""

import time
from dataclasses import replace
from pathlib import Path
from typing import Any

from papertune.errors import TableError
from papertune.evaluation.predictions import predictions_of_table, predictions_of_values
from papertune.evaluation.report import ColumnReport, Report, with_rows_to_look_at, write_report
from papertune.evaluation.systems.outputs import SystemOutput, compare_outputs, rows_per_s, training_rows
from papertune.events import SILENT, Listener
from papertune.inference.predict import predict_rows
from papertune.models import PredictionPrecision
from papertune.pipelines.comparison.report_parts import (
    check_report_place,
    check_truth,
    report_on_run,
    training_costs,
    unscored,
)
from papertune.pipelines.comparison.training_rows import find_training_rows
from papertune.prompts.check_table import check_table
from papertune.prompts.examples import RowReader
from papertune.recipe import Recipe
from papertune.run import Run
from papertune.tables import Table, read_table
from papertune.templates import template_columns


def evaluate(
    run: Run,
    table: Any,
    report: str | Path,
    *,
    truth: Any = None,
    predictions: Any = None,
    baselines: Any = None,
    precision: PredictionPrecision = "auto",
    overwrite: bool = False,
    listener: Listener = SILENT,
) -> Report:
    """Score a run against the columns that a table has, and write report.html and report.json.

    Rows whose cell of a column is empty do not count in its score; the report says how many they are. Where the run is
    not sure enough to give an answer, what it would say is scored, since what it is compared with always answers; what
    leaving these rows out comes to is reported beside it.

    Args:
        run: The run.
        table: The table, with the documents and the true columns.
        report: The folder to write.
        truth: A table with the true columns, matched by the recipe's id column, where `table` has none.
        predictions: A file that `predict` has written for the table; the model then need not run. An empty cell counts
            as wrong if the file has no probabilities.
        baselines: The table that the run learnt from. Majority and TF-IDF baselines are then trained on it, but for
            the rows that the run has kept apart as dev rows. All of it, dev rows too, is searched for the same papers
            and for doubtful labels.
        precision: Of the weights.
        overwrite: Replace a report that is there.
        listener: Gets messages, and the progress after each batch.

    Returns:
        The report.

    Raises:
        TableError: If the tables do not fit the run, or there is nothing to score.
        OutputError: If a report is there already, or the folder cannot be written.
    """
    folder = Path(report)
    check_report_place(folder, overwrite=overwrite)
    documents = read_table(table)
    recipe = run.recipe
    given = documents if truth is None else _join(documents, read_table(truth), recipe)
    _check_documents(documents, recipe)
    check_truth(given, recipe)
    learnt = None if baselines is None else read_table(baselines)
    part = None  # what baselines learn from; a copy of a dev row is still a leak, since dev rows chose the run
    if learnt is not None:
        check_table(learnt, recipe, "train").raise_problems(learnt)
        part = find_training_rows(run, learnt, listener)
    reader = RowReader(given, recipe)
    rows = range(len(given))
    rate = None
    if predictions is None:
        predictor = run.predictor(precision)
        begun = time.monotonic()
        plan = predictor.plan(reader, rows)
        values = predict_rows(predictor, reader, plan, listener=listener).values
        predictions_by_column = predictions_of_values(values, recipe, run.decisions)
        rate = rows_per_s(len(rows), begun)
    else:
        aligned = _align(read_table(predictions), given, recipe)
        predictions_by_column = predictions_of_table(aligned, recipe, run.decisions)
    columns: list[ColumnReport] = []
    for name, predicted in predictions_by_column.items():
        column = recipe.columns[name]
        outputs = {f"fine-tuned {run.manifest.base_name}": SystemOutput(predicted, rate, *training_costs(run))}
        plain: dict[str, SystemOutput] = {}
        if part is not None and (known := training_rows(part, recipe, name)).documents:
            listener.message(f"training the baselines of {name}")
            texts = [reader.document(row) for row in rows]
            plain = {title: fill(known, texts) for title, fill in column.baselines().items()}
        if systems := compare_outputs({**outputs, **plain}, plain, reader, recipe, name, len(rows)):
            facts = unscored(reader, recipe, name, len(rows))
            told = ColumnReport(name, column.kind, column.question, systems, facts=facts)
            told = with_rows_to_look_at(told, predicted, given, learnt, recipe)
            record = run.manifest.record(name, column)
            columns.append(column.report_details(told, predicted, reader, run.decisions[name], record))
    title = f"{run.directory.path.resolve().name} on {Path(documents.source).name}"
    result = report_on_run(run, title, documents.source, columns, predictions_by_column, given, learnt, recipe)
    write_report(result, folder)
    return result


def _check_documents(documents: Table, recipe: Recipe) -> None:
    """Check that the run can read a table.

    Raises:
        TableError: If it cannot. A table with answers and without the text is mostly a filled file, which needs the
            table that it was filled in for.
    """
    try:
        check_table(documents, recipe, "predict").raise_problems(documents)
    except TableError as error:
        lacks_text = any(name not in documents.columns for name in template_columns(recipe.table.document))
        if documents.is_instructions or not lacks_text or recipe.columns.keys().isdisjoint(documents.columns):
            raise
        raise TableError(
            f"{error}\nGive the table with the documents as TABLE. If {documents.source} has been filled in, add it as "
            "--predictions; if it has the true columns, add it as --truth."
        ) from error


def _join(documents: Table, truth: Table, recipe: Recipe) -> Table:
    """Put the true columns beside the documents, by id."""
    key = recipe.table.id
    if key is None or key not in documents.columns or key not in truth.columns:
        raise TableError(f'{truth.source} can only be matched by an id column, and "{key}" is not in both tables.')
    where = _rows_by_id(truth, key)
    missing = [row for row, value in enumerate(documents.frame[key]) if value not in where]
    if missing:
        raise TableError(
            f'{documents.where(missing[0], key)}: the id "{documents.frame[key][missing[0]]}" is not in {truth.source} '
            f"({len(missing):,} rows have none there)."
        )
    ordered = truth.take([where[value] for value in documents.frame[key]])
    names = [name for name in recipe.columns if name in truth.columns]
    # It is called by the truth's name and rows, since only its cells are still to be checked.
    return replace(ordered, frame=documents.frame.with_columns([ordered.frame[name] for name in names]))


def _rows_by_id(table: Table, key: str) -> dict[str, int]:
    rows: dict[str, int] = {}
    for row, value in enumerate(table.frame[key]):
        if value in rows:
            raise TableError(
                f'{table.where(row, key)}: the id "{value}" stands already at {table.where(rows[value])}. '
                "Make ids unique."
            )
        rows[value] = row
    return rows


def _align(predicted: Table, given: Table, recipe: Recipe) -> Table:
    """Put a predicted table's rows into the order of the table that it is about."""
    key = recipe.table.id
    if key is not None and key in predicted.columns and key in given.columns:
        where = _rows_by_id(predicted, key)
        missing = [row for row, value in enumerate(given.frame[key]) if value not in where]
        if missing:
            raise TableError(f'{predicted.source} has no row with the id "{given.frame[key][missing[0]]}".')
        return predicted.take([where[value] for value in given.frame[key]])
    if len(predicted) != len(given):
        raise TableError(f"{predicted.source} has {len(predicted):,} rows, but {given.source} has {len(given):,}.")
    return predicted

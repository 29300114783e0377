"""Scores of a run against a table's own columns, and the report."""

import time
from collections.abc import Mapping
from dataclasses import replace
from pathlib import Path
from typing import Any

from papertune.errors import TableError, quoted
from papertune.evaluation.matching import match_rows, rows_by_key
from papertune.evaluation.predictions import predictions_of_table, predictions_of_values
from papertune.evaluation.report import ColumnReport, Report, with_rows_to_look_at, write_report
from papertune.evaluation.systems.outputs import SystemOutput, compare_outputs, rows_per_s, training_rows
from papertune.events import SILENT, Listener
from papertune.inference.cascades import about_cascades, decided_in_words
from papertune.inference.joined import JoinedPredictor
from papertune.inference.predict import predict_rows
from papertune.kinds.predictions import Predictions
from papertune.models import PredictionPrecision
from papertune.pipelines.comparison.report_parts import (
    ScoredTables,
    answered_by,
    check_gold,
    check_report_place,
    name_of_run,
    report_on_run,
    training_costs,
    unscored,
    with_details,
)
from papertune.pipelines.comparison.training_rows import count_learned_rows, find_training_rows
from papertune.prompts.check_table import check_table
from papertune.prompts.examples import RowReader
from papertune.prompts.given_cells import open_table
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

    Rows whose cell of a column is empty are not scored; the report shows their number. Where the run abstains, its most
    probable label is scored, since the systems that it is compared with never abstain; the effect of abstaining is
    reported too.

    Args:
        run: The run.
        table: The table, with the documents and the gold columns.
        report: The folder to write.
        truth: A table with the gold columns, matched by the recipe's id column, if `table` has none.
        predictions: A file that `predict` has written for the table; the model is then not needed. An empty cell counts
            as wrong if the file has no probabilities.
        baselines: The table that the run was trained on. Baselines are then trained on it, except on the run's dev
            rows. All of it, dev rows too, is searched for papers of `table` and for likely label errors.
        precision: Number format of the weights.
        overwrite: Replace an existing report.
        listener: Gets messages, and the progress after each batch.

    Returns:
        The report.

    Raises:
        TableError: If the tables do not fit the run, or there is nothing to score.
        OutputError: If a report exists, or the folder cannot be written.
    """
    run.directory.check_fills_columns(run.recipe, "be scored")
    check_report_place(Path(report), overwrite=overwrite)
    recipe = run.recipe
    documents = open_table(table, recipe)
    gold = documents if truth is None else _join(documents, open_table(truth, recipe), recipe)
    _check_documents(documents, recipe)
    check_gold(gold, recipe)
    whole = None if baselines is None else open_table(baselines, recipe)  # with dev rows, which chose the checkpoint
    train = None if whole is None else _rows_for_baselines(run, whole, listener)
    tables = ScoredTables(gold, whole, recipe, documents.source)
    if predictions is None:
        by_column, rate = _predict_with_cascades(run, gold, precision, listener)
        greedy = _predict_greedily(run, gold, precision, listener)
    else:
        by_column, rate, greedy = _read_predictions(run, predictions, gold, listener), None, {}
    _report_learned_rows(run, documents, listener)
    outputs = {name: SystemOutput(each, rate, *training_costs(run)) for name, each in by_column.items()}
    columns = _report_on_columns(run, outputs, greedy, tables, train, listener)
    name = run.directory.path.resolve().name
    result = report_on_run(run, f"{name} on {Path(documents.source).name}", columns, by_column, tables)
    write_report(result, Path(report))
    return result


def _report_on_columns(
    run: Run,
    outputs: Mapping[str, SystemOutput],
    greedy: Mapping[str, SystemOutput],
    tables: ScoredTables,
    train: Table | None,
    listener: Listener,
) -> list[ColumnReport]:
    """Score the outputs of a run beside its greedy answers and the baselines, and show rows to look at."""
    columns: list[ColumnReport] = []
    for name, output in outputs.items():
        about = _compare_with_baselines(run, name, output, greedy.get(name), tables.gold, train, listener)
        if about.systems:
            about = with_rows_to_look_at(about, output.predictions, tables.gold, tables.train, run.recipe)
            columns.append(with_details(run, about, output.predictions, RowReader(tables.gold, run.recipe)))
    return columns


def _report_learned_rows(run: Run, documents: Table, listener: Listener) -> None:
    if learned := count_learned_rows(run, documents):
        listener.message(
            f"{documents.source}: {run.directory.path} was trained on {learned:,} of its {len(documents):,} rows, so "
            "it scores too well on them. Score it on other rows."
        )


def _rows_for_baselines(run: Run, table: Table, listener: Listener) -> Table:
    """Check the table that a run was trained on, and return it without the dev rows."""
    check_table(table, run.recipe, "train").raise_problems(table)
    return find_training_rows(run, table, listener)


def _predict_with_cascades(
    run: Run, table: Table, precision: PredictionPrecision, listener: Listener
) -> tuple[dict[str, Predictions], float | None]:
    """Return the predictions of a run by column, and the rows per second; report what cascades do."""
    for text in about_cascades(run, run.recipe):
        listener.message(text)
    by_column, rate, decided = _predict(run, table, precision, listener)
    for text in decided:
        listener.message(text)
    return by_column, rate


def _predict(
    run: Run, table: Table, precision: PredictionPrecision, listener: Listener
) -> tuple[dict[str, Predictions], float | None, list[str]]:
    """Return the predictions of a run by column, the rows per second, and how many rows needed no model, in words."""
    reader, rows = RowReader(table, run.recipe), range(len(table))
    predictor = run.predictor(precision)
    started = time.monotonic()
    values = predict_rows(predictor, reader, predictor.plan(reader, rows), listener=listener).values
    decided: list[str] = []
    if isinstance(predictor, JoinedPredictor):
        decided = decided_in_words(predictor.decided, predictor.answered)
    return predictions_of_values(values, run.recipe, run.decisions), rows_per_s(len(rows), started), decided


def _read_predictions(run: Run, table: Any, gold: Table, listener: Listener) -> dict[str, Predictions]:
    """Return the predictions that a file has for the scored rows, by column."""
    matched = match_rows(read_table(table), gold, run.recipe, listener)
    return predictions_of_table(matched, run.recipe, run.decisions)


def _predict_greedily(
    run: Run, table: Table, precision: PredictionPrecision, listener: Listener
) -> dict[str, SystemOutput]:
    """Return the greedy answers of a run that chooses among several, for the columns where it does; else {}."""
    if run.best_of is None:
        return {}
    listener.message("and the greedy answers")
    plain = run.greedy()
    by_column, rate, _ = _predict(plain, table, precision, listener)
    return {
        name: SystemOutput(predicted, rate, *training_costs(run))
        for name, predicted in by_column.items()
        if name in run.best_of.columns
    }


def _compare_with_baselines(
    run: Run,
    name: str,
    output: SystemOutput,
    greedy: SystemOutput | None,
    gold: Table,
    train: Table | None,
    listener: Listener,
) -> ColumnReport:
    """Score a run in a column beside its greedy answers, and beside baselines if there are training rows for them."""
    recipe, column, reader = run.recipe, run.recipe.columns[name], RowReader(gold, run.recipe)
    simple: dict[str, SystemOutput] = {}
    if train is not None and (known := training_rows(train, recipe, name)).documents:
        listener.message(f"training the baselines of {name}")
        documents = [reader.document(row) for row in range(len(gold))]
        simple = {title: fill(known, documents) for title, fill in column.baselines().items()}
    if greedy is not None:
        simple = {f"{name_of_run(run, name)}, greedy": greedy, **simple}
    outputs = {name_of_run(run, name): output, **simple}
    systems = compare_outputs(outputs, simple, reader, recipe, name, len(gold))
    facts = {**answered_by(run, name), **unscored(reader, recipe, name, len(gold))}
    return ColumnReport(name, column.kind, column.question_in_words, systems, facts=facts)


def _check_documents(documents: Table, recipe: Recipe) -> None:
    """Check that the run can read a table.

    Raises:
        TableError: If it cannot. A table with predictions and without the text is usually an output of `predict`; the
            message asks for the table that it was predicted from.
    """
    try:
        check_table(documents, recipe, "predict").raise_problems(documents)
    except TableError as error:
        lacks_text = any(name not in documents.columns for name in template_columns(recipe.table.document))
        if documents.is_instructions or not lacks_text or recipe.columns.keys().isdisjoint(documents.columns):
            raise
        raise TableError(
            f"{error}\nGive the table with the documents as TABLE. If {documents.source} is an output of predict, "
            "add it as --predictions; if it has the gold columns, add it as --truth."
        ) from error


def _join(documents: Table, truth: Table, recipe: Recipe) -> Table:
    """Return the documents with the gold columns of another table, matched by id."""
    key = recipe.table.id
    if key is None or key not in documents.columns or key not in truth.columns:
        raise TableError(f'{truth.source} can only be matched by an id column, and "{key}" is not in both tables.')
    where = rows_by_key(truth, key)
    missing = [row for row, value in enumerate(documents.frame[key]) if value not in where]
    if missing:
        raise TableError(
            f"{documents.where(missing[0], key)}: the id {quoted(documents.frame[key][missing[0]])} is not in "
            f"{truth.source} ({len(missing):,} rows have none there). Give the table with the gold cells of these rows."
        )
    ordered = truth.take([where[value] for value in documents.frame[key]])
    names = [name for name in recipe.columns if name in truth.columns]
    # It keeps the name and row numbers of the gold table, whose cells are checked next.
    return replace(ordered, frame=documents.frame.with_columns([ordered.frame[name] for name in names]))

"""Scores of a run against a table's own columns, and the report."""

import json
import random
from collections.abc import Callable, Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any

from papertune.api.run import Run
from papertune.config import LabelColumn, Recipe
from papertune.disk import check_place
from papertune.errors import OutputError, TableError
from papertune.evaluation.answers import Answers, answers_of_table, answers_of_values, score_answers
from papertune.evaluation.baselines import majority, tfidf_keywords, tfidf_logistic
from papertune.evaluation.report import ColumnReport, Contestant, Report, SampleCell, SampleRow, write_report
from papertune.inference.predict import Tick, predict_rows
from papertune.models import PredictionPrecision
from papertune.tables import Table, read_table
from papertune.tasks import RowReader, answer_text, check_table, split_keywords

# Rows that the report shows with their text.
SAMPLE_ROWS = 8
SAMPLE_SEED = 0


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
    tell: Callable[[str], None] = lambda _: None,
    tick: Tick | None = None,
) -> Report:
    """Score a run against the columns that a table has, and write report.html and report.json.

    Args:
        run: The run.
        table: The table, with the documents and the true columns.
        report: The folder to write.
        truth: A table with the true columns, matched by the recipe's id column, where `table` has none.
        predictions: A file that `predict` has written for the table; the model then need not run.
        baselines: The table that the run learnt from; majority and TF-IDF baselines are then trained on it.
        precision: Of the weights.
        overwrite: Replace a report that is there.
        tell: Told what goes on, a line each.
        tick: Told after each batch.

    Returns:
        The report.

    Raises:
        TableError: If the tables do not fit the run, or there is nothing to score.
        OutputError: If a report is there already, or the folder cannot be written.
    """
    folder = Path(report)
    check_place(folder)
    if any((folder / name).exists() for name in ("report.json", "report.html")) and not overwrite:
        raise OutputError(f"{folder} holds a report already. Add --overwrite to replace it, or choose another folder.")
    documents = read_table(table)
    recipe = run.recipe
    given = documents if truth is None else _join(documents, read_table(truth), recipe)
    check_table(documents, recipe, "predict").raise_problems(documents)
    _check_truth(given, recipe)
    reader = RowReader(given, recipe)
    rows = range(len(given))
    if predictions is None:
        predictor = run.predictor(precision)
        plan = predictor.plan(reader, rows)
        answers = answers_of_values(predict_rows(predictor, reader, plan, tick=tick).values, recipe)
    else:
        answers = answers_of_table(_align(read_table(predictions), given, recipe), recipe)
    scores = score_answers(answers, reader, recipe, rows)
    learnt = None if baselines is None else read_table(baselines)
    columns: list[ColumnReport] = []
    for name, score in scores.items():
        contestants = [Contestant(f"fine-tuned {run.manifest.base_name}", score)]
        if learnt is not None and (name in learnt.columns or learnt.is_instructions):
            tell(f"training the baselines of {name}")
            for title, baseline in _baselines(learnt, reader, rows, recipe, name).items():
                contestants.append(Contestant(title, score_answers({name: baseline}, reader, recipe, rows)[name]))
        column = recipe.columns[name]
        columns.append(ColumnReport(name, column.kind, column.question, contestants))
    result = Report(
        title=f"{run.directory.path.resolve().name} on {Path(documents.source).name}",
        table=documents.source,
        rows=len(given),
        facts=_facts(run),
        columns=columns,
        loss_curve=_curve(run.directory.metrics, "loss"),
        dev_curve=_curve(run.directory.metrics, "score"),
        samples=_samples(answers, given, reader, recipe),
    )
    write_report(result, folder)
    return result


def _baselines(learnt: Table, test: RowReader, rows: Sequence[int], recipe: Recipe, name: str) -> dict[str, Answers]:
    column = recipe.columns[name]
    check_table(learnt, recipe, "train").raise_problems(learnt)
    train = RowReader(learnt, recipe)
    cells = {row: train.given(row, name) for row in range(len(learnt))}
    known = {row: answer for row, cell in cells.items() if cell is not None and (answer := answer_text(cell, column))}
    texts = [train.document(row) for row in known]
    test_texts = [test.document(row) for row in rows]
    if not isinstance(column, LabelColumn):
        lists = tfidf_keywords(texts, test_texts)
        return {"TF-IDF n-grams": Answers([column.output_separator.join(words) for words in lists])}
    labels = list(known.values())
    predicted, probabilities = tfidf_logistic(texts, labels, test_texts, column.labels)
    return {
        "TF-IDF + logistic regression": Answers(predicted, probabilities.tolist()),
        "majority": Answers(majority(labels, len(rows))),
    }


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


def _check_truth(given: Table, recipe: Recipe) -> None:
    findings = check_table(given, recipe, "train")
    findings.raise_problems(given)
    reader = RowReader(given, recipe)
    for name, column in recipe.columns.items():
        cells = (reader.given(row, name) for row in range(len(given)))
        if any(cell is not None and answer_text(cell, column) for cell in cells):
            return
    raise TableError(f"{given.source} has no true cell in {', '.join(recipe.columns)}, so there is nothing to score.")


def _facts(run: Run) -> dict[str, str]:
    manifest = run.manifest
    facts = {
        "base model": manifest.base_name,
        "method": run.recipe.method.kind,
        "trained weights": f"{manifest.trained_weights:,}",
        "learnt from": ", ".join(f"{table.source} ({table.rows:,} rows)" for table in manifest.tables),
        "training": f"{manifest.examples:,} examples, {manifest.steps:,} steps, {manifest.seconds / 60:.1f} minutes",
    }
    versions = run.directory.path / "versions.json"
    if versions.exists():
        kept = ("papertune", "python", "torch", "transformers", "peft")
        known = json.loads(versions.read_text("utf-8"))
        facts["versions"] = ", ".join(f"{name} {known[name]}" for name in kept if name in known)
    return {key: value for key, value in facts.items() if value}


def _curve(metrics: Path, key: str) -> list[tuple[int, float]]:
    if not metrics.exists():
        return []
    entries = [json.loads(line) for line in metrics.read_text("utf-8").splitlines()]
    return [(entry["step"], entry[key]) for entry in entries if key in entry]


def _samples(answers: dict[str, Answers], given: Table, reader: RowReader, recipe: Recipe) -> list[SampleRow]:
    count = min(SAMPLE_ROWS, len(given))
    samples: list[SampleRow] = []
    for row in sorted(random.Random(SAMPLE_SEED).sample(range(len(given)), count)):
        cells: list[SampleCell] = []
        for name, said in answers.items():
            column = recipe.columns[name]
            cell = reader.given(row, name)
            probability = None
            if isinstance(column, LabelColumn) and said.probabilities is not None and said.probabilities[row]:
                probability = max(said.probabilities[row])
            shown = "" if cell is None else answer_text(cell, column) or ""
            if not isinstance(column, LabelColumn):
                shown = column.output_separator.join(split_keywords(cell or ""))
            cells.append(SampleCell(name, said.cells[row], shown, probability))
        key = recipe.table.id
        title = given.frame[key][row] if key is not None and key in given.columns else f"row {row + 1}"
        samples.append(SampleRow(title, reader.document(row), cells))
    return samples

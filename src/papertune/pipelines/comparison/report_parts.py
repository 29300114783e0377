"""What the reports of `evaluate` and `compare` share."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

from papertune.errors import OutputError, TableError
from papertune.evaluation.checks.leaks import find_leaks
from papertune.evaluation.report import ColumnReport, Report, sample_rows
from papertune.files import check_place
from papertune.inference.cascades import cascades_in_words
from papertune.kinds.label.join_words import answered_by_each
from papertune.kinds.predictions import Predictions
from papertune.prompts.check_table import check_table
from papertune.prompts.examples import RowReader
from papertune.recipe import Recipe
from papertune.run import Run
from papertune.tables import Table


def check_report_place(folder: Path, *, overwrite: bool) -> None:
    """Check before the work that a report may be written to a folder.

    Raises:
        OutputError: If it holds a report, or cannot be written.
    """
    check_place(folder)
    if any((folder / name).exists() for name in ("report.json", "report.html")) and not overwrite:
        raise OutputError(f"{folder} already holds a report. Add --overwrite to replace it, or choose another folder.")


def check_gold(table: Table, recipe: Recipe) -> None:
    """Check that predictions can be scored against a table.

    Raises:
        TableError: If its cells do not fit the recipe, or none of the recipe's columns has a gold cell.
    """
    check_table(table, recipe, "score").raise_problems(table)
    reader = RowReader(table, recipe)
    for name, column in recipe.columns.items():
        if any(column.has_gold(reader, row, name) for row in range(len(table))):
            return
    raise TableError(f"{table.source} has no gold cell in {', '.join(recipe.columns)}, so there is nothing to score.")


def unscored(gold: RowReader, recipe: Recipe, name: str, rows: int) -> dict[str, str]:
    """Return the number of rows without a gold answer in a column, which are not scored, as a fact of a report.

    Args:
        gold: Reads the gold cells.
        recipe: The columns.
        name: The column.
        rows: Number of rows of the table.
    """
    column = recipe.columns[name]
    if column.empty_is_gold:
        return {}
    cells = [cell for row in range(rows) if (cell := gold.given(row, name)) is not None]
    lacking = [cell for cell in cells if column.read_answer(cell) is None]
    why = "has no gold answer" if any(cell.strip() for cell in lacking) else "is empty"
    return {"not scored": f"{len(lacking):,} of {len(cells):,} rows, whose cell {why}"} if lacking else {}


def answered_by(run: Run, name: str) -> dict[str, str]:
    """Return which sources answer a column, as a fact of a report; empty if only the model does."""
    column = run.recipe.columns[name]
    of_label = column.question_of_label(name)
    questions = {question: of_label.get(question, "") for question in run.recipe.questions_of(name)}
    text = answered_by_each(run.joins, questions)
    facts = {"answered by": text} if text else {}
    if found := cascades_in_words(run.cascades, run.recipe.only((name,))):
        facts["cascade"] = found[0].removeprefix(f"{name}: ")
    return facts


def name_of_run(run: Run, column: str) -> str:
    """Return what a report calls a run among the systems for a column."""
    is_joined = any(question in run.joins for question in run.recipe.questions_of(column))
    return "joined sources" if is_joined else f"fine-tuned {run.manifest.base_name}"


@dataclass(frozen=True)
class ScoredTables:
    """The tables of a report.

    Attributes:
        gold: The scored table, with the gold columns.
        train: The table that the run was trained on, dev rows included, if known; it is searched for scored papers.
        recipe: The scored columns.
        source: Name of the table with the documents.
        dev: The dev table of trainings for this report, if any; it is searched for scored papers too.
    """

    gold: Table
    train: Table | None
    recipe: Recipe
    source: str
    dev: Table | None = None


def with_details(run: Run, about: ColumnReport, predicted: Predictions, gold: RowReader) -> ColumnReport:
    """Return the report of a column with what only its kind reports."""
    column = run.recipe.columns[about.name]  # with the settings that the run was calibrated with
    record = run.manifest.record(about.name, column)
    return column.report_details(about, predicted, gold, run.decisions[about.name], record)


def report_on_run(
    run: Run, title: str, columns: Sequence[ColumnReport], predictions: Mapping[str, Predictions], tables: ScoredTables
) -> Report:
    """Return the report of some columns with what concerns the run and the tables.

    Args:
        run: The run.
        title: Title of the report.
        columns: The reports of the columns.
        predictions: The predictions of the run, by column.
        tables: The tables.
    """
    return Report(
        title=title,
        table=tables.source,
        rows=len(tables.gold),
        facts=_run_facts(run),
        columns=list(columns),
        loss_curve=_metrics_curve(run, "loss"),
        dev_curve=_metrics_curve(run, "score"),
        samples=sample_rows(predictions, tables.gold, tables.recipe),
        leaks=find_leaks(tables.gold, tables.train, tables.recipe, tables.dev),
    )


def _run_facts(run: Run) -> dict[str, str]:
    """Return the facts of a report about a run."""
    manifest = run.manifest
    facts = {
        "base model": manifest.base_name,
        "method": run.recipe.method.kind,
        "trained weights": f"{manifest.trained_weights:,}",
        "learnt from": ", ".join(f"{table.source} ({table.rows:,} rows)" for table in manifest.tables),
        "training": f"{manifest.examples:,} examples, {manifest.steps:,} steps, {manifest.seconds / 60:.1f} minutes",
    }
    if known := run.directory.versions():
        kept = ("papertune", "python", "torch", "transformers", "peft")
        facts["versions"] = ", ".join(f"{name} {known[name]}" for name in kept if name in known)
    return {key: value for key, value in facts.items() if value}


def _metrics_curve(run: Run, key: str) -> list[tuple[int, float]]:
    """Read (optimizer step, value) from the metrics of a run; empty without the file or the key."""
    return [(int(entry["step"]), entry[key]) for entry in run.directory.metric_entries() if key in entry]


def training_costs(run: Run) -> tuple[float | None, int | None]:
    """Return the seconds of a run's training and its number of trainable parameters; None if not known."""
    return run.manifest.seconds or None, run.manifest.trained_weights or None

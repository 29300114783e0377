"""What the reports of `evaluate` and `compare` have in common."""

import json
from collections.abc import Mapping, Sequence
from pathlib import Path

from papertune.errors import OutputError, TableError
from papertune.evaluation.checks.leaks import find_leaks
from papertune.evaluation.report import ColumnReport, Report, sample_rows
from papertune.files import check_place
from papertune.kinds.predictions import Predictions
from papertune.prompts.check_table import check_table
from papertune.prompts.examples import RowReader
from papertune.recipe import Recipe
from papertune.run import Run
from papertune.tables import Table


def check_report_place(folder: Path, *, overwrite: bool) -> None:
    """Find out before the work whether a report may be written to a folder.

    Raises:
        OutputError: If there is one already, or the folder cannot be written.
    """
    check_place(folder)
    if any((folder / name).exists() for name in ("report.json", "report.html")) and not overwrite:
        raise OutputError(f"{folder} holds a report already. Add --overwrite to replace it, or choose another folder.")


def check_truth(given: Table, recipe: Recipe) -> None:
    """Check that a table can be scored against. Rows without a true cell do not matter, as long as there are others.

    Raises:
        TableError: If its cells do not fit the recipe, or none of its columns has a true cell.
    """
    check_table(given, recipe, "score").raise_problems(given)
    reader = RowReader(given, recipe)
    for name, column in recipe.columns.items():
        if any(column.has_gold(reader, row, name) for row in range(len(given))):
            return
    raise TableError(f"{given.source} has no true cell in {', '.join(recipe.columns)}, so there is nothing to score.")


def unscored(truth: RowReader, recipe: Recipe, name: str, rows: int) -> dict[str, str]:
    """Tell how many rows do not count in the score of a column, since their cell says nothing; nothing if all count.

    Args:
        truth: Reads the true cells.
        recipe: The columns.
        name: The column.
        rows: Rows of the truth's table.
    """
    column = recipe.columns[name]
    if column.empty_is_gold:
        return {}
    cells = (truth.given(row, name) for row in range(rows))
    known = [column.read_answer(cell) is not None for cell in cells if cell is not None]
    empty = known.count(False)
    return {"not scored": f"{empty:,} of {len(known):,} rows, whose cell is empty"} if empty else {}


def report_on_run(
    run: Run,
    title: str,
    table: str,
    columns: Sequence[ColumnReport],
    predictions: Mapping[str, Predictions],
    given: Table,
    learnt: Table | None,
    recipe: Recipe,
    dev: Table | None = None,
) -> Report:
    """Put a report together: what was found out about each column, and what concerns the run and the tables.

    Args:
        run: The run.
        title: The report's.
        table: Name of the table that was scored.
        columns: What was found out.
        predictions: The run's, by column.
        given: The table that was scored, with the true columns.
        learnt: The table that the run was trained on, dev rows kept apart from it included, if it is known; copies of
            the scored papers are looked for there.
        recipe: The columns that were scored.
        dev: The table by which what was trained for this report was chosen and calibrated; copies of the scored papers
            are looked for there too.
    """
    return Report(
        title=title,
        table=table,
        rows=len(given),
        facts=_run_facts(run),
        columns=list(columns),
        loss_curve=_metrics_curve(run.directory.metrics, "loss"),
        dev_curve=_metrics_curve(run.directory.metrics, "score"),
        samples=sample_rows(predictions, given, recipe),
        leaks=find_leaks(given, learnt, recipe, dev),
    )


def _run_facts(run: Run) -> dict[str, str]:
    """Give what a report tells about a run."""
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


def _metrics_curve(metrics: Path, key: str) -> list[tuple[int, float]]:
    """Read (optimizer step, value) from a run's metrics; none where it has no such file or key."""
    if not metrics.exists():
        return []
    entries = [json.loads(line) for line in metrics.read_text("utf-8").splitlines()]
    return [(entry["step"], entry[key]) for entry in entries if key in entry]


def training_costs(run: Run) -> tuple[float | None, int | None]:
    """Give the seconds that a run's training took and how many weights it learnt, as far as that is known."""
    return run.manifest.seconds or None, run.manifest.trained_weights or None

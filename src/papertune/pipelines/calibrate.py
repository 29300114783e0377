"""Calibration of a finished run."""

import warnings
from pathlib import Path
from typing import Any

from papertune.calibration.calibrate import calibrate_run
from papertune.errors import PapertuneWarning, RunError, TableError
from papertune.events import SILENT, Listener
from papertune.pipelines.comparison.training_rows import count_learned_rows
from papertune.pipelines.training.job import warn_of_shortage
from papertune.prompts.check_table import check_table
from papertune.prompts.given_cells import open_table
from papertune.run import Run, load_run
from papertune.run_directory import RunDirectory


def calibrate(
    run: str | Path | Run,
    dev: Any,
    *,
    device: str | None = None,
    base: str | Path | None = None,
    listener: Listener = SILENT,
) -> Run:
    """Fit what prediction needs beside the weights, on rows that the run was not trained on.

    Probabilities, thresholds and the ranking of keywords are fitted in the precision that predicts on this machine;
    int8 is compared with float32 first. An earlier calibration is replaced. `train` does the same with its own dev
    rows.

    Args:
        run: A finished run, or its directory.
        dev: A table with the gold columns (a path, a data frame, a list of dicts), or a list of paths or frames. Rows
            that the run was trained on make it look better than it is.
        device: "cpu", "cuda", ...; None: a GPU if there is one.
        base: Where the base model is now, if not where the recipe says.
        listener: Gets messages and progress.

    Returns:
        The calibrated run.

    Raises:
        RunError: If the run is not complete.
        TableError: If there are no rows, a table does not fit the run, or the run was trained on it.
    """
    opened = run if isinstance(run, Run) else load_run(run, device=device, base=base)
    opened.directory.check_fills_columns(opened.recipe, "be calibrated")
    many = isinstance(dev, list | tuple) and not (dev and isinstance(dev[0], dict))
    tables = [open_table(each, opened.recipe) for each in (dev if many else [dev])]
    if not any(map(len, tables)):
        raise TableError("there are no dev rows. Give at least one table with rows.")
    problems: list[str] = []
    for table in tables:
        findings = check_table(table, opened.recipe, "train")
        problems += findings.problems
        for warning in findings.warnings:
            warnings.warn(warning, PapertuneWarning, stacklevel=2)
    if problems:
        raise TableError.collect("the tables do not fit the recipe", problems)
    for table in tables:
        if learned := count_learned_rows(opened, table):
            what = "this table" if learned == len(table) else f"{learned:,} of its {len(table):,} rows"
            raise TableError(
                f"{table.source}: {opened.directory.path} was trained on {what}, so every probability would look too "
                "good. Give other rows."
            )
    _check_writable(opened.directory)
    warn_of_shortage(tables, opened.recipe.with_settings(opened.manifest.fitted_settings))
    calibrate_run(opened, tables, tables, listener=listener)
    return load_run(opened.directory.path, device=opened.device, base=base)


def _check_writable(directory: RunDirectory) -> None:
    try:
        with directory.manifest_file.open("a"):
            pass
    except OSError as error:
        raise RunError(f"{directory.path} cannot be written: {error.strerror or error}.") from None

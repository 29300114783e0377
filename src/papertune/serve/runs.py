"""Runs of the work folder over HTTP."""

import tomllib
from contextlib import suppress
from dataclasses import asdict
from datetime import UTC, datetime
from itertools import takewhile
from pathlib import Path
from typing import Any

from fastapi import APIRouter
from fastapi.responses import HTMLResponse, Response

from papertune.errors import PapertuneError
from papertune.recipe import Recipe, load_recipe
from papertune.run_directory import RunDirectory
from papertune.serve.jobs.jobs import Jobs
from papertune.serve.jobs.report import report_page
from papertune.serve.workspace import Workspace, is_name, remove, set_aside


def router(workspace: Workspace, jobs: Jobs) -> APIRouter:
    """Return the routes."""
    router = APIRouter(prefix="/api/runs", tags=["runs"])

    @router.get("")
    def list_runs() -> dict[str, Any]:
        """Return the runs, newest first; unfinished and damaged ones too."""
        folders = [each for each in workspace.runs.iterdir() if is_name(each.name) and each.is_dir()]
        runs = [describe_run(each) for each in folders]
        return {"runs": sorted(runs, key=lambda run: run["created"], reverse=True)}

    @router.get("/{name}")
    def show(name: str) -> dict[str, Any]:
        """Return a run with its recipe, and with the curve of its training."""
        folder = workspace.run_path(name)
        toml = recipe_text(folder)
        values: dict[str, Any] | None = None
        with suppress(ValueError):
            values = None if toml is None else tomllib.loads(toml)
        curve = RunDirectory(folder).metric_entries()
        return {**describe_run(folder), "recipe": values, "toml": toml, "curve": curve}

    @router.delete("/{name}")
    def delete(name: str) -> dict[str, str]:
        """Delete a run that no running job uses; of a run elsewhere only the link goes."""
        with jobs.unused(workspace.run_path(name)):
            hidden = set_aside(workspace.run_path(name))
        remove(hidden)
        return {"deleted": name}

    @router.get("/{name}/report", response_class=HTMLResponse)
    def report(name: str) -> Response:
        """Return the report of the last evaluation of a run, for a sandboxed frame."""
        run = workspace.run_path(name).name
        # What is older than the training was of another run, which had the name before it was deleted.
        newest = takewhile(lambda job: job.kind != "train", (job for job in jobs.all() if job.run == run))
        last = next((job for job in newest if (job.kind, job.state) == ("evaluate", "done")), None)
        return report_page(None if last is None else jobs.folder(last))

    return router


def describe_run(folder: Path) -> dict[str, Any]:
    """Return what a list shows of a run.

    Args:
        folder: The run directory; its training may be unfinished.
    """
    directory = RunDirectory(folder)
    about: dict[str, Any] = {"name": folder.name, "complete": False, "created": _when(folder), "columns": []}
    try:
        recipe, manifest = directory.read()
    except PapertuneError as error:
        about["message"] = str(error)
        with suppress(PapertuneError):
            if (toml := recipe_text(folder)) is not None:
                about |= _settings(load_recipe(tomllib.loads(toml)))
        return about
    joins = {name: asdict(join) for name, join in manifest.joins.items()}
    return {
        **about,
        **_settings(recipe),
        "complete": True,
        "base": manifest.base_name,
        "created": _when(directory.manifest_file),
        "tables": [{"source": Path(table.source).name, "rows": table.rows} for table in manifest.tables],
        "measures": {
            "dev_score": manifest.dev_score,
            "steps": manifest.steps,
            "seconds": manifest.seconds,
            "examples": manifest.examples,
            "trained_weights": manifest.trained_weights,
            **manifest.stage_results,
        },
        "joins": joins,
    }


def recipe_text(folder: Path) -> str | None:
    """Return the recipe of a run as TOML; None if it has none that can be read."""
    try:
        return (folder / "recipe.toml").read_text("utf-8")
    except (OSError, UnicodeDecodeError):
        return None


def _settings(recipe: Recipe) -> dict[str, Any]:
    columns = [
        {"name": name, "kind": column.kind}
        | ({"labels": list(labels)} if (labels := getattr(column, "labels", ())) else {})
        for name, column in recipe.columns.items()
    ]
    return {"base": recipe.model, "method": recipe.method.kind, "stage": recipe.stage.kind, "columns": columns}


def _when(path: Path) -> str:
    return datetime.fromtimestamp(path.stat().st_mtime, UTC).isoformat(timespec="seconds")

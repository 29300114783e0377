"""Models in the sense of OpenAI: RUN writes texts, RUN:COLUMN and RUN:* fill in columns."""

import asyncio
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from papertune.errors import PapertuneError, quoted
from papertune.recipe import Recipe
from papertune.run_directory import RunDirectory
from papertune.serve.errors import ServeError
from papertune.serve.workspace import Workspace, changed_at

ALL = "*"


@dataclass(frozen=True)
class Target:
    """What answers a request.

    Attributes:
        run: Name of the run.
        columns: The columns to fill in; (): the run writes a text.
        is_all: Whether the answer is a JSON object of all columns.
        recipe: The run's recipe.
        checksum: SHA-256 of the run's recipe and weights.
    """

    run: str
    columns: tuple[str, ...]
    is_all: bool
    recipe: Recipe
    checksum: str


class Models:
    """The models of a work folder. What is read of a run is kept until its run.json changes.

    Args:
        workspace: The work folder.
    """

    def __init__(self, workspace: Workspace) -> None:
        self._workspace = workspace
        self._recipes: dict[Path, tuple[int, Recipe]] = {}
        self._checksums: dict[Path, tuple[int, str]] = {}

    async def all(self) -> list[dict[str, Any]]:
        """Return all models; runs that are unfinished or damaged have none."""
        return await asyncio.to_thread(self._all)

    async def find(self, name: str) -> Target:
        """Return what a model is.

        Raises:
            ServeError: 404 if there is none.
        """
        return await asyncio.to_thread(self._find, name)

    async def describe(self, name: str) -> dict[str, Any]:
        """Return one model.

        Raises:
            ServeError: 404 if there is none.
        """
        target = await self.find(name)
        return _model(name, self._workspace.run_path(target.run))

    def _all(self) -> list[dict[str, Any]]:
        found = []
        for path in sorted(self._workspace.runs.iterdir()):
            try:
                recipe = self._recipe(self._workspace.run_path(path.name))
            except (ServeError, PapertuneError):
                continue
            names = [path.name] if RunDirectory(path).has_model else []
            if recipe.stage.fills_columns:
                names += [f"{path.name}:{column}" for column in [*recipe.columns, ALL]]
            found += [_model(name, path) for name in names]
        return found

    def _find(self, name: str) -> Target:
        run, colon, column = name.partition(":")
        try:
            path = self._workspace.run_path(run)
            recipe = self._recipe(path)
        except ServeError:
            raise _not_found(name, f"there is no run {quoted(run)}") from None
        if not colon:
            return Target(run, (), is_all=False, recipe=recipe, checksum=self._checksum(path))
        if not recipe.stage.fills_columns:
            raise _not_found(name, f"{quoted(run)} is {recipe.stage.run_in_words} and fills in no columns")
        if column != ALL and column not in recipe.columns:
            there = ", ".join(map(quoted, recipe.columns))
            raise _not_found(name, f"the run {quoted(run)} has no column {quoted(column)}, but {there}")
        names = tuple(recipe.columns) if column == ALL else (column,)
        return Target(run, names, is_all=column == ALL, recipe=recipe, checksum=self._checksum(path))

    def _recipe(self, path: Path) -> Recipe:
        stamp = changed_at(path)
        if self._recipes.get(path, (None,))[0] != stamp:
            self._recipes[path] = stamp, RunDirectory(path).read()[0]
        return self._recipes[path][1]

    def _checksum(self, path: Path) -> str:
        stamp = changed_at(path)
        if self._checksums.get(path, (None,))[0] != stamp:
            self._checksums[path] = stamp, RunDirectory(path).weights_checksum()
        return self._checksums[path][1]


def _model(name: str, path: Path) -> dict[str, Any]:
    return {"id": name, "object": "model", "created": changed_at(path) // 10**9, "owned_by": "papertune"}


def _not_found(name: str, why: str) -> ServeError:
    message = f"the model {quoted(name)} does not exist: {why}. GET /v1/models lists the models."
    return ServeError(404, "model_not_found", message, "model")

"""The routes of recipes."""

from collections.abc import AsyncIterator, Callable
from contextlib import asynccontextmanager
from typing import Annotated, Any, Literal

from anyio import from_thread
from fastapi import APIRouter, FastAPI, Request
from pydantic import BaseModel, ConfigDict, Field

from papertune.recipe import load_recipe
from papertune.serve.errors import ServeError
from papertune.serve.recipes.schema import recipe_schema
from papertune.serve.recipes.tasks import check, make_recipe
from papertune.serve.recipes.toml import read_toml, recipe_toml
from papertune.serve.recipes.worker import Worker
from papertune.serve.tables.store import Tables
from papertune.serve.workspace import Workspace


class _Body(BaseModel):
    model_config = ConfigDict(extra="forbid")


class InitColumn(_Body):
    """A column to learn."""

    column: Annotated[str, Field(min_length=1)]
    kind: Literal["label", "labels", "keywords", "text", "number"]


class InitRequest(_Body):
    """A table, the columns to learn, and the columns to read; without any they are guessed."""

    table: str
    columns: list[InitColumn] = []
    document: list[str] = []


class Written(_Body):
    """A recipe, as JSON or as TOML."""

    recipe: dict[str, Any] | None = None
    toml: str | None = None

    def values(self) -> dict[str, Any]:
        """Return the recipe as JSON.

        Raises:
            ServeError: If there is none, or two, or the TOML cannot be read.
        """
        if (self.recipe is None) == (self.toml is None):
            raise ServeError(400, "recipe_once", "give the recipe once: as `recipe` or as `toml`.", "recipe")
        return read_toml(self.toml) if self.toml is not None else dict(self.recipe or {})


class CheckRequest(Written):
    """A recipe, and the table that it is for."""

    table: str
    purpose: Literal["train", "predict"] = "train"


def router(workspace: Workspace, tables: Tables) -> APIRouter:
    """Return the routes; the process that checks ends with the app."""
    worker = Worker(workspace.root)

    @asynccontextmanager
    async def lifespan(_: FastAPI) -> AsyncIterator[None]:
        yield
        worker.close()

    router = APIRouter(prefix="/api/recipes", tags=["recipes"], lifespan=lifespan)

    @router.post("/init")
    def init(request: InitRequest, connection: Request) -> dict[str, Any]:
        """Make a first recipe for a table."""
        table = str(tables.file(request.table)), tables.meta(request.table).name
        columns = [(each.column, each.kind) for each in request.columns]
        made = worker.run(make_recipe, *table, columns, request.document, is_wanted=_is_there(connection))
        return {"recipe": read_toml(made["toml"]), **made}

    @router.post("/check")
    def check_recipe(request: CheckRequest, connection: Request) -> dict[str, Any]:
        """Check a table against a recipe; all that is found is in the answer, errors too."""
        table = str(tables.file(request.table)), tables.meta(request.table).name
        values = request.values()
        return worker.run(check, *table, values, request.purpose, is_wanted=_is_there(connection))

    @router.post("/toml")
    def as_toml(request: Written) -> dict[str, Any]:
        """Return a recipe both as JSON and as TOML; an invalid one is an error that names all mistakes."""
        values = request.values()
        if request.toml is not None:
            load_recipe(values)
            return {"recipe": values, "toml": request.toml}
        toml = recipe_toml(values)
        return {"recipe": read_toml(toml), "toml": toml}

    @router.get("/schema")
    def schema() -> dict[str, Any]:
        """Return the JSON schema of a recipe, of which a form can be made."""
        return recipe_schema()

    return router


def _is_there(connection: Request) -> Callable[[], bool]:
    """Return a function that asks whether the client still waits: a page gives a check up when its form changes."""
    return lambda: not from_thread.run(connection.is_disconnected)

"""The app: routers of the parts, the page, errors, security."""

from importlib.metadata import version
from pathlib import Path
from typing import Any

from fastapi import APIRouter, FastAPI
from fastapi.responses import Response
from fastapi.staticfiles import StaticFiles
from starlette.exceptions import HTTPException
from starlette.types import Scope

from papertune.serve import answering, jobs, runs
from papertune.serve.errors import handle_errors
from papertune.serve.recipes import routes as recipe_routes
from papertune.serve.screens import routes as screen_routes
from papertune.serve.security import protect
from papertune.serve.security.keys import Keys
from papertune.serve.tables import routes as table_routes
from papertune.serve.tables.store import Tables
from papertune.serve.workspace import Workspace

PAGE = Path(__file__).parent / "page"
# FastAPI would send the texts of requests to whatever OTEL_EXPORTER_OTLP_ENDPOINT names.
_NO_TELEMETRY: Any = {"tracing": False, "metrics": False, "logs": False, "auto_configure": False}


def create_app(workspace: Workspace, keys: Keys, *, host: str = "127.0.0.1", port: int = 8765) -> FastAPI:
    """Make the app of a work folder.

    Args:
        workspace: The work folder.
        keys: What a request must know to be answered.
        host: Address or name at which the server listens.
        port: Its port.

    Returns:
        An ASGI application; a part that must start or end something gives its router a lifespan.
    """
    tables = Tables(workspace)
    all_jobs = jobs.Jobs(workspace, tables)
    app = FastAPI(
        title="papertune", version=version("papertune"), docs_url=None, redoc_url=None, telemetry=_NO_TELEMETRY
    )
    handle_errors(app)
    protect(app, keys, host, port)
    app.include_router(_router(workspace))
    app.include_router(table_routes.router(workspace, tables))
    app.include_router(recipe_routes.router(workspace, tables))
    app.include_router(jobs.router(all_jobs))
    app.include_router(runs.router(workspace, all_jobs))
    app.include_router(answering.router(workspace, all_jobs.is_training))
    app.include_router(screen_routes.router(workspace, tables))
    app.mount("/", _Page(directory=PAGE, html=True))
    return app


class _Page(StaticFiles):
    """The files of the page; what no route of the API answers does not exist."""

    async def get_response(self, path: str, scope: Scope) -> Response:
        """Answer with a file."""
        parts = scope["path"].split("/")
        if parts[1] in ("api", "v1") or ".." in parts:
            raise HTTPException(404 if scope["method"] in ("GET", "HEAD") else 405)
        return await super().get_response(path, scope)


def _router(workspace: Workspace) -> APIRouter:
    router = APIRouter(tags=["server"])

    @router.get("/health")
    async def health() -> dict[str, str]:
        """Say that the server is there; needs no token."""
        return {"status": "ok"}

    @router.get("/api/session")
    def session() -> dict[str, Any]:
        """Return what the page must know before it shows anything."""
        return {
            "version": version("papertune"),
            "work": str(workspace.root),
            "run": workspace.run if workspace.run and (workspace.runs / workspace.run).is_dir() else None,
        }

    return router

"""Answers of a run over HTTP: rows, and OpenAI's routes."""

from collections.abc import AsyncIterator, Callable
from contextlib import asynccontextmanager

from fastapi import APIRouter

from papertune.serve.answering import openai_api, predict
from papertune.serve.answering.opened import RunInMemory
from papertune.serve.answering.worker import ModelWorker
from papertune.serve.workspace import Workspace


def router(workspace: Workspace, is_training: Callable[[], bool]) -> APIRouter:
    """Return the routes.

    Args:
        workspace: The work folder.
        is_training: Whether a training runs, during which no model is in memory.
    """
    worker = ModelWorker(RunInMemory(workspace.run_path), is_training=is_training)

    @asynccontextmanager
    async def lifespan(_: object) -> AsyncIterator[None]:
        yield
        worker.stop()

    routes = APIRouter(lifespan=lifespan)
    routes.include_router(predict.router(workspace, worker))
    routes.include_router(openai_api.router(workspace, worker))
    return routes

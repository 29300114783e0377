"""Answers of a run over HTTP: rows, and OpenAI's routes."""

from fastapi import APIRouter

from papertune.serve.workspace import Workspace


def router(workspace: Workspace) -> APIRouter:
    """Return the routes."""
    return APIRouter(tags=["answering"])

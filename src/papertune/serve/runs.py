"""Runs of the work folder over HTTP."""

from fastapi import APIRouter

from papertune.serve.workspace import Workspace


def router(workspace: Workspace) -> APIRouter:
    """Return the routes."""
    return APIRouter(tags=["runs"])

"""Jobs: existing commands in processes of their own."""

from fastapi import APIRouter

from papertune.serve.workspace import Workspace


def router(workspace: Workspace) -> APIRouter:
    """Return the routes."""
    return APIRouter(tags=["jobs"])

"""Recipes over HTTP: made, checked, written as TOML."""

from fastapi import APIRouter

from papertune.serve.workspace import Workspace


def router(workspace: Workspace) -> APIRouter:
    """Return the routes."""
    return APIRouter(tags=["recipes"])

"""Recipes over HTTP: made, edited in a form, checked, written as TOML."""

from papertune.serve.recipes.routes import router

__all__ = ["router"]

"""Recipes as JSON, which a form edits, and as TOML, which people and commands read."""

import tomllib
from collections.abc import Mapping
from typing import Any

from papertune.recipe import load_recipe
from papertune.serve.errors import ServeError


def recipe_toml(recipe: Mapping[str, Any]) -> str:
    """Return a recipe of JSON as TOML, without the keys that have no value.

    Raises:
        RecipeError: If it is invalid.
        ServeError: If it has text that no file can hold.
    """
    import tomli_w

    filled = _without_none(recipe)
    load_recipe(filled)
    text = tomli_w.dumps(filled)
    try:
        text.encode()
    except UnicodeEncodeError:
        raise ServeError(
            400, "invalid_text", "the recipe has half of a character (a lone surrogate). Remove it.", "recipe"
        ) from None
    return text


def read_toml(text: str) -> dict[str, Any]:
    """Return a recipe of TOML with the settings that it has, not with defaults; it may be invalid as a recipe.

    Raises:
        ServeError: If it is not TOML.
    """
    try:
        return tomllib.loads(text.removeprefix("\ufeff"))
    except (ValueError, RecursionError) as error:
        raise ServeError(
            400, "invalid_toml", f"the recipe is not TOML: {error}. Text values need quotes.", "toml", why=str(error)
        ) from None


def _without_none(values: Mapping[str, Any]) -> dict[str, Any]:
    return {
        key: _without_none(value) if isinstance(value, Mapping) else value
        for key, value in values.items()
        if value is not None
    }

"""The columns of a recipe that a training or a check is about."""

from collections.abc import Sequence

from papertune.errors import RecipeError
from papertune.recipe import Recipe


def choose_columns_to_learn(recipe: Recipe, only: Sequence[str]) -> Recipe:
    """Return the recipe with just the named columns; with all if none is named.

    Raises:
        RecipeError: If the recipe lacks one.
    """
    unknown = [name for name in only if name not in recipe.columns]
    if unknown:
        raise RecipeError(f"--only {unknown[0]}: the recipe has no such column. It has: {', '.join(recipe.columns)}.")
    return recipe.only(tuple(only)) if only else recipe

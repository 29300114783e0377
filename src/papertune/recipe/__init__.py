"""Recipes: what a run needs to know, read from TOML and checked by pydantic."""

from papertune.methods import FreezeMethod, FullMethod, LoraMethod, Method, PtuningV2Method
from papertune.recipe.load import builtin_recipes, dump_recipe, load_recipe
from papertune.recipe.recipe import (
    EncodingSpec,
    Layout,
    Recipe,
    TableSpec,
    TrainingSpec,
)

__all__ = [
    "EncodingSpec",
    "FreezeMethod",
    "FullMethod",
    "Layout",
    "LoraMethod",
    "Method",
    "PtuningV2Method",
    "Recipe",
    "TableSpec",
    "TrainingSpec",
    "builtin_recipes",
    "dump_recipe",
    "load_recipe",
]

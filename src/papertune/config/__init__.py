"""Recipes: what a run needs to know, read from TOML and checked by pydantic."""

from papertune.config.columns import (
    AskedColumn,
    Column,
    Costs,
    KeywordsColumn,
    LabelColumn,
    LabelsColumn,
    RankedKeywordsColumn,
)
from papertune.config.load import builtin_recipes, dump_recipe, load_recipe
from papertune.config.recipe import (
    EncodingSpec,
    FreezeMethod,
    FullMethod,
    Layout,
    LoraMethod,
    Method,
    PtuningV2Method,
    Recipe,
    TableSpec,
    TrainingSpec,
)
from papertune.config.templates import render_template, template_columns

__all__ = [
    "AskedColumn",
    "Column",
    "Costs",
    "EncodingSpec",
    "FreezeMethod",
    "FullMethod",
    "KeywordsColumn",
    "LabelColumn",
    "LabelsColumn",
    "Layout",
    "LoraMethod",
    "Method",
    "PtuningV2Method",
    "RankedKeywordsColumn",
    "Recipe",
    "TableSpec",
    "TrainingSpec",
    "builtin_recipes",
    "dump_recipe",
    "load_recipe",
    "render_template",
    "template_columns",
]

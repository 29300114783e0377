"""Recipes: built-in ones, damaged or with other values, are recipes or messages."""

import tomllib
from pathlib import Path

import pytest
import tomli_w
from fuzz_damage import damaged, damages
from fuzz_outcome import FUZZED, outcome
from hypothesis import given
from hypothesis import strategies as st
from test_fuzz_instructions import replaced, wrong_values

from papertune.recipe import Recipe, dump_recipe, load_recipe
from papertune.recipe.load import builtin_recipes

RECIPES = {name: text.encode() for name, text in builtin_recipes().items()}


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return tmp_path_factory.mktemp("recipes")


def _check(recipe: Recipe | None) -> None:
    """What was accepted is written and read as the same recipe."""
    if recipe is not None:
        assert load_recipe(tomllib.loads(dump_recipe(recipe))) == recipe


@FUZZED
@given(name=st.sampled_from(list(RECIPES)), done=damages)
def test_a_damaged_recipe_is_a_recipe_or_a_message(name: str, done: list, folder: Path):
    path = folder / "recipe.toml"
    path.write_bytes(damaged(RECIPES[name], done))
    found = outcome(lambda: load_recipe(path))
    assert not found.message or "recipe" in found.message
    _check(found.value)


@FUZZED
@given(
    name=st.sampled_from(list(RECIPES)),
    way=st.lists(st.integers(0, 20), min_size=1, max_size=4),
    new=wrong_values.filter(lambda value: value not in (None, [None])),
)
def test_a_recipe_with_another_value_is_a_recipe_or_a_message(name: str, way: list[int], new: object, folder: Path):
    path = folder / "recipe.toml"
    values = replaced(tomllib.loads(RECIPES[name].decode()), way, new)
    if isinstance(values, dict):
        path.write_text(tomli_w.dumps(values), "utf-8")
        _check(outcome(lambda: load_recipe(path)).value)


_pieces = st.sampled_from([
    "training.epochs", "method", ".", "=", "3", "x", "[", "]", '"', "'", "{", "}", "\n", "\0", "1e999", "9" * 5000,
    "#", " ", "\ud800", "é", "2026-01-01", "columns.label.labels", "true",
])  # fmt: skip


@FUZZED
@given(override=st.one_of(st.lists(_pieces, max_size=6).map("".join), st.text(max_size=8)))
def test_any_setting_is_a_recipe_or_a_message(override: str):
    outcome(lambda: load_recipe("medical-papers", [override]))

"""Reading, overriding and writing recipes."""

import tomllib
from collections.abc import Mapping, Sequence
from importlib import resources
from pathlib import Path
from typing import Any

from pydantic import ValidationError

from papertune.errors import RecipeError
from papertune.kinds.base import Part
from papertune.kinds.label import Costs
from papertune.kinds.registry import columns_by_kind
from papertune.methods import methods_by_kind
from papertune.recipe.recipe import EncodingSpec, Recipe, TableSpec, TrainingSpec
from papertune.stages import stages_by_kind
from papertune.suggest import did_you_mean

_BUILTIN = resources.files("papertune.recipe") / "builtin"


def builtin_recipes() -> dict[str, str]:
    """Return the text of each recipe in the package, by name; its first line is a comment that describes it."""
    files = sorted(_BUILTIN.iterdir(), key=lambda file: file.name)
    return {file.name.removesuffix(".toml"): file.read_text("utf-8") for file in files if file.name.endswith(".toml")}


def load_recipe(source: str | Path | Mapping[str, Any] | Recipe, overrides: Sequence[str] = ()) -> Recipe:
    """Read a recipe and check it.

    Args:
        source: The name of a built-in recipe, a TOML file, its content as a mapping, or a recipe.
        overrides: Settings such as `training.epochs=3`; the value is read as TOML or, if it is not TOML, as text.

    Returns:
        The recipe with all defaults.

    Raises:
        RecipeError: With all mistakes, each with its key and what is allowed.
    """
    if isinstance(source, Recipe):
        name, values = "the recipe", source.model_dump(mode="python", exclude_unset=True)
    elif isinstance(source, Mapping):
        name, values = "the recipe", dict(source)
    else:
        name, values = str(source), _read(source)
    for override in overrides:
        _set(values, override)
    try:
        return Recipe.model_validate(values)
    except ValidationError as error:
        problems = _explain_all(error.errors(), values)
        raise RecipeError.collect(f"{name} is invalid", [f"{name}: {problem}" for problem in problems]) from None


def dump_recipe(recipe: Recipe) -> str:
    """Return a recipe with all defaults as TOML; `load_recipe` reads it as the same recipe."""
    import tomli_w

    return tomli_w.dumps(recipe.model_dump(mode="json", exclude_none=True))


def _read(source: str | Path) -> dict[str, Any]:
    builtin = builtin_recipes()
    if str(source) in builtin:
        return tomllib.loads(builtin[str(source)])
    path = Path(source)
    try:
        return tomllib.loads(path.read_bytes().decode("utf-8-sig"))
    except FileNotFoundError:
        hint = did_you_mean(str(source), builtin) or f" Built-in recipes: {', '.join(builtin)}."
        raise RecipeError(f"{source}: there is no such file or built-in recipe.{hint}") from None
    except IsADirectoryError:
        raise RecipeError(f"{source} is a folder; name the recipe file in it.") from None
    except UnicodeDecodeError as error:
        raise RecipeError(f"{source}, byte {error.start + 1}: not UTF-8. Save the recipe as UTF-8.") from None
    except (ValueError, RecursionError) as error:  # also for numbers of thousands of digits
        raise RecipeError(f"{source} is not TOML: {error}. Text values need quotes.") from None
    except OSError as error:
        raise RecipeError(f"{source} cannot be read: {error.strerror}.") from None


def _set(values: dict[str, Any], override: str) -> None:
    key, equals, text = override.partition("=")
    names = [name.strip() for name in key.split(".")]
    if not equals or not all(names):
        raise RecipeError(f'--set {override}: write KEY=VALUE, for example "training.epochs=3".')
    try:
        value = tomllib.loads(f"value = {text}")["value"]
    except (ValueError, RecursionError):
        value = text.strip()
    for name in names[:-1]:
        inner = values.get(name, {})
        if not isinstance(inner, Mapping):
            raise RecipeError(f'--set {override}: "{name}" is a value, not a part of the recipe.')
        values[name] = dict(inner)
        values = values[name]
    values[names[-1]] = value


# How messages describe a type.
_SHAPES = {
    "tuple_type": "a list in [ ]",
    "dict_type": "keys with values",
    "model_type": "keys with values",
    "model_attributes_type": "keys with values",
    "bool_type": "true or false",
    "bool_parsing": "true or false",
    "float_type": "a number",
    "float_parsing": "a number",
}


def _explain_all(errors: Sequence[Any], values: Mapping[str, Any]) -> list[str]:
    """Return one line for each problem that pydantic found."""
    found = [(_path(problem, values), problem) for problem in errors]
    paths = [path for path, _ in found]
    lines: dict[str, None] = {}
    for path, problem in found:
        kind = problem["type"]
        inner = any(len(other) > len(path) and other[: len(path)] == path for other in paths)
        if inner and (kind in ("literal_error", "too_short") or kind in _SHAPES):
            continue  # parts of the value are wrong, and are reported
        # A value that may be a word or a list has an error for each of them.
        kinds = {other["type"] for other_path, other in found if other_path == path}
        if "literal_error" in kinds and kind in _SHAPES:
            continue
        if kind == "literal_error" and kinds - {kind} - _SHAPES.keys():
            continue  # it has one of the other shapes, and the mistake in it is reported
        other_shapes = [_SHAPES[other] for other in sorted(kinds) if other in _SHAPES]
        lines.setdefault(_explain(path, problem, other_shapes, values))
    return list(lines)


def _path(problem: Any, values: Mapping[str, Any]) -> list[str]:
    """Return the keys that lead to a problem; pydantic's path also has the variants of unions."""
    path: list[str] = []
    here: Any = values
    in_variant = False
    for place, step in enumerate(problem["loc"]):
        is_last = place + 1 == len(problem["loc"])
        if isinstance(here, Mapping):
            is_variant = not in_variant and here.get("kind") == step
            is_key = not is_variant and (step in here or (is_last and problem["type"] == "missing"))
            inner = here.get(step)
        else:
            is_variant = False
            is_key = isinstance(step, int) and isinstance(here, Sequence) and step < len(here)
            inner = here[step] if is_key else None
        if is_key:
            path.append(str(step))
            here = inner
        in_variant = is_variant
    return path


def _explain(path: Sequence[str], problem: Any, other_shapes: Sequence[str], values: Mapping[str, Any]) -> str:
    """Describe a problem in one line: the key, its value, what is allowed."""
    key = ".".join(path)
    kind, context, got = problem["type"], problem.get("ctx", {}), problem["input"]
    shown = str(got).lower() if isinstance(got, bool) else repr(got)
    if kind == "missing":
        return f"{key} is missing."
    if kind == "extra_forbidden":
        allowed = _allowed_keys(path[:-1], values)
        return f"{key} is not a known key.{did_you_mean(path[-1], allowed)} Known here: {', '.join(allowed)}."
    if kind == "literal_error":
        return f"{key} is {shown}; allowed: {', or '.join([context['expected'], *other_shapes])}."
    if kind == "union_tag_invalid":
        return f"{key}.kind is {context['tag']!r}; allowed: {context['expected_tags']}."
    if kind == "union_tag_not_found":
        # Only of columns: a method without a kind is lora, a stage without one sft.
        return f"{key}.kind is missing; allowed: {', '.join(map(repr, columns_by_kind()))}."
    if kind == "value_error":
        message = str(context["error"])
        return f"{key}: {message}." if key else f"{message}."
    if kind == "string_type":
        quoted = f' ("{shown}")' if isinstance(got, bool | int | float) else ""
        return f"{key} is {shown}; it must be text: put it in quotes{quoted}."
    if kind in _SHAPES:
        return f"{key} is {shown}; it must be {_SHAPES[kind]}."
    return f"{key} is {shown}: {problem['msg'][0].lower()}{problem['msg'][1:]}."


def _allowed_keys(path: Sequence[str], values: Mapping[str, Any]) -> list[str]:
    if not path:
        return list(Recipe.model_fields)
    if path[0] == "columns" and path[2:] == ["threshold"]:  # a column may have this name, too
        return list(Costs.model_fields)
    here: Any = values
    for name in path:
        here = here.get(name, {})
    if path[0] == "stage":
        stage = stages_by_kind().get(str(here.get("kind", "sft")))
        return list(stage.model_fields) if stage else []
    by_kind: dict[str, type[Part]] = {**columns_by_kind(), **methods_by_kind()}
    by_name: dict[str, type[Part]] = {"table": TableSpec, "encoding": EncodingSpec, "training": TrainingSpec}
    part = by_name.get(path[0]) or by_kind.get(str(here.get("kind", "lora")))
    return list(part.model_fields) if part else []

"""Reading, overriding and writing recipes."""

import difflib
import tomllib
from collections.abc import Mapping, Sequence
from importlib import resources
from pathlib import Path
from typing import Any

from pydantic import ValidationError

from papertune.config.recipe import Recipe
from papertune.errors import RecipeError

_BUILTIN = resources.files("papertune.config") / "builtin"


def builtin_recipes() -> dict[str, str]:
    """Give the text of each recipe in the package, by name; the first line is a comment that says what it is."""
    files = sorted(_BUILTIN.iterdir(), key=lambda file: file.name)
    return {file.name.removesuffix(".toml"): file.read_text("utf-8") for file in files if file.name.endswith(".toml")}


def load_recipe(source: str | Path | Mapping[str, Any] | Recipe, overrides: Sequence[str] = ()) -> Recipe:
    """Read a recipe and check it.

    Args:
        source: The name of a built-in recipe, a TOML file, the same as a mapping, or a recipe.
        overrides: Settings such as `training.epochs=3`; the value is read as TOML, and as text where it is none.

    Returns:
        The recipe, every default filled in.

    Raises:
        RecipeError: With all mistakes at once, each with its key and what is allowed.
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
        problems = [_explain(problem, values) for problem in error.errors()]
        raise RecipeError.collect(f"{name} is not a recipe that can be used", [f"{name}: {p}" for p in problems]) from None


def dump_recipe(recipe: Recipe) -> str:
    """Write a recipe as TOML with every default filled in; `load_recipe` gives the same recipe again."""
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
        near = difflib.get_close_matches(str(source), list(builtin), n=1)
        hint = f'Did you mean "{near[0]}"?' if near else f"Built-in recipes: {', '.join(builtin)}."
        raise RecipeError(f"{source}: there is no such file or built-in recipe. {hint}") from None
    except IsADirectoryError:
        raise RecipeError(f"{source} is a folder; give the recipe file in it.") from None
    except UnicodeDecodeError as error:
        raise RecipeError(f"{source}, byte {error.start + 1}: not UTF-8. Save the recipe as UTF-8.") from None
    except tomllib.TOMLDecodeError as error:
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
    except tomllib.TOMLDecodeError:
        value = text.strip()
    for name in names[:-1]:
        inner = values.get(name, {})
        if not isinstance(inner, Mapping):
            raise RecipeError(f'--set {override}: "{name}" is a value, not a part of the recipe.')
        values[name] = dict(inner)
        values = values[name]
    values[names[-1]] = value


def _explain(problem: Any, values: Mapping[str, Any]) -> str:
    """Say in one line what pydantic found: the key, what it got, what is allowed."""
    # Pydantic puts the kind of a union's variant into the path; it is no key of the file.
    path: list[str] = []
    here: Any = values
    for step in problem["loc"]:
        if isinstance(here, Mapping) and step not in here and here.get("kind") == step:
            continue
        path.append(str(step))
        here = here.get(step) if isinstance(here, Mapping) else None
    key = ".".join(path)
    kind, context, got = problem["type"], problem.get("ctx", {}), problem["input"]
    if kind == "missing":
        return f"{key} is missing."
    if kind == "extra_forbidden":
        allowed = _allowed_keys(path[:-1], values)
        near = difflib.get_close_matches(path[-1], allowed, n=1)
        hint = f' Did you mean "{near[0]}"?' if near else ""
        return f"{key} is not a known key.{hint} Known here: {', '.join(allowed)}."
    if kind in ("literal_error", "union_tag_invalid"):
        allowed_values = context.get("expected") or context.get("expected_tags")
        got = context.get("tag", got)
        return f'{key + ".kind" if kind == "union_tag_invalid" else key} is {got!r}; allowed: {allowed_values}.'
    if kind == "union_tag_not_found":
        return f"{key}.kind is missing; it says which kind this is."
    if kind == "value_error":
        message = str(context["error"])
        return f"{key}: {message}." if key else f"{message}."
    if kind == "string_type":
        return f'{key} is {got!r}; it must be text: put it in quotes ("{got}").'
    return f"{key} is {got!r}: {problem['msg'][0].lower()}{problem['msg'][1:]}."


def _allowed_keys(path: Sequence[str], values: Mapping[str, Any]) -> list[str]:
    from papertune.config import recipe as parts

    if not path:
        return list(Recipe.model_fields)
    here: Any = values
    for name in path:
        here = here.get(name, {})
    by_kind: dict[str, type[parts.Part]] = {
        "label": parts.LabelColumn,
        "keywords": parts.KeywordsColumn,
        "lora": parts.LoraMethod,
        "full": parts.FullMethod,
        "freeze": parts.FreezeMethod,
    }
    by_name: dict[str, type[parts.Part]] = {
        "table": parts.TableSpec,
        "encoding": parts.EncodingSpec,
        "training": parts.TrainingSpec,
    }
    part = by_name.get(path[0]) or by_kind.get(str(here.get("kind", "lora")))
    return list(part.model_fields) if part else []

"""The form of a recipe: its JSON schema, with the descriptions that the settings have in the code."""

import inspect
import re
from typing import Any

from pydantic import BaseModel

from papertune.kinds.base import Part
from papertune.recipe import Recipe

# Of a docstring: "    name: What it is", and lines below that are indented further.
_ATTRIBUTE = re.compile(r"^ {4}(\w+): (.+(?:\n {8}.+)*)", re.MULTILINE)
# What only readers of the code can follow.
_CODE = re.compile(r",? see `papertune\.[^`]*`| \(`[^`]*\.py`\)")


def recipe_schema() -> dict[str, Any]:
    """Return the JSON schema of a recipe; each setting has a description, and each part the first line of its own."""
    schema = Recipe.model_json_schema()
    parts = {each.__name__: each for each in _subclasses(Part)}
    for name, definition in [(Recipe.__name__, schema), *schema.get("$defs", {}).items()]:
        if name in parts:
            _describe(definition, parts[name])
    return schema


def _describe(definition: dict[str, Any], part: type[BaseModel]) -> None:
    words: dict[str, str] = {}
    for each in reversed(part.__mro__):
        found = _ATTRIBUTE.findall(inspect.cleandoc(each.__doc__ or "").partition("\nAttributes:\n")[2])
        words |= {name: _in_a_form(" ".join(description.split())) for name, description in found}
    definition["description"] = (part.__doc__ or "").partition("\n")[0]
    for name, setting in definition.get("properties", {}).items():
        if name in words:
            setting["description"] = words[name]


def _in_a_form(description: str) -> str:
    """Write a description for somebody who fills in a form: what is None in the code is an empty field there."""
    return re.sub(r"\bNone\b", "empty", _CODE.sub("", description)).replace("`", "")


def _subclasses(part: type[BaseModel]) -> list[type[BaseModel]]:
    return [part, *(inner for each in part.__subclasses__() for inner in _subclasses(each))]

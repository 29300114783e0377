"""Reads the JSON of papertune's own files into dataclasses, whose types are checked: files can be damaged or edited."""

from typing import TYPE_CHECKING, TypeVar

from papertune.errors import quoted

if TYPE_CHECKING:
    from pydantic import ConfigDict, ValidationError

# For each dataclass in such a file, as `__pydantic_config__`: no other keys, and no value of another type.
AS_WRITTEN: "ConfigDict" = {"extra": "forbid", "strict": True}

_Record = TypeVar("_Record")


def parse_record(kind: type[_Record], text: str | bytes) -> _Record:
    """Return a JSON text as a dataclass, or another type such as `dict[str, float]`.

    Raises:
        ValueError: If it is not JSON, lacks a key, or has another key or a value of another type.
    """
    from pydantic import TypeAdapter, ValidationError

    try:
        return TypeAdapter(kind).validate_json(text)
    except ValidationError as error:
        raise ValueError(problem_of_value(error)) from None


def problem_of_value(error: "ValidationError") -> str:
    """Return the key and the message of the first problem of a JSON value."""
    first = error.errors(include_url=False)[0]
    place = ".".join(map(str, first["loc"]))
    message = "input should be an object" if first["type"] in ("model_type", "dict_type") else first["msg"]
    reason = f"{message[0].lower()}{message[1:]}"
    return f"{quoted(place)}: {reason}" if place else reason


def first_problem(error: "ValidationError", whole: str) -> str:
    """Return the place and the message of the first problem that pydantic has found.

    Args:
        error: All problems.
        whole: The place of a problem that is about no single value.
    """
    first = error.errors(include_url=False)[0]
    return f"{'.'.join(map(str, first['loc'])) or whole}: {first['msg']}"

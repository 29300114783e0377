"""What differs between a training and the one that it is to resume."""

import json
import tomllib
from collections.abc import Iterator, Mapping, Sequence
from typing import Any

from papertune.errors import RecipeError
from papertune.recipe.load import load_recipe


def training_changes(before: Mapping[str, Any], now: Mapping[str, Any]) -> list[str]:
    """Return what differs between two trainings, with both values where they say something.

    Args:
        before: The fields of the `TrainingPlan` that was begun.
        now: Those of the one that is to go on.
    """
    found = [] if before["recipe"] == now["recipe"] else changed_settings(before["recipe"], now["recipe"])
    for key, name in (("tables", "training tables"), ("dev", "dev tables")):
        if len(before[key]) != len(now[key]):
            found.append(f"{name}: {len(before[key])} before, now {len(now[key])}")
        elif before[key] != now[key]:
            found.append(f"{name}: other rows than before")
    if None not in (before["base"], now["base"]) and before["base"] != now["base"]:
        found.append("model: other weights than before")
    # An earlier papertune did not write down the start of every stage.
    if before["runs"] and before["runs"] != now["runs"]:
        found.append("start or reward run: other weights than before")
    if before["processes"] != now["processes"]:
        found.append(f"number of processes: {before['processes']} before, now {now['processes']}")
    return found


def not_this_training(changes: Sequence[str]) -> str:
    """Return the message about a training that cannot be resumed, without its folder."""
    return (
        f"this is not the training that was begun here ({'; '.join(changes)}). Resume it with the same files and "
        "settings, or train in another folder; method.start_from begins with what a finished run has learned."
    )


def changed_settings(before: str, now: str) -> list[str]:
    """Return the settings in which two recipes differ, each with both values.

    Args:
        before: A recipe as TOML, perhaps of an earlier papertune.
        now: Another one.
    """
    try:
        recipes = [load_recipe(tomllib.loads(text)) for text in (before, now)]
    except RecipeError:  # an earlier papertune had other settings
        return ["recipe: other settings than before"]
    first, second = (dict(_settings(recipe.model_dump(mode="json"))) for recipe in recipes)
    return [
        f"{key}: {_shown(first.get(key))} before, now {_shown(second.get(key))}"
        for key in dict.fromkeys([*first, *second])
        if first.get(key) != second.get(key)
    ]


def _settings(values: Mapping[str, Any], above: str = "") -> Iterator[tuple[str, Any]]:
    for key, value in values.items():
        if isinstance(value, Mapping):
            yield from _settings(value, f"{above}{key}.")
        else:
            yield f"{above}{key}", value


def _shown(value: object) -> str:
    if value is None:
        return "not set"
    text = f"{value:g}" if isinstance(value, float) else json.dumps(value, ensure_ascii=False)
    return text if len(text) <= 60 else f"{text[:57]}..."

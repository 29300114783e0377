"""A model's configuration, without its weights."""

from pathlib import Path
from typing import Any

from papertune.errors import ModelError
from papertune.models.known import KNOWN_MODELS, PUBLISHED_CONFIGS


def find_config(name: str) -> Any:
    """Find the configuration of a model, which needs no weights.

    Args:
        name: A known name, a folder with config.json, a .gguf file or a hub id.

    Raises:
        ModelError: If it cannot be found or read.
    """
    from transformers import AutoConfig

    from papertune.models.base import find_base
    from papertune.models.own_models import register_own_models

    published = {**PUBLISHED_CONFIGS, **{key: model.config for key, model in KNOWN_MODELS.items()}}
    if name in published and not Path(name).exists():
        numbers = dict(published[name])
        if name in PUBLISHED_CONFIGS:
            register_own_models(name)
        return AutoConfig.for_model(numbers.pop("model_type"), **numbers)
    location = name if (Path(name) / "config.json").is_file() else find_base(name).location
    register_own_models(location)
    try:
        return AutoConfig.from_pretrained(location)
    except (OSError, ValueError, KeyError) as error:
        first = next((line for line in str(error).splitlines() if line.strip()), type(error).__name__)
        raise ModelError(
            f'model "{name}": its configuration cannot be read ({first}). Name a folder with its config.json; weights '
            "are not needed."
        ) from error

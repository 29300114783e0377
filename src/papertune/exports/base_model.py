"""What an export calls the base model: other people have no use for paths of this machine."""

from pathlib import Path

from papertune.models import KNOWN_MODELS
from papertune.models.finding import looks_like_hub_id
from papertune.run import Run


def base_title(run: Run) -> str:
    """Return the name of a run's base model: its short name, its id on the hub, or the name of its folder or file."""
    name = run.manifest.base_name
    return name if name in KNOWN_MODELS or hub_id(name) else Path(name).absolute().name


def hub_id(name: str) -> str | None:
    """Return the id on the hub of a base model as recipes name it; None if it is a folder or file of the user."""
    if name in KNOWN_MODELS:
        return KNOWN_MODELS[name].hub_id
    is_id = looks_like_hub_id(name) and not Path(name).exists()  # as in `find_base`, a folder comes first
    return name if is_id else None


def trained_on(run: Run) -> str:
    """Return which weights a run was trained on, for a sentence."""
    known = KNOWN_MODELS.get(run.manifest.base_name)
    bits = "" if run.recipe.base_bits is None else f", rounded to {run.recipe.base_bits} bits"
    if known is None or run.manifest.base_checksum is None:
        return f"the weights of {base_title(run)}{bits}"
    return (
        f"the weights of {known.gguf_name} (package {known.package}), as numbers without quantization{bits}, and not "
        f"on those of {known.hub_id}"
    )

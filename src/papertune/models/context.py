"""How many tokens a model can read: its context, as its configuration states it."""

from collections.abc import Mapping
from typing import Any

# What configurations call it; transformers maps most names to the first.
_NAMES = (
    "max_position_embeddings",
    "n_positions",
    "n_ctx",
    "max_seq_len",
    "max_sequence_length",
    "seq_length",
)
# Rotary scalings whose factor is in the stated number already.
_INCLUDED = ("default", "llama3", "longrope", "su")


def context_tokens(config: Any) -> int | None:
    """Return the context of a model in tokens, generated ones included; None if its configuration states none.

    Args:
        config: A transformers configuration.
    """
    text = config.get_text_config() if hasattr(config, "get_text_config") else config
    stated = (getattr(text, name, None) for name in _NAMES)
    context = next((number for number in stated if isinstance(number, int) and number > 0), None)
    return None if context is None else max([context, *map(_scaled(context), _scalings(text))])


def _scalings(config: Any) -> list[Mapping[str, Any]]:
    """Return the settings of rotary embeddings: one, or one for each kind of layer."""
    settings = getattr(config, "rope_parameters", None) or getattr(config, "rope_scaling", None)
    if not isinstance(settings, Mapping):
        return []
    nested = [each for each in settings.values() if isinstance(each, Mapping)]
    return nested or [settings]


def _scaled(context: int) -> Any:
    def of(scaling: Mapping[str, Any]) -> int:
        kind = scaling.get("rope_type", scaling.get("type", "default"))
        factor = scaling.get("factor")
        if kind in _INCLUDED or not isinstance(factor, int | float):
            return context
        # YaRN scales the length of the pre-training; a configuration states that, or the product.
        before = scaling.get("original_max_position_embeddings") if kind == "yarn" else None
        return int((before if isinstance(before, int) else context) * factor)

    return of

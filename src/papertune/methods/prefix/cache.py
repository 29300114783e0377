"""The prefix as a transformers cache, and the shape of what a model caches for a token."""

from dataclasses import dataclass
from typing import Any

import torch
from torch import Tensor
from transformers import DynamicCache
from transformers.cache_utils import DynamicLayer

from papertune.errors import ModelError
from papertune.models.attention.growing_cache import GrowingLayer


class PrefixLayer(DynamicLayer):  # type: ignore[misc]
    """One layer's keys and values of the prefix, which an `update` does not change.

    So a layer whose activations are computed again in the backward pass gets the same keys a second time; an ordinary
    cache would then hold the tokens twice.

    Args:
        keys: Any float dtype, shape (batch, heads, virtual, head_dim).
        values: As `keys`.
    """

    def __init__(self, keys: Tensor, values: Tensor) -> None:
        super().__init__()
        _begin(self, keys, values)

    def update(self, key_states: Tensor, value_states: Tensor, *_: Any, **__: Any) -> tuple[Tensor, Tensor]:
        """Return the prefix and the new keys and values behind it, in the dtype of the new ones."""
        keys = torch.cat([self.keys.to(key_states), key_states], dim=-2)
        return keys, torch.cat([self.values.to(value_states), value_states], dim=-2)


def prefix_cache(keys: Tensor, values: Tensor, *, grows: bool) -> Any:
    """Build a cache that begins with a prefix.

    Layers with a window shorter than the text have the whole prefix too; masks hide what is outside the window.

    Args:
        keys: Any float dtype, shape (layers, batch, heads, virtual, head_dim).
        values: As `keys`.
        grows: Keep the keys and values of tokens after the prefix.
    """
    cache = DynamicCache()
    for pair in zip(keys, values, strict=True):
        cache.layers.append(_begin(GrowingLayer(), *pair) if grows else PrefixLayer(*pair))
    return cache


def _begin(layer: DynamicLayer, keys: Tensor, values: Tensor) -> DynamicLayer:
    layer.keys, layer.values = keys, values
    layer.dtype, layer.device = keys.dtype, keys.device
    layer.is_initialized = True
    return layer


@dataclass(frozen=True)
class KeyValueShape:
    """What a model caches for each token: a key and a value of this shape in every layer."""

    layers: int
    heads: int
    head_dim: int

    def __str__(self) -> str:
        return f"{self.layers} layers with {self.heads} key-value heads of {self.head_dim}"


@torch.no_grad()
def key_value_shape(model: Any) -> KeyValueShape:
    """Find out what a model caches for each token, by running one through it.

    Configurations have many names for it, and lack which layers share keys or cache none.

    Raises:
        ModelError: If the layers differ.
    """
    cache = DynamicCache(config=model.config)
    ids = torch.zeros(1, 1, dtype=torch.long, device=model.device)
    model(input_ids=ids, past_key_values=cache, use_cache=True)
    parts = [getattr(layer, name, None) for layer in cache.layers for name in ("keys", "values")]
    shapes = {(0, 0) if part is None else (part.shape[1], part.shape[3]) for part in parts}
    if len(shapes) != 1 or (0, 0) in shapes:
        found = ", ".join(f"{heads} x {size}" if heads else "none" for heads, size in sorted(shapes))
        raise ModelError(
            f"{type(model).__name__}: its layers cache keys and values of different shapes (heads x size: {found}), "
            'so a prefix cannot fit all of them. Use another method, such as method.kind = "lora".'
        )
    ((heads, head_dim),) = shapes
    return KeyValueShape(len(cache.layers), heads, head_dim)

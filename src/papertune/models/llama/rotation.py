"""Rotation of queries and keys by their positions (Su et al. 2021, arXiv:2104.09864), in halves as llama does."""

from dataclasses import dataclass
from functools import cached_property
from typing import Any

import torch
from torch import Tensor

# Of transformers' kinds of scaling those whose frequencies do not depend on the length of the text.
KNOWN_ROPES = ("default", "linear", "llama3")


@dataclass(frozen=True)
class Rotation:
    """Rotates by given angles.

    Attributes:
        cos: Float32, shape (batch or 1, seq, head_dim / 2).
        sin: As `cos`.
        heads: Of queries and keys together.
        dtype: Of the numbers that `turn` rotates.
    """

    cos: Tensor
    sin: Tensor
    heads: int
    dtype: torch.dtype

    def turn(self, states: Tensor) -> Tensor:
        """Return rotated heads.

        Args:
            states: First the first halves of all heads, then the second halves, shape (batch, seq, heads x head_dim):
                so the steps are over long rows of numbers.

        Returns:
            As `states`.
        """
        turned = torch.empty_like(states)
        half = states.shape[-1] // 2
        one, two = states[..., :half], states[..., half:]
        cos, sin = self._of_all_heads
        torch.mul(one, cos, out=turned[..., :half]).addcmul_(two, sin, value=-1)
        torch.mul(two, cos, out=turned[..., half:]).addcmul_(one, sin)
        return turned

    @cached_property
    def _of_all_heads(self) -> tuple[Tensor, Tensor]:
        cos, sin = (each.to(self.dtype).repeat(1, 1, self.heads) for each in (self.cos, self.sin))
        return cos, sin


class Rotary:
    """Makes rotations from positions.

    Args:
        config: A transformers configuration whose kind of scaling is in `KNOWN_ROPES`.
        head_dim: Numbers of a head.
        heads: Of queries and keys together.
    """

    def __init__(self, config: Any, head_dim: int, heads: int) -> None:
        kind = rope_type(config)
        self._heads = heads
        if kind == "default":
            exponents = torch.arange(0, head_dim, 2, dtype=torch.int64).float() / head_dim
            self._frequencies, self._factor = 1.0 / config.rope_parameters["rope_theta"] ** exponents, 1.0
        else:
            from transformers.modeling_rope_utils import ROPE_INIT_FUNCTIONS

            self._frequencies, self._factor = ROPE_INIT_FUNCTIONS[kind](config, torch.device("cpu"))

    def at(self, positions: Tensor, dtype: torch.dtype) -> Rotation:
        """Return the rotation of positions, int64, shape (batch or 1, seq); angles are computed in float32."""
        angles = positions[:, :, None].float() * self._frequencies
        return Rotation(angles.cos() * self._factor, angles.sin() * self._factor, self._heads, dtype)


def rope_type(config: Any) -> str | None:
    """Return the kind of scaling that a configuration names; None: one for each kind of layer, or none stated."""
    settings = getattr(config, "rope_parameters", None)
    if not isinstance(settings, dict) or not isinstance(settings.get("rope_theta"), int | float):
        return None
    if settings.get("partial_rotary_factor", 1.0) != 1.0:
        return None
    return str(settings.get("rope_type", "default"))

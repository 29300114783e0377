"""A learnt prefix (P-Tuning v2, Liu et al. 2021, arXiv:2110.07602), as the rest of the house sees it.

In every layer stand keys and values that no token has made. Whatever goes through the model sees them as it sees the
tokens before it:

    layer 2    v v v v | t t t t t t        v: key and value of a virtual token, learnt
    layer 1    v v v v | t t t t t t        t: key and value of a token of the text, computed
    positions  0 1 2 3   4 5 6 7 8 9        or, in models that count the text alone, from 0 at the first t
"""

from abc import ABC, abstractmethod
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from torch import Tensor


@dataclass(frozen=True)
class Prefix:
    """Keys and values that stand before all tokens.

    Attributes:
        keys: float32, shape (layers, heads, virtual, head_dim).
        values: float32, shape (layers, heads, virtual, head_dim).
        first_position: Position of the first token of the text: `length`, or 0 in models that do not count the prefix.
    """

    keys: "Tensor"
    values: "Tensor"
    first_position: int

    @property
    def length(self) -> int:
        """How many virtual tokens there are."""
        return self.keys.shape[2]

    def cache(self, batch: int, *, grows: bool) -> Any:
        """Give a transformers cache that begins with the prefix.

        Args:
            batch: Rows that will go through the model together.
            grows: Keep what goes through the model behind the prefix.
        """
        from papertune.methods.prefix.cache import prefix_cache

        rows = (-1, batch, -1, -1, -1)
        return prefix_cache(self.keys[:, None].expand(rows), self.values[:, None].expand(rows), grows=grows)


class PrefixModel(ABC):
    """A frozen base model behind a prefix. The one there is, `PrefixTuned`, imports peft; this class does not."""

    @property
    @abstractmethod
    def prefix_length(self) -> int:
        """How many virtual tokens the prefix has."""

    @abstractmethod
    def prefix(self) -> Prefix:
        """Give a copy of the prefix as it is now."""

    @abstractmethod
    def let_checkpoints_see_prefix(self) -> None:
        """Prepare layers whose activations are computed a second time in the backward pass."""

    @abstractmethod
    def save_encoder(self, folder: Path) -> None:
        """Write all that makes the prefix while it is trained, so that the training can go on from it."""

    @abstractmethod
    def load_encoder(self, folder: Path) -> None:
        """Read what `save_encoder` wrote."""


def prefix_of(model: Any) -> Prefix | None:
    """Give a model's prefix, or None where it has none."""
    return model.prefix() if isinstance(model, PrefixModel) else None

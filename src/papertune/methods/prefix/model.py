"""A trained prefix (P-Tuning v2, Liu et al. 2021, arXiv:2110.07602), as other packages use it.

Every layer has keys and values that do not come from a token. All tokens attend to them as to earlier tokens:

    layer 2    v v v v | t t t t t t        v: key and value of a virtual token, trained
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
    """Keys and values before all tokens.

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
        """Number of virtual tokens."""
        return self.keys.shape[2]

    def cache(self, batch: int, *, grows: bool) -> Any:
        """Return a transformers cache that begins with the prefix.

        Args:
            batch: Rows that go through the model together.
            grows: Keep the keys and values of tokens after the prefix.
        """
        from papertune.methods.prefix.cache import prefix_cache

        rows = (-1, batch, -1, -1, -1)
        return prefix_cache(self.keys[:, None].expand(rows), self.values[:, None].expand(rows), grows=grows)


class PrefixModel(ABC):
    """A frozen base model with a prefix; its subclass `PrefixTuned` imports peft."""

    @property
    @abstractmethod
    def prefix_length(self) -> int:
        """Number of virtual tokens of the prefix."""

    @abstractmethod
    def prefix(self) -> Prefix:
        """Return a copy of the prefix as it is now."""

    @abstractmethod
    def prepare_checkpointing(self) -> None:
        """Keep the prefix in layers whose activations are computed again in the backward pass."""

    @abstractmethod
    def save_encoder(self, folder: Path) -> None:
        """Write all parameters that compute the prefix in training, so that the training can be resumed."""

    @abstractmethod
    def load_encoder(self, folder: Path) -> None:
        """Read what `save_encoder` wrote."""


def prefix_of(model: Any) -> Prefix | None:
    """Return the prefix of a model, or None where it has none."""
    return model.prefix() if isinstance(model, PrefixModel) else None

"""P-Tuning v2: a trained prefix."""

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Annotated, Any, ClassVar, Literal

from pydantic import Field

from papertune.errors import RunError
from papertune.methods.method import AdapterMethod, read_adapter_weights

# Random prefixes were trained with 2e-2.
_RATE_OF_RANDOM_PREFIX = 1e-2


class PtuningV2Method(AdapterMethod):
    """A trained prefix (Liu et al. 2021, arXiv:2110.07602): keys and values before the first token in every layer.

    Attributes:
        prefix_length: Number of virtual tokens.
        init: Whether training begins with the keys and values of the recipe's questions, or with random numbers.
        projection: In training two linear layers with a tanh between compute the prefix; a run keeps their result.
        dropout: Dropout on the prefix while training.
    """

    kind: Literal["ptuning_v2"]
    prefix_length: Annotated[int, Field(ge=1)] = 64
    init: Literal["text", "random"] = "text"
    projection: bool = False
    dropout: Annotated[float, Field(ge=0, lt=1)] = 0.0

    learns_text: ClassVar[bool] = False
    peft_type: ClassVar[str] = "PREFIX_TUNING"
    adapter_name: ClassVar[str] = "P-Tuning v2 prefix"
    needed_keys: ClassVar[tuple[str, ...]] = ("num_virtual_tokens",)

    @property
    def prefix_tokens(self) -> int:
        """The length of the prefix."""
        return self.prefix_length

    def build(self, model: Any) -> Any:
        """Put a new prefix before a base model."""
        from papertune.methods.prefix.tuned import build_prefix

        return build_prefix(model, self.prefix_length, projection=self.projection, dropout=self.dropout)

    def begin_as_text(self, model: Any, ids: Sequence[int]) -> None:
        """Let the prefix begin as the keys and values of a text, unless `init` is "random" or there is no text."""
        if self.init == "text" and ids:
            model.begin_as_text(ids)

    def rate_advice(self, learning_rate: float) -> str:
        """Return a message for a rate that suits a random prefix, where this one begins as text."""
        if self.init == "random" or learning_rate < _RATE_OF_RANDOM_PREFIX:
            return ""
        return (
            f"training.learning_rate is {learning_rate:g}, which suits a prefix of random numbers. This one begins as "
            'text (method.init = "text") and learns best at about 1e-3.'
        )

    @classmethod
    def load(cls, model: Any, folder: Path, config: Mapping[str, Any], *, trainable: bool) -> Any:
        """Put a saved prefix before a base model."""
        from papertune.methods.prefix.tuned import load_prefix

        return load_prefix(model, folder, config, read_adapter_weights(folder), trainable=trainable)

    @classmethod
    def load_for_prediction(cls, model: Any, folder: Path, config: Mapping[str, Any]) -> Any:
        """Put a saved prefix before a base model, where it stays."""
        return cls.load(model, folder, config, trainable=False)

    def adopted(self, config: Mapping[str, Any]) -> "PtuningV2Method":
        """Return the method that has trained a prefix, with the dropout as here."""
        length, projection = config["num_virtual_tokens"], bool(config.get("prefix_projection"))
        return PtuningV2Method(kind="ptuning_v2", prefix_length=length, projection=projection, dropout=self.dropout)

    def check_mergeable(self, run: Path) -> None:
        """Refuse: raise a RunError."""
        raise RunError(
            f"{run} was trained with P-Tuning v2: it has a prefix instead of changed weights, so there is nothing to "
            "merge into the model. Predict with the run itself."
        )

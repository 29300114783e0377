"""Models that are ready for training."""

import math
import warnings
from collections.abc import Sequence
from pathlib import Path
from typing import Any

from papertune.methods.adapters import load_adapter
from papertune.methods.method import TrainingMethod
from papertune.methods.prefix import PrefixModel


def build_trainable(
    model: Any, method: TrainingMethod, *, seed: int, start: Path | None = None, text: Sequence[int] = ()
) -> Any:
    """Make a model trainable.

    Trainable parameters are float32 whatever the model's dtype: steps of a small learning rate vanish in 8 bits of
    mantissa.

    Args:
        model: A base model.
        method: Which parameters are trained.
        seed: Of the new parameters.
        start: The folder of an adapter that is trained further; None: the parameters are new.
        text: Token ids of the text that new parameters may begin as; empty: they begin with random numbers.

    Returns:
        The model, or a peft model around it.

    Raises:
        ModelError: If the method names parts that the model does not have, or does not fit it.
    """
    import torch

    torch.manual_seed(seed)
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", FutureWarning)  # peft asks the model by names that transformers is renaming
        if start is None:
            model = method.build(model)
            method.begin_as_text(model, text)
        else:
            model = load_adapter(model, start, trainable=True)
    if method.saves_adapter:
        # peft would write a model card, a form with open questions, which took longer than a small adapter.
        model.create_or_update_model_card = _write_nothing
    return model


def _write_nothing(_: str) -> None:
    pass


def checkpoint_activations(model: Any) -> None:
    """Compute activations again in the backward pass instead of keeping them.

    Raises:
        ModelError: If the model's prefix would be lost by that.
    """
    if isinstance(model, PrefixModel):
        model.prepare_checkpointing()
    # transformers is renaming it; the installed one decides.
    enable = getattr(model, "activation_checkpointing_enable", None) or model.gradient_checkpointing_enable
    enable({"use_reentrant": False})
    model.enable_input_require_grads()


def count_parameters(model: Any) -> tuple[int, int]:
    """Return the number of trainable parameters and of all parameters."""
    parameters = list(model.parameters())
    return sum(p.numel() for p in parameters if p.requires_grad), sum(map(_count, parameters))


def _count(parameter: Any) -> int:
    packed = getattr(parameter, "quant_state", None)  # two 4-bit parameters are stored as one number
    return parameter.numel() if packed is None else math.prod(packed.shape)

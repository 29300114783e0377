"""Which weights are learnt, and how they are kept: the door to peft."""

from papertune.methods.adapters import adapters_in_compute_dtype, check_adapter, load_adapter, merge_adapter
from papertune.methods.build import (
    build_trainable,
    checkpoint_activations,
    save_weights,
    trainable_weights,
)

__all__ = [
    "adapters_in_compute_dtype",
    "build_trainable",
    "check_adapter",
    "checkpoint_activations",
    "load_adapter",
    "merge_adapter",
    "save_weights",
    "trainable_weights",
]

"""Which weights are learnt, and how they are kept: the door to peft."""

from papertune.methods.adapters import (
    adapters_in_compute_dtype,
    check_adapter,
    load_adapter,
    load_for_prediction,
    merge_adapter,
)
from papertune.methods.build import (
    build_trainable,
    checkpoint_activations,
    save_weights,
    trainable_weights,
)
from papertune.methods.merged_products import merged_products
from papertune.methods.prefix import Prefix, PrefixModel, prefix_of

__all__ = [
    "Prefix",
    "PrefixModel",
    "adapters_in_compute_dtype",
    "build_trainable",
    "check_adapter",
    "checkpoint_activations",
    "load_adapter",
    "load_for_prediction",
    "merge_adapter",
    "merged_products",
    "prefix_of",
    "save_weights",
    "trainable_weights",
]

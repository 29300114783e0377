"""Which weights are learnt, and how they are kept: the door to peft."""

from papertune.methods.adapters import check_adapter, load_adapter, merge_adapter
from papertune.methods.build import build_trainable, is_adapter_method, save_weights, trainable_weights

__all__ = [
    "build_trainable",
    "check_adapter",
    "is_adapter_method",
    "load_adapter",
    "merge_adapter",
    "save_weights",
    "trainable_weights",
]

"""Which parameters are trained, and how they are kept: the door to peft.

Recipes import this package, so its modules import torch and peft only when they need them; `merged_products` and the
modules of `prefix/` that compute are not imported here.
"""

from papertune.methods.adapters import (
    adapters_in_compute_dtype,
    add_adapter,
    adopted_method,
    check_adapter,
    is_plain_adapter,
    load_adapter,
    load_for_prediction,
    merge_adapter,
)
from papertune.methods.build import build_trainable, checkpoint_activations, count_parameters
from papertune.methods.freeze import FreezeMethod
from papertune.methods.full import FullMethod
from papertune.methods.lora import LoraMethod
from papertune.methods.method import AdapterMethod, TrainingMethod, WholeModelMethod
from papertune.methods.prefix import Prefix, PrefixModel, prefix_of
from papertune.methods.ptuning_v2 import PtuningV2Method
from papertune.methods.registry import METHODS, Method, methods_by_kind

__all__ = [
    "METHODS",
    "AdapterMethod",
    "FreezeMethod",
    "FullMethod",
    "LoraMethod",
    "Method",
    "Prefix",
    "PrefixModel",
    "PtuningV2Method",
    "TrainingMethod",
    "WholeModelMethod",
    "adapters_in_compute_dtype",
    "add_adapter",
    "adopted_method",
    "build_trainable",
    "check_adapter",
    "checkpoint_activations",
    "count_parameters",
    "is_plain_adapter",
    "load_adapter",
    "load_for_prediction",
    "merge_adapter",
    "methods_by_kind",
    "prefix_of",
]

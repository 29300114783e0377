"""Base models and tokenizers, loaded with transformers."""

from typing import TYPE_CHECKING

from papertune.startup.late import late_names

if TYPE_CHECKING:
    from papertune.models.attention.grouped import use_grouped_attention
    from papertune.models.attention.masks import AttentionMasks
    from papertune.models.base import (
        Precision,
        choose_device,
        choose_dtype,
        load_config,
        load_model,
        load_tokenizer,
    )
    from papertune.models.cache import cache_folder
    from papertune.models.configurations import find_config
    from papertune.models.context import context_tokens
    from papertune.models.cpu import cpu_features
    from papertune.models.finding import Base, find_base
    from papertune.models.known import KNOWN_MODELS, PACKAGE_INSTALL
    from papertune.models.llama.loading import load_own_llama
    from papertune.models.llama.model import OwnLlama
    from papertune.models.quantization.base_bits import BaseBits, check_quantization, dequantized, is_quantized
    from papertune.models.quantization.int8 import (
        PredictionPrecision,
        check_int8,
        int8_name,
        precision_name,
        to_int8,
    )
    from papertune.models.selected_positions import answer_positions, output_layer

# Loaded when first used: most of them import torch, which finding a model and reading its tokenizer do not need.
_LATE = {
    "AttentionMasks": "papertune.models.attention.masks",
    "Base": "papertune.models.finding",
    "BaseBits": "papertune.models.quantization.base_bits",
    "KNOWN_MODELS": "papertune.models.known",
    "OwnLlama": "papertune.models.llama.model",
    "PACKAGE_INSTALL": "papertune.models.known",
    "Precision": "papertune.models.base",
    "PredictionPrecision": "papertune.models.quantization.int8",
    "answer_positions": "papertune.models.selected_positions",
    "cache_folder": "papertune.models.cache",
    "check_int8": "papertune.models.quantization.int8",
    "check_quantization": "papertune.models.quantization.base_bits",
    "choose_device": "papertune.models.base",
    "choose_dtype": "papertune.models.base",
    "context_tokens": "papertune.models.context",
    "cpu_features": "papertune.models.cpu",
    "dequantized": "papertune.models.quantization.base_bits",
    "find_base": "papertune.models.finding",
    "find_config": "papertune.models.configurations",
    "int8_name": "papertune.models.quantization.int8",
    "is_quantized": "papertune.models.quantization.base_bits",
    "load_config": "papertune.models.base",
    "load_model": "papertune.models.base",
    "load_own_llama": "papertune.models.llama.loading",
    "load_tokenizer": "papertune.models.base",
    "output_layer": "papertune.models.selected_positions",
    "precision_name": "papertune.models.quantization.int8",
    "to_int8": "papertune.models.quantization.int8",
    "use_grouped_attention": "papertune.models.attention.grouped",
}

__all__ = [
    "KNOWN_MODELS",
    "PACKAGE_INSTALL",
    "AttentionMasks",
    "Base",
    "BaseBits",
    "OwnLlama",
    "Precision",
    "PredictionPrecision",
    "answer_positions",
    "cache_folder",
    "check_int8",
    "check_quantization",
    "choose_device",
    "choose_dtype",
    "context_tokens",
    "cpu_features",
    "dequantized",
    "find_base",
    "find_config",
    "int8_name",
    "is_quantized",
    "load_config",
    "load_model",
    "load_own_llama",
    "load_tokenizer",
    "output_layer",
    "precision_name",
    "to_int8",
    "use_grouped_attention",
]

__getattr__ = late_names(__name__, _LATE)

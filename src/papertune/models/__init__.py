"""Base models and tokenizers, loaded with transformers."""

from papertune.models.answer_positions import answer_positions, output_layer
from papertune.models.attention.grouped import use_grouped_attention
from papertune.models.attention.masks import AttentionMasks
from papertune.models.base import (
    Base,
    Precision,
    choose_device,
    choose_dtype,
    find_base,
    load_config,
    load_model,
    load_tokenizer,
)
from papertune.models.cache import cache_folder
from papertune.models.configurations import find_config
from papertune.models.context import context_tokens
from papertune.models.cpu import cpu_features
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

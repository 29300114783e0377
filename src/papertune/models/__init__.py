"""Base models and tokenizers: the door to transformers."""

from papertune.models.answer_positions import answer_positions, output_layer
from papertune.models.base import (
    Base,
    Precision,
    choose_device,
    choose_dtype,
    find_base,
    load_model,
    load_tokenizer,
)
from papertune.models.cache import cache_folder
from papertune.models.known import KNOWN_MODELS, PACKAGE_INSTALL

from papertune.models.quantized import BaseBits, check_quantization, dequantized, is_quantized
__all__ = [
    "KNOWN_MODELS",
    "PACKAGE_INSTALL",
    "Base",
    "Precision",
    "answer_positions",
    "BaseBits",
    "cache_folder",
    "choose_device",
    "choose_dtype",
    "check_quantization",
    "find_base",
    "load_model",
    "dequantized",
    "load_tokenizer",
    "is_quantized",
    "output_layer",
]

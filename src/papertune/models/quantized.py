"""Base weights in 8 or 4 bits, through bitsandbytes.

8 bits are LLM.int8() (Dettmers et al. 2022, arXiv:2208.07339): whole numbers, one scale for each row of a matrix.
4 bits are NF4 with double quantization (Dettmers et al. 2023, arXiv:2305.14314): 16 levels spaced as normally
distributed weights are, one scale for each block of 64 weights, and these scales in 8 bits themselves.

Only linear layers are stored so; embedding, norms and output layer keep the run's precision. Products are done in that
precision with weights that are unpacked when they are needed.
"""

import logging
from importlib.util import find_spec
from typing import Any, Literal

import torch

from papertune.errors import MissingExtraError

BaseBits = Literal[4, 8]


def check_quantization(bits: BaseBits | None) -> None:
    """Check before the work that weights of so few bits can be had here.

    Args:
        bits: As in `method.base_bits`; None: nothing is needed.

    Raises:
        MissingExtraError: If bitsandbytes is not installed.
    """
    if bits is not None and find_spec("bitsandbytes") is None:
        raise MissingExtraError(
            f"method.base_bits = {bits} needs bitsandbytes, which is not installed: pip install 'papertune[quantized]'"
        )


def quantization_config(bits: BaseBits, dtype: torch.dtype) -> Any:
    """Give what `from_pretrained` has to know to quantize the weights while it loads them.

    Args:
        bits: Of a weight.
        dtype: What products are done in.

    Raises:
        MissingExtraError: If bitsandbytes is not installed.
    """
    from transformers import BitsAndBytesConfig

    check_quantization(bits)
    # It tells at each product of 8-bit weights that the input is cast to float16.
    logging.getLogger("bitsandbytes").setLevel(logging.ERROR)
    if bits == 8:
        return BitsAndBytesConfig(load_in_8bit=True)
    return BitsAndBytesConfig(
        load_in_4bit=True,
        bnb_4bit_quant_type="nf4",
        bnb_4bit_use_double_quant=True,
        bnb_4bit_compute_dtype=dtype,
    )


def keep_weights_in_place(model: Any) -> None:
    """Keep bitsandbytes from rearranging weights.

    Where a CPU multiplies bfloat16, the first forward pass of evaluation would rearrange 4-bit weights for a kernel
    that rounds float32 inputs to bfloat16 and lets no gradient through: training would go wrong after the first dev
    score.
    """
    for module in model.modules():
        if hasattr(module, "support_avx512bf16_for_cpu"):
            module.support_avx512bf16_for_cpu = False


def is_quantized(model: Any) -> bool:
    """Tell whether a model's weights are stored in a few bits."""
    return getattr(model, "hf_quantizer", None) is not None


def dequantized(model: Any) -> Any:
    """Give a model whose weights are ordinary ones in the model's dtype, with the values that the few bits had."""
    logger = logging.getLogger("transformers")  # it tells of each dtype that it chooses
    level = logger.level
    logger.setLevel(logging.ERROR)
    try:
        return model.dequantize(dtype=model.dtype)
    finally:
        logger.setLevel(level)

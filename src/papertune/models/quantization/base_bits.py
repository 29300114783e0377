"""Base weights in 8 or 4 bits, through bitsandbytes.

8 bits are LLM.int8() (Dettmers et al. 2022, arXiv:2208.07339): integers with one scale for each row of a matrix.
4 bits are NF4 with double quantization (Dettmers et al. 2023, arXiv:2305.14314): 16 levels, spaced for normally
distributed weights, with one scale for each block of 64 weights; the scales have 8 bits themselves.

Only linear layers are quantized; embedding, norms and output layer keep the run's precision. Weights are unpacked to
that precision when they are needed.
"""

import logging
from importlib.util import find_spec
from typing import Any, Literal

import torch

from papertune.errors import MissingExtraError, ModelError

BaseBits = Literal[4, 8]


def check_quantization(bits: BaseBits | None) -> None:
    """Check that quantized weights are available, before any work.

    Args:
        bits: The value of `method.base_bits`; None needs nothing.

    Raises:
        MissingExtraError: If bitsandbytes is not installed.
    """
    if bits is not None and find_spec("bitsandbytes") is None:
        raise MissingExtraError(
            f"method.base_bits = {bits} needs bitsandbytes, which is not installed: pip install 'papertune[quantized]'"
        )


def quantization_config(bits: BaseBits, dtype: torch.dtype) -> Any:
    """Return the `quantization_config` of `from_pretrained`, which quantizes weights while it loads them.

    Args:
        bits: Bits per weight.
        dtype: The dtype of products.

    Raises:
        MissingExtraError: If bitsandbytes is not installed.
    """
    from transformers import BitsAndBytesConfig

    check_quantization(bits)
    # It warns at each product of 8-bit weights that the input is cast to float16.
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
    """Prevent bitsandbytes from rearranging weights.

    On a CPU with bfloat16 products, the first forward pass in evaluation mode would rearrange 4-bit weights for a
    kernel that rounds float32 inputs to bfloat16 and has no gradient: training would fail after the first dev score.
    """
    for module in model.modules():
        if hasattr(module, "support_avx512bf16_for_cpu"):
            module.support_avx512bf16_for_cpu = False


def check_unpacking(model: Any) -> None:
    """Check that bitsandbytes unpacks a model's 4-bit weights correctly.

    On CPUs with AVX-512, bitsandbytes 0.50 returns wrong numbers without an error if the width of a matrix is not a
    multiple of the 64 weights that share a scale.

    Raises:
        ModelError: If a layer's weights would be wrong.
    """
    if model.device.type != "cpu":
        return
    widths: dict[int, str] = {}
    for name, module in model.named_modules():
        if type(module).__name__ == "Linear4bit":
            widths.setdefault(module.in_features, name)
    if not widths:
        return
    from bitsandbytes.functional import dequantize_4bit, quantize_4bit

    for width, name in widths.items():
        # -1 and 1 are levels of NF4, so nothing is rounded; the scale of a block of 64 differs from its neighbours'.
        number = torch.arange(64 * width)
        weights = (torch.where(number % 3 == 0, -1.0, 1.0) * 2.0 ** (number // 64 % 8)).view(64, width)
        if not torch.equal(dequantize_4bit(*quantize_4bit(weights, quant_type="nf4")), weights):
            raise ModelError(
                f"method.base_bits = 4: bitsandbytes computes wrong numbers on this CPU for {name}, whose {width} "
                "inputs are not a multiple of 64. Use base_bits = 8, a GPU, or no base_bits."
            )


def is_quantized(model: Any) -> bool:
    """Whether a model's weights are stored in 4 or 8 bits."""
    return getattr(model, "hf_quantizer", None) is not None


def dequantized(model: Any) -> Any:
    """Return the model with its weights unpacked to the model's dtype; their values stay the rounded ones."""
    logger = logging.getLogger("transformers")  # it logs each dtype that it chooses
    level = logger.level
    logger.setLevel(logging.ERROR)
    try:
        return model.dequantize(dtype=model.dtype)
    finally:
        logger.setLevel(level)

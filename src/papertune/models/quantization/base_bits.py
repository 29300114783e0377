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

from papertune.errors import MissingExtraError, ModelError

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


def check_unpacking(model: Any) -> None:
    """Check that bitsandbytes unpacks a model's 4-bit weights as it has packed them.

    bitsandbytes 0.50 does not on CPUs with AVX-512 where the width of a matrix is no multiple of the 64 weights that
    share a scale: it returns wrong numbers without an error.

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
        # -1 and 1 are levels of NF4, so nothing is rounded; each block of 64 has another scale than its neighbours.
        number = torch.arange(64 * width)
        weights = (torch.where(number % 3 == 0, -1.0, 1.0) * 2.0 ** (number // 64 % 8)).view(64, width)
        if not torch.equal(dequantize_4bit(*quantize_4bit(weights, quant_type="nf4")), weights):
            raise ModelError(
                f"method.base_bits = 4: bitsandbytes computes wrong numbers on this CPU for {name}, whose {width} "
                "inputs are no multiple of 64. Use base_bits = 8, a GPU, or no base_bits."
            )


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

"""Warnings of other packages that are not about anything papertune does."""

import logging


def ignore_unused_kernel() -> None:
    """Drop what bitsandbytes logs about a kernel for 4-bit weights when peft or transformers import it.

    On CPUs with bfloat16 instructions it asks for the package `kernels`. papertune does not use that kernel, which
    rounds float32 inputs.
    """
    logging.getLogger("bitsandbytes.backends.cpu.ops").addFilter(_is_about_something_else)


def _is_about_something_else(record: logging.LogRecord) -> bool:
    return "gemm_4bit_forward" not in record.msg

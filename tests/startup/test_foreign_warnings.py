import logging

import bitsandbytes.backends.cpu.ops
import pytest


@pytest.mark.parametrize(
    ("message", "is_shown"),
    [
        ("Failed to load CPU gemm_4bit_forward from kernels-community: %s. Please make sure you already ...", False),
        ("Something else: %s", True),
    ],
)
def test_only_the_warning_about_the_unused_kernel_is_dropped(message, is_shown, caplog):
    logger = bitsandbytes.backends.cpu.ops.logger
    with caplog.at_level(logging.WARNING, logger=logger.name):
        logger.warning(message, "No module named 'kernels'")
    assert caplog.record_tuples == [(logger.name, logging.WARNING, message % "No module named 'kernels'")] * is_shown

"""How functions are compiled, and where machine code is kept between processes."""

from collections.abc import Callable
from pathlib import Path
from typing import Any, TypeVar

from numba import config, njit
from numba.extending import intrinsic

from papertune.models.cache import cache_folder

Function = TypeVar("Function", bound=Callable[..., Any])

# Sums in any order, so that they use all lanes of a register. NaN and infinity keep their meaning.
_FAST = {"reassoc", "contract", "nsz", "arcp"}


def code_folder() -> Path:
    """Return the folder for machine code: the user's `NUMBA_CACHE_DIR`, or one in papertune's cache folder."""
    return Path(config.CACHE_DIR) if config.CACHE_DIR else cache_folder() / "kernels"


def compiles() -> bool:
    """Whether numba compiles anything; `NUMBA_DISABLE_JIT` turns it off."""
    return not config.DISABLE_JIT


def kernel(function: Function) -> Function:
    """Compile a function for each kind of arguments, once on this machine and kind of CPU.

    numba asks for its folder when a function is defined; that of the process is left as it was.
    """
    before = config.CACHE_DIR
    config.CACHE_DIR = str(code_folder())
    try:
        compiled: Function = njit(nogil=True, cache=True, fastmath=_FAST, error_model="numpy")(function)
    finally:
        config.CACHE_DIR = before
    return compiled


def exact(function: Function) -> Function:
    """Compile a part of kernels in which no sum is reordered."""
    compiled: Function = njit(fastmath={"contract"}, error_model="numpy")(function)
    return compiled


def instructions(function: Callable[..., Any]) -> Any:
    """Make a part of kernels of a function that returns its types, and the function that writes its instructions."""
    return intrinsic(function)


def folder_of(compiled: Any) -> Path:
    """Return the folder of the code of a kernel and of others in its module."""
    return Path(compiled.stats.cache_path)

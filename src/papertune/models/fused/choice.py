"""Whether the steps of a model are fused: where numba is installed, works, and has a folder for its code."""

import shutil
import tempfile
from functools import cache
from importlib.util import find_spec
from pathlib import Path

import torch

from papertune.models.llama.rotation import Rotation
from papertune.models.llama.steps import Steps

# A fused pass has one thread, and PyTorch's passes have all: with more threads than these they end sooner.
MAX_FUSED_THREADS = 4
_DTYPES = (torch.float32, torch.bfloat16)


@cache
def best_steps(dtype: torch.dtype, states_dtype: torch.dtype, *, to_integers: bool) -> Steps:
    """Return the fastest steps that are available, ready for use.

    The first process on a machine compiles them, in a few seconds, while others wait for its code. Without a folder for
    it each process would, so there they are PyTorch's.

    Args:
        dtype: Of queries, keys and values.
        states_dtype: Of the states between products.
        to_integers: Whether products are of integers.
    """
    if dtype not in _DTYPES or states_dtype not in _DTYPES or find_spec("numba") is None:
        return Steps()
    try:
        from papertune.models.fused.compiling import code_folder, compiles, folder_of
    except ImportError:  # a numba for another NumPy, or a part of one
        return Steps()
    folder = code_folder()
    if not compiles() or not _is_writable(folder):
        return Steps()
    from filelock import FileLock

    with FileLock(folder / "papertune.lock"):
        from papertune.models.fused import kernels
        from papertune.models.fused.steps import FusedSteps

        try:
            _use(FusedSteps(), dtype, states_dtype, to_integers=to_integers)
        except Exception:  # whatever reading an unfinished or damaged file leads to
            shutil.rmtree(folder_of(kernels.norm), ignore_errors=True)
            _use(FusedSteps(), dtype, states_dtype, to_integers=to_integers)
    return FusedSteps()


def _is_writable(folder: Path) -> bool:
    try:
        folder.mkdir(parents=True, exist_ok=True)
        tempfile.TemporaryFile(dir=folder).close()
    except OSError:
        return False
    return True


def _use(steps: Steps, dtype: torch.dtype, states_dtype: torch.dtype, *, to_integers: bool) -> None:
    """Call all steps as a model does, so that they are compiled or read."""
    states = torch.ones(1, 2, 8, dtype=states_dtype)
    scales = torch.ones(1, 2, 1)
    steps.normed(states, torch.ones(8), 1e-5, to_integers=to_integers)
    if to_integers:
        steps.gated(states.clone(), states, scales)
    rotation = Rotation(torch.ones(1, 2, 1), torch.zeros(1, 2, 1), 3, states_dtype)
    queries, keys, values = steps.split(states, scales if to_integers else None, rotation, (2, 1), dtype)
    steps.attended(queries, keys, values, None, to_integers=to_integers)

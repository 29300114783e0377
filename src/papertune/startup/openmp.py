"""How long OpenMP threads spin while they wait for work.

By default a waiting thread keeps its core busy for milliseconds, in case work comes soon. Two programs on the same
cores then hold each other up: a thread that spins takes time from one that works (docs/lab/performance.md).
"""

import os
from collections.abc import MutableMapping

# GNU's OpenMP (PyTorch on Linux): about 10 us instead of 3 ms.
# Intel's and LLVM's (PyTorch on Windows, macOS and from conda): 1 ms, the least that every version reads, not 200 ms.
SHORT_WAIT = {"GOMP_SPINCOUNT": "1000", "KMP_BLOCKTIME": "1"}
USER_SETTINGS = ("OMP_WAIT_POLICY", *SHORT_WAIT)


def limit_spinning(environment: MutableMapping[str, str] = os.environ) -> None:
    """Make waiting threads sleep soon, unless the user has set how they wait.

    OpenMP reads the variables when torch is imported, so this comes first.
    """
    if not any(name in environment for name in USER_SETTINGS):
        environment.update(SHORT_WAIT)

"""The parts of a batch in threads, each pass on a core of its own.

A product of a few hundred tokens takes milliseconds. Two threads for each product wait for each other at every small
step between products; two passes side by side wait for each other once a batch. Each part is computed by itself and the
gradients are added in the order of the parts, so the outcome does not depend on which part is done first.
"""

from collections.abc import Callable, Sequence
from concurrent.futures import ThreadPoolExecutor
from typing import TypeVar

import torch

P = TypeVar("P")
R = TypeVar("R")


def side_by_side(work: Callable[[P], R], parts: Sequence[P]) -> list[R]:
    """Return what `work` makes of each part, in their order; with several threads of torch, parts run side by side.

    Args:
        work: Called in threads. Each of them has an equal share of torch's threads.
        parts: The parts, those with most work first.
    """
    threads = torch.get_num_threads()
    workers = min(threads, len(parts))
    if workers < 2:
        return [work(part) for part in parts]
    share = max(threads // workers, 1)
    # For products of MKL in all threads, and for OpenMP in this one, which waits.
    torch.set_num_threads(share)
    try:
        with ThreadPoolExecutor(workers, initializer=torch.set_num_threads, initargs=(share,)) as pool:
            return list(pool.map(work, parts))
    finally:
        torch.set_num_threads(threads)

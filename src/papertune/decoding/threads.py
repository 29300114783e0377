"""Several passes through a model at the same time, each with its share of the threads.

Between two products there are many small steps. Threads that share each of them wait for each other after each; threads
with a pass of their own do not. Python's global lock hardly matters, since PyTorch releases it in each step.
"""

from collections.abc import Callable, Sequence
from concurrent.futures import ThreadPoolExecutor
from typing import TypeVar

import torch

Item = TypeVar("Item")
Result = TypeVar("Result")


def map_in_threads(function: Callable[[Item], Result], items: Sequence[Item]) -> list[Result]:
    """Call a function with each item, as many at a time as PyTorch has threads here.

    Items that would leave threads idle at the end run one after another, each with all threads.

    Args:
        function: Safe in several threads.
        items: About equally much work.

    Returns:
        The results, in the order of the items.

    Raises:
        Exception: What the function raises for the first item that fails; items that have not begun are left out.
    """
    threads = torch.get_num_threads()
    workers = min(threads, len(items))
    if workers < 2:
        return [function(item) for item in items]
    together = len(items) - len(items) % workers
    pool = ThreadPoolExecutor(workers, initializer=torch.set_num_threads, initargs=(threads // workers,))
    try:
        results = list(pool.map(function, items[:together]))
    finally:
        pool.shutdown(cancel_futures=True)
        # The number of threads of a product in float32 is one for the whole process.
        torch.set_num_threads(threads)
    return results + [function(item) for item in items[together:]]

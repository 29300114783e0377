"""Which rows each of several processes learns from.

Together they do the same optimizer steps as a single process with `accumulation` x processes batches in a step: the
batches of an epoch are the same, in the same order. Gradients are summed, so the order within a step is free. The
batches of a step are sorted by size and dealt out back and forth, which gives all processes about the same work, and
batches of similar size in each pass:

    step of 6 batches, 2 processes, sizes    process 0:  9  6  4
                                             process 1:  8  7  3
"""

from collections.abc import Iterator, Sequence
from functools import lru_cache

import numpy as np
from numpy.typing import NDArray

from papertune.prompts import LengthBatchSampler


class SharedBatchSampler:
    """A batch sampler for the DataLoader of one process, with its share of the batches of `LengthBatchSampler`.

    At the end of an epoch there may be fewer batches than processes. The others then get an empty batch, so that all
    processes make the same number of passes.

    Args:
        lengths: Length of each row in tokens.
        batch_size: Rows in a batch of one process.
        seed: Seed of the order.
        accumulation: Batches of each process in an optimizer step.
        index: Index of this process, from 0.
        count: Number of processes.
    """

    def __init__(
        self, lengths: Sequence[int], batch_size: int, seed: int, *, accumulation: int, index: int, count: int
    ) -> None:
        self._lengths = lengths
        self._batches = LengthBatchSampler(lengths, batch_size, seed)
        self._step = accumulation * count
        self._index = index
        self._count = count
        self.batch_size = batch_size
        self.drop_last = False

    def set_epoch(self, epoch: int) -> None:
        """Set the epoch, counted from 0; each has its own order."""
        self._batches.set_epoch(epoch)

    def __iter__(self) -> Iterator[list[int]]:
        batches = list(self._batches)
        for start in range(0, len(batches), self._step):
            yield from self._share(batches[start : start + self._step])

    def __len__(self) -> int:
        return -(-len(self._batches) // self._count)

    def _share(self, step: list[list[int]]) -> Iterator[list[int]]:
        if self._count > 1:  # a single process keeps the order
            step = sorted(step, key=self._size, reverse=True)
        for number, start in enumerate(range(0, len(step), self._count)):
            dealt = step[start : start + self._count]
            place = self._index if number % 2 == 0 else self._count - 1 - self._index
            yield dealt[place] if place < len(dealt) else []

    def _size(self, batch: list[int]) -> int:
        return len(batch) * max(self._lengths[row] for row in batch)


class StepTokens:
    """Counts the tokens of optimizer steps. Batches differ in length, so steps differ in time.

    Args:
        lengths: Length of each row in tokens.
        batch_size: Rows in a batch of one process.
        seed: Seed of the order.
        step_batches: Batches of all processes in an optimizer step.
    """

    def __init__(self, lengths: Sequence[int], batch_size: int, seed: int, step_batches: int) -> None:
        self._lengths = np.asarray(lengths, dtype=np.int64)
        self._batches = LengthBatchSampler(lengths, batch_size, seed)
        self._step_batches = step_batches
        self._before_in_epoch = lru_cache(maxsize=2)(self._cumulate)  # the current epoch and the last one

    def before(self, step: int) -> int:
        """Return the tokens of all steps before a step, which is counted from 0."""
        epoch, number = divmod(step, -(-len(self._batches) // self._step_batches))
        return epoch * int(self._lengths.sum()) + int(self._before_in_epoch(epoch)[number])

    def _cumulate(self, epoch: int) -> NDArray[np.int64]:
        self._batches.set_epoch(epoch)
        tokens = [int(self._lengths[batch].sum()) for batch in self._batches]
        return np.cumsum([0, *tokens], dtype=np.int64)[:: self._step_batches]

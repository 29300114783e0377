"""Which rows share a batch, and how a batch becomes tensors.

Rows of unlike length waste work on padding: on abstracts 30% of the tokens at batch 4 and 74% at batch 32. So
prediction sorts by length, and training sorts inside groups of some batches, which keeps the order random enough.
"""

import random
from array import array
from collections.abc import Iterator, Sequence

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

IGNORE_INDEX = -100

# Batches in one group of training rows that is sorted by length.
GROUP_BATCHES = 8


def shuffled_length_batches(lengths: Sequence[int], batch_size: int, seed: int, epoch: int) -> list[list[int]]:
    """Order training rows into batches of similar length, anew in each epoch.

    Args:
        lengths: Length of each row in tokens.
        batch_size: Rows in a batch; the last one may have fewer.
        seed: Of the order.
        epoch: Counts from 0.

    Returns:
        Indices of the rows, batch by batch; each index once.
    """
    order = random.Random(f"{seed}-{epoch}")
    indices = list(range(len(lengths)))
    order.shuffle(indices)
    group = batch_size * GROUP_BATCHES
    batches: list[list[int]] = []
    for start in range(0, len(indices), group):
        ordered = sorted(indices[start : start + group], key=lambda i: lengths[i])
        batches += [ordered[i : i + batch_size] for i in range(0, len(ordered), batch_size)]
    short = [batch for batch in batches if len(batch) < batch_size]
    full = [batch for batch in batches if len(batch) == batch_size]
    order.shuffle(full)
    return full + short


class Batches:
    """Which rows share a batch, a sequence of lists of row indices; it takes 8 bytes a row and 8 a batch.

    Attributes:
        rows: Row indices, batch by batch, int64, shape (rows,).
        starts: Where each batch begins in `rows`, and where the last one ends, int64, shape (batches + 1,).
    """

    def __init__(self, rows: NDArray[np.int64], starts: NDArray[np.int64]) -> None:
        self.rows = rows
        self.starts = starts

    def __len__(self) -> int:
        return len(self.starts) - 1

    def __getitem__(self, number: int) -> list[int]:
        place = range(len(self))[number]
        return self.rows[self.starts[place] : self.starts[place + 1]].tolist()  # type: ignore[no-any-return]

    def __iter__(self) -> Iterator[list[int]]:
        return (self[number] for number in range(len(self)))

    @property
    def sizes(self) -> NDArray[np.int64]:
        """Rows of each batch, int64, shape (batches,)."""
        return np.diff(self.starts)


def sorted_token_batches(lengths: Sequence[int] | NDArray[np.int64], max_tokens: int, max_rows: int) -> Batches:
    """Cut rows, longest first, into batches of at most `max_tokens` padded tokens and `max_rows` rows.

    Longest first, so that a batch that does not fit into memory fails at once, and the time left is never guessed too
    low. A row longer than `max_tokens` is a batch of its own. Rows of one length keep their order.
    """
    given = np.asarray(lengths, dtype=np.int64)
    order = np.argsort(-given, kind="stable")
    starts = array("q", [0])
    while starts[-1] < len(order):
        longest = int(given[order[starts[-1]]])  # the first row, so it alone says how many fit
        fit = min(max_tokens // longest, max_rows) if longest else max_rows
        starts.append(min(starts[-1] + max(fit, 1), len(order)))
    return Batches(order, np.array(starts))


def pad_right(rows: Sequence[Sequence[int]], fill: int) -> Tensor:
    """Fill rows up to the longest at their right.

    With causal attention no real token sees what stands to its right, so such a batch needs no attention mask.

    Returns:
        int64, shape (batch, seq).
    """
    width = max(len(row) for row in rows)
    return torch.tensor([[*row, *[fill] * (width - len(row))] for row in rows], dtype=torch.int64)


class LengthBatchSampler:
    """A batch sampler for a DataLoader: `shuffled_length_batches` of the epoch that `set_epoch` has told.

    Args:
        lengths: Length of each row in tokens.
        batch_size: Rows in a batch.
        seed: Of the order.
    """

    def __init__(self, lengths: Sequence[int], batch_size: int, seed: int) -> None:
        self._lengths = list(lengths)
        self.batch_size = batch_size
        self.drop_last = False
        self._seed = seed
        self._epoch = 0

    def set_epoch(self, epoch: int) -> None:
        """Choose the order of this epoch, counted from 0."""
        self._epoch = epoch

    def __iter__(self) -> Iterator[list[int]]:
        yield from shuffled_length_batches(self._lengths, self.batch_size, self._seed, self._epoch)

    def __len__(self) -> int:
        return -(-len(self._lengths) // self.batch_size)

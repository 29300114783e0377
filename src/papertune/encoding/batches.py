"""Which rows share a batch, and how a batch becomes tensors.

Rows of unlike length waste work on padding: on abstracts 30% of the tokens at batch 4 and 74% at batch 32. So
prediction sorts by length, and training sorts inside groups of some batches, which keeps the order random enough.
"""

import random
from collections.abc import Iterator, Sequence

import torch
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


def sorted_token_batches(lengths: Sequence[int], max_tokens: int, max_rows: int) -> list[list[int]]:
    """Cut rows, longest first, into batches of at most `max_tokens` padded tokens and `max_rows` rows.

    Longest first, so that a batch that does not fit into memory fails at once, and the time left is never guessed too
    low. A row longer than `max_tokens` is a batch of its own. Rows of one length keep their order.
    """
    batches: list[list[int]] = []
    for index in sorted(range(len(lengths)), key=lambda i: -lengths[i]):
        batch = batches[-1] if batches else None
        if batch and len(batch) < max_rows and lengths[batch[0]] * (len(batch) + 1) <= max_tokens:
            batch.append(index)
        else:
            batches.append([index])
    return batches


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

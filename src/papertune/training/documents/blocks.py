"""Blocks of packed texts, and the batches that are made of them.

Every token of a text but its first one is predicted once, from the tokens before it. A text is one piece, or, if it is
longer than a block, several; the pieces of a block see only themselves, and their positions begin at 0:

    tokens      a0 a1 a2 end │ b0 b1 end
    ids         a0 a1 a2     │ b0 b1         the end is only predicted
    targets     a1 a2 end    │ b1 end
    positions    0  1  2     │  0  1
    pieces       0  0  0     │  1  1
"""

from array import array
from bisect import bisect_right
from collections.abc import Sequence

import numpy as np
import torch
import torch.nn.functional as F
from numpy.typing import NDArray
from torch import Tensor

from papertune.models import AttentionMasks, answer_positions
from papertune.prompts import Batches
from papertune.training.documents.token_file import TokenFile

# Where nothing is predicted.
PADDING = -1


class PackedBlocks:
    """The texts of a token file in blocks, read from the disk when they are used.

    Args:
        file: The token file.
        block: Maximum number of ids in a block.
        seed: Chooses which texts share a block.

    Attributes:
        lengths: Number of ids of each block.
        targets: Number of predicted tokens.
    """

    def __init__(self, file: TokenFile, block: int, seed: int) -> None:
        self._tokens = file.tokens
        self._starts, sizes = cut_texts(file.starts, block)
        self._sizes = sizes
        self._blocks = pack(sizes, block, seed)
        ends = np.concatenate([[0], np.cumsum(sizes[self._blocks.rows])])
        self.lengths: list[int] = np.diff(ends[self._blocks.starts]).tolist()
        self.targets = int(sizes.sum())

    def __len__(self) -> int:
        return len(self._blocks)

    def __getitem__(self, number: int) -> list[NDArray[np.int64]]:
        """Return the pieces of a block, each with the token after it."""
        pieces = ((int(self._starts[row]), int(self._sizes[row])) for row in self._blocks[number])
        return [self._tokens[start : start + size + 1].astype(np.int64) for start, size in pieces]


def cut_texts(starts: NDArray[np.int64], block: int) -> tuple[NDArray[np.int64], NDArray[np.int64]]:
    """Cut texts into pieces of at most `block` ids, of about the same size.

    Args:
        starts: As in `TokenFile`. A text of a single token predicts nothing and has no piece.
        block: Maximum number of ids.

    Returns:
        Where each piece begins, and its number of ids, int64, shape (pieces,) each.
    """
    ids = np.maximum(np.diff(starts) - 1, 0)  # the last token is only a target
    pieces = -(-ids // block)
    text = np.repeat(np.arange(len(ids)), pieces)
    place = np.arange(len(text)) - np.repeat(np.cumsum(pieces) - pieces, pieces)  # of the piece in its text
    begin = ids[text] * place // pieces[text]
    end = ids[text] * (place + 1) // pieces[text]
    return starts[text] + begin, end - begin


def pack(sizes: NDArray[np.int64], block: int, seed: int) -> Batches:
    """Fill blocks with pieces, each with the largest that still fits (best-fit decreasing).

    Args:
        sizes: Size of each piece, at least 1 and at most `block`, int64, shape (pieces,).
        block: Maximum size of a block.
        seed: Chooses among pieces of the same size.

    Returns:
        The pieces of each block; each piece is in one.
    """
    order = np.random.default_rng(seed).permutation(len(sizes))
    order = order[np.argsort(sizes[order], kind="stable")]
    known, counts = np.unique(sizes, return_counts=True)
    first = np.cumsum(counts) - counts
    left, waiting = known.tolist(), counts.tolist()  # sizes of which there are pieces left, and how many
    begins = first.tolist()
    places, starts = array("q"), array("q", [0])
    while left:
        room = block
        while (index := bisect_right(left, room) - 1) >= 0:
            waiting[index] -= 1
            places.append(begins[index] + waiting[index])
            room -= left[index]
            if not waiting[index]:
                del left[index], waiting[index], begins[index]
        starts.append(len(places))
    return Batches(order[np.asarray(places, dtype=np.int64)], np.asarray(starts, dtype=np.int64))


def collate_blocks(blocks: Sequence[Sequence[NDArray[np.int64]]]) -> dict[str, Tensor]:
    """Build a batch of blocks.

    Args:
        blocks: From `PackedBlocks`.

    Returns:
        input_ids: int64, shape (batch, seq), padded on the right.
        position_ids: int64, shape (batch, seq).
        pieces: Number of each token's piece in its block, -1 for padding, int64, shape (batch, seq).
        targets: The next token, -1 for padding, int64, shape (batch, seq).
        examples: Number of targets, float32, shape ().
    """
    width = max(sum(len(piece) - 1 for piece in block) for block in blocks)
    batch = {name: torch.zeros(len(blocks), width, dtype=torch.int64) for name in ("input_ids", "position_ids")}
    batch |= {name: torch.full((len(blocks), width), PADDING) for name in ("pieces", "targets")}
    for row, block in enumerate(blocks):
        at = 0
        for number, piece in enumerate(block):
            own = slice(at, at + len(piece) - 1)
            ids = torch.from_numpy(piece)
            batch["input_ids"][row, own], batch["targets"][row, own] = ids[:-1], ids[1:]
            batch["position_ids"][row, own] = torch.arange(len(piece) - 1)
            batch["pieces"][row, own] = number
            at = own.stop
    batch["examples"] = (batch["targets"] != PADDING).sum().float()
    return batch


def split_blocks(batch: dict[str, Tensor], max_tokens: int) -> list[dict[str, Tensor]]:
    """Split a batch into parts of at most `max_tokens` padded tokens; a longer block is a part of its own."""
    rows, width = batch["input_ids"].shape
    size = max(1, max_tokens // width)
    return [
        {name: value[start : start + size] if value.dim() else value for name, value in batch.items()}
        for start in range(0, rows, size)
    ]


def visible_tokens(pieces: Tensor) -> Tensor:
    """Return which tokens each token sees: earlier ones of its piece, and itself; bool, shape (batch, seq, seq).

    Args:
        pieces: From `collate_blocks`.
    """
    causal = torch.ones(pieces.shape[1], pieces.shape[1], dtype=torch.bool, device=pieces.device).tril()
    return (pieces[:, :, None] == pieces[:, None, :]) & causal


def token_losses(model: "torch.nn.Module", masks: AttentionMasks, batch: dict[str, Tensor]) -> tuple[Tensor, Tensor]:
    """Return the negative log-probability of each target, and where in the batch it is.

    Args:
        model: A causal language model, wrapped or not.
        masks: Builds its masks.
        batch: From `collate_blocks`.

    Returns:
        Nats, float32, shape (targets,), and a mask of their places, bool, shape (batch, seq).
    """
    positions = batch["position_ids"]
    mask = masks.make(visible_tokens(batch["pieces"]), positions, positions)
    places = batch["targets"] != PADDING
    rows, columns = places.nonzero(as_tuple=True)
    with answer_positions(model, rows, columns):
        logits = model(
            input_ids=batch["input_ids"], attention_mask=mask, position_ids=positions, use_cache=False
        ).logits
    return F.cross_entropy(logits.float(), batch["targets"][places], reduction="none"), places

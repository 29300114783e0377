"""How probable a model finds held-out texts."""

from collections.abc import Sequence
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray

from papertune.models import AttentionMasks
from papertune.training.documents.blocks import collate_blocks, cut_texts, pack, token_losses

# Maximum of padded tokens in one pass.
_PASS_TOKENS = 2048


class HeldOut:
    """Texts that are not learned.

    Args:
        texts: Token ids of each text.
        block: As in training; longer texts are cut.
        dtype: Number format of products.

    Attributes:
        tokens: Number of predicted tokens of each text, float64, shape (texts,).
    """

    def __init__(self, texts: Sequence[Sequence[int]], block: int, dtype: torch.dtype) -> None:
        starts = np.cumsum([0, *map(len, texts)], dtype=np.int64)
        self._tokens = np.asarray([token for text in texts for token in text], dtype=np.int64)
        self._starts, self._sizes = cut_texts(starts, block)
        self._owners = np.searchsorted(starts, self._starts, side="right") - 1
        self._blocks = pack(self._sizes, block, seed=0)
        self._block = block
        self._dtype = dtype
        self.tokens = np.bincount(self._owners, self._sizes, minlength=len(texts)).astype(np.float64)

    def nll(self, model: Any) -> NDArray[np.float64]:
        """Return the negative log-probability of each text after its first token, in nats, float64, shape (texts,)."""
        device = next(model.parameters()).device
        masks = AttentionMasks(model)
        sums = np.zeros(len(self.tokens))
        size = max(1, _PASS_TOKENS // self._block)
        was_training = model.training
        model.eval()
        with torch.no_grad(), torch.autocast(device.type, self._dtype, enabled=self._dtype != torch.float32):
            for start in range(0, len(self._blocks), size):
                rows = [self._blocks[number] for number in range(start, min(start + size, len(self._blocks)))]
                pieces = [[self._piece(row) for row in block] for block in rows]
                batch = {name: value.to(device) for name, value in collate_blocks(pieces).items()}
                losses, places = token_losses(model, masks, batch)
                of_block = places.nonzero()[:, 0].tolist()
                of_piece = batch["pieces"][places].tolist()
                owners = [self._owners[rows[row][piece]] for row, piece in zip(of_block, of_piece, strict=True)]
                np.add.at(sums, owners, losses.double().cpu().numpy())
        model.train(was_training)
        return sums

    def _piece(self, row: int) -> NDArray[np.int64]:
        start = self._starts[row]
        return self._tokens[start : start + self._sizes[row] + 1]

    def dev_score(self, model: Any) -> dict[str, float]:
        """Return the negative log-probability a token, the perplexity, and as "score" the first one negated."""
        nll = float(self.nll(model).sum() / self.tokens.sum())
        return {"nll": nll, "perplexity": float(np.exp(nll)), "score": -nll}

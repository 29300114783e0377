"""Training on packed blocks: each predicted token of an optimizer step counts the same."""

from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor
from transformers import TrainingArguments

from papertune.models import AttentionMasks
from papertune.training.answers.loop import CPU_PART_TOKENS
from papertune.training.documents.blocks import PackedBlocks, collate_blocks, split_blocks, token_losses
from papertune.training.documents.own_passes import OwnBlockPasses
from papertune.training.trainer import FitResult, FitSettings, ResumableTrainer, run_training


def fit_documents(model: Any, blocks: PackedBlocks, settings: FitSettings) -> FitResult:
    """Train a model on packed texts. Afterwards it has the weights that the dev score chose, or the last ones.

    All processes have to call this with the same arguments; each learns from its share of the blocks.

    Args:
        model: A model with trainable parameters, on its device; on the CPU if the processes will divide it.
        blocks: The packed texts.
        settings: How the training runs.

    Returns:
        How the training ended, the same in all processes. After a signal a checkpoint has been written.
    """

    def make(arguments: TrainingArguments, callbacks: list[Any]) -> ResumableTrainer:
        return _BlockTrainer(
            model, arguments, dataset=blocks, lengths=blocks.lengths, settings=settings, callbacks=callbacks
        )

    return run_training(make, settings, blocks.lengths, next(model.parameters()).device)


class _BlockTrainer(ResumableTrainer):
    """The trainer with the loss over all tokens of packed texts."""

    def __init__(self, model: Any, args: TrainingArguments, **options: Any) -> None:
        super().__init__(model, args, **options)
        self._masks = AttentionMasks(model)
        self._own: OwnBlockPasses | None = None

    def collate(self, rows: Sequence[list[NDArray[np.int64]]]) -> dict[str, Tensor]:
        """Build a batch of blocks."""
        # Without rows of its own, a process still computes gradients for the others to wait for; they are zero.
        batch = collate_blocks(rows or [self.train_dataset[0]])
        batch["weight"] = torch.tensor(1.0 if rows else 0.0)
        return batch if rows else batch | {"examples": torch.zeros(())}

    def split(self, batch: dict[str, Tensor]) -> list[dict[str, Tensor]]:
        """Split a batch into parts of few tokens."""
        return split_blocks(batch, CPU_PART_TOKENS)

    def run_from(self, checkpoint: Path | None) -> None:
        """Train, in own passes where these cover the training."""
        with self.own_decoder() as decoder:
            self._own = None if decoder is None else OwnBlockPasses(decoder)
            super().run_from(checkpoint)

    def training_step(self, model: Any, inputs: dict[str, Tensor], num_items_in_batch: Tensor | None = None) -> Tensor:
        """Learn from a batch."""
        if self._own is None:
            return super().training_step(model, inputs, num_items_in_batch)
        inputs = self._prepare_inputs(inputs)
        return self._own.learn(inputs, inputs["examples"] if num_items_in_batch is None else num_items_in_batch)

    def summed_loss(self, model: Any, inputs: dict[str, Tensor]) -> Tensor:
        """Return the sum of the losses of the predicted tokens."""
        losses, _ = token_losses(model, self._masks, inputs)
        return losses.sum() * inputs["weight"]

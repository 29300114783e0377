"""Training on answers: transformers' Trainer with the loss over answers and with batches of similar lengths."""

import math
from collections.abc import Sequence
from contextlib import nullcontext
from pathlib import Path
from typing import Any

import torch
from torch import Tensor
from transformers import TrainingArguments

from papertune.methods import PrefixModel
from papertune.models import AttentionMasks, answer_positions
from papertune.training.answers.batch import TrainingRow, collate, split_batch, tree_inputs
from papertune.training.answers.label_sets import LabelLosses, LabelSet, above_chance
from papertune.training.answers.loss import answer_losses
from papertune.training.answers.lower_states import LowerStates
from papertune.training.answers.own_passes import OwnPasses
from papertune.training.trainer import FitResult, FitSettings, ResumableTrainer, run_training

# On a CPU: maximum of padded tokens in one pass.
CPU_PART_TOKENS = 1024


def fit(model: Any, rows: Sequence[TrainingRow], label_sets: Sequence[LabelSet], settings: FitSettings) -> FitResult:
    """Train a model. Afterwards it has the weights that the dev score chose, or the last ones without a dev score.

    All processes have to call this with the same arguments; each learns from its share of the rows.

    Args:
        model: A model with trainable parameters, on its device; on the CPU if the processes will divide it.
        rows: The encoded rows.
        label_sets: The label sets that the loss runs over.
        settings: How the training runs.

    Returns:
        How the training ended, the same in all processes. After a signal a checkpoint has been written.
    """

    def make(arguments: TrainingArguments, callbacks: list[Any]) -> ResumableTrainer:
        return _AnswerTrainer(
            model, arguments, rows=rows, label_sets=label_sets, settings=settings, callbacks=callbacks
        )

    return run_training(make, settings, list(map(len, rows)), next(model.parameters()).device)


class _AnswerTrainer(ResumableTrainer):
    """The trainer with the loss over answers."""

    def __init__(
        self,
        model: Any,
        args: TrainingArguments,
        *,
        rows: Sequence[TrainingRow],
        label_sets: Sequence[LabelSet],
        settings: FitSettings,
        callbacks: list[Any],
    ) -> None:
        lengths = list(map(len, rows))
        dataset = list(enumerate(rows))
        super().__init__(model, args, dataset=dataset, lengths=lengths, settings=settings, callbacks=callbacks)
        self._label_sets = label_sets
        self._label_losses = LabelLosses(label_sets)  # since the last log entry
        self._virtual = model.prefix_length if isinstance(model, PrefixModel) else 0
        self._masks = AttentionMasks(model)
        # A GPU's passes are short, and those of single rows a waste of it.
        keeps_states = args.device.type == "cpu" and not self.is_sharded and self._repeats_rows()
        self._lower_states = LowerStates.of(model, rows) if keeps_states else None
        self._own: OwnPasses | None = None

    def _repeats_rows(self) -> bool:
        """Whether the training has more than one epoch."""
        epoch = math.ceil(len(self.get_train_dataloader()) / self.args.gradient_accumulation_steps)
        return bool(self.args.max_steps > epoch if self.args.max_steps > 0 else self.args.num_train_epochs > 1)

    def unlearned(self) -> Sequence[str]:
        """Return a warning for each label column that the model has not learned."""
        return above_chance(self._label_sets, self.state.log_history, self.args.learning_rate)

    def collate(self, rows: Sequence[tuple[int, TrainingRow]]) -> dict[str, Tensor]:
        """Build a batch of numbered rows."""
        # No rows are left for this process, but the others wait for its gradients: use a row with a weight of zero.
        chosen = rows or [min(self.train_dataset, key=lambda numbered: len(numbered[1]))]
        # Padding is never seen by other tokens and never a target, so any id works.
        batch = collate([row for _, row in chosen], pad_id=0)
        batch["numbers"] = torch.tensor([number for number, _ in chosen])
        return batch if rows else batch | {name: torch.zeros_like(batch[name]) for name in ("weights", "examples")}

    def split(self, batch: dict[str, Tensor]) -> list[dict[str, Tensor]]:
        """Split a batch into parts of few tokens."""
        return split_batch(batch, CPU_PART_TOKENS)

    def run_from(self, checkpoint: Path | None) -> None:
        """Train, in own passes where these cover the training."""
        with self.own_decoder() as decoder:
            if decoder is not None:
                if self._lower_states is not None:
                    self._lower_states.decoder = decoder
                self._own = OwnPasses(decoder, self._label_sets, self._lower_states)
            super().run_from(checkpoint)

    def training_step(self, model: Any, inputs: dict[str, Tensor], num_items_in_batch: Tensor | None = None) -> Tensor:
        """Learn from a batch."""
        if self._own is None:
            return super().training_step(model, inputs, num_items_in_batch)
        inputs = self._prepare_inputs(inputs)
        examples = inputs["examples"] if num_items_in_batch is None else num_items_in_batch
        learned = self._own.learn(inputs, examples)
        for part, losses in learned:
            self._label_losses.add(losses, part["label_sets"], part["weights"])
        return torch.stack([losses for _, losses in learned]).sum() / examples

    def summed_loss(self, model: Any, inputs: dict[str, Tensor]) -> Tensor:
        """Return the weighted sum of the losses of a batch's questions."""
        kept = self._lower_states
        width = inputs["input_ids"].shape[1]
        with (
            nullcontext() if kept is None else kept.given(inputs["numbers"], width),
            answer_positions(model, inputs["rows"], inputs["columns"]),
        ):
            tree = tree_inputs(self._masks, inputs, self._virtual)
            logits = model(input_ids=inputs["input_ids"], use_cache=False, **tree).logits
        losses = answer_losses(logits, inputs["targets"], inputs["label_sets"], inputs["weights"], self._label_sets)
        self._label_losses.add(losses.detach(), inputs["label_sets"], inputs["weights"])
        return losses.sum()

    def log(self, logs: dict[str, float], *arguments: Any, **options: Any) -> None:
        """Log; the loss of each label column, a weighted mean, beside the loss of all columns."""
        if "loss" in logs:
            logs = logs | self._label_losses.pop(lambda sums: self.accelerator.reduce(sums, "sum"))
        super().log(logs, *arguments, **options)

"""Learning a reward model from pairs (Ouyang et al. 2022, arXiv:2203.02155): -log sigmoid(reward - other reward)."""

from collections.abc import Sequence
from pathlib import Path
from typing import Any

import torch
from datasets import Dataset
from torch import Tensor
from trl import RewardConfig, RewardTrainer

from papertune.models import answer_positions
from papertune.models.reward_head import load_reward_head, save_reward_head
from papertune.training.arguments import OnModelDevice
from papertune.training.feedback.bridge import FeedbackTrainer, trl_values
from papertune.training.feedback.pairs import EncodedPair
from papertune.training.trainer import FitSettings


class _Arguments(OnModelDevice, RewardConfig):  # type: ignore[misc]
    """The arguments of a training on pairs."""


class RewardModelTrainer(FeedbackTrainer, RewardTrainer):  # type: ignore[misc]
    """TRL's trainer for a model of `add_reward_head`: rewards are its outputs at the ends of the answers."""

    numbers = {"accuracy": "pairs_right", "margin": "margin"}  # noqa: RUF012

    def compute_loss(self, model: Any, inputs: dict[str, Tensor], *arguments: Any, **options: Any) -> Any:
        """Return the loss of a batch of pairs."""
        ends = inputs["attention_mask"].sum(dim=1) - 1
        with answer_positions(model, torch.arange(len(ends), device=ends.device), ends):
            return super().compute_loss(model, inputs, *arguments, **options)

    def _save(self, output_dir: str | None = None, state_dict: dict[str, Any] | None = None) -> None:
        super()._save(output_dir, state_dict)
        save_reward_head(self.model, Path(output_dir or self.args.output_dir))

    def _load_from_checkpoint(self, resume_from_checkpoint: str, model: Any = None) -> None:
        super()._load_from_checkpoint(resume_from_checkpoint, model)
        load_reward_head(self.model, Path(resume_from_checkpoint))


def reward_trainer(
    model: Any,
    tokenizer: Any,
    pairs: Sequence[EncodedPair],
    settings: FitSettings,
    callbacks: list[Any],
) -> RewardModelTrainer:
    """Return a trainer of a model with a reward head and a trainable adapter."""
    model.config.num_labels = 1  # what TRL asks of a reward model
    device = next(model.parameters()).device
    rows = [
        {"chosen_ids": [*pair.prompt, *pair.chosen], "rejected_ids": [*pair.prompt, *pair.rejected]} for pair in pairs
    ]
    return RewardModelTrainer(
        model,
        _Arguments(device, **trl_values(settings, device), max_length=None),
        train_dataset=Dataset.from_list(rows),
        processing_class=tokenizer,
        callbacks=callbacks,
    )

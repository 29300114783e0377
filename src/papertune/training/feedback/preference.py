"""Learning preferences without a reward model: DPO from pairs, KTO from judged answers.

The log-probabilities of the start are computed once, before the first step, by the adapter as it is then.
"""

from collections.abc import Mapping, Sequence
from typing import Any

import torch
from datasets import Dataset
from torch import Tensor
from torch.utils.data import DataLoader
from trl import DPOConfig, DPOTrainer, KTOConfig, KTOTrainer

from papertune.recipe import TrainingSpec
from papertune.training.arguments import OnModelDevice
from papertune.training.feedback.bridge import FeedbackTrainer, trl_values
from papertune.training.feedback.pairs import EncodedPair, EncodedThumb
from papertune.training.trainer import FitSettings

# The adapter that TRL keeps as the start.
_START = "ref"


class _DpoArguments(OnModelDevice, DPOConfig):  # type: ignore[misc]
    """The arguments of DPO."""


class _KtoArguments(OnModelDevice, KTOConfig):  # type: ignore[misc]
    """The arguments of KTO."""


class _PreferenceTrainer(FeedbackTrainer):
    """What the trainers of DPO and KTO have in common."""

    # Of TRL's trainers.
    accelerator: Any
    data_collator: Any
    compute_ref_log_probs: Any

    reference_columns: tuple[str, ...]

    def _prepare_dataset(self, dataset: Dataset, *_: Any) -> Dataset:
        return dataset  # it has token ids already

    def _precompute_ref_logps(self, dataset: Dataset, name: str, batch_size: int) -> Dataset:
        """Return the dataset with the log-probabilities of the start; TRL would keep them in a file."""
        found: list[Any] = []
        for batch in DataLoader(dataset, batch_size=batch_size, collate_fn=self.data_collator):
            batch = {key: value.to(self.accelerator.device) for key, value in batch.items()}
            found += zip(*(each.tolist() for each in self.compute_ref_log_probs(self.model, batch)), strict=True)
        for column, values in zip(self.reference_columns, zip(*found, strict=True), strict=True):
            dataset = dataset.add_column(column, list(values))
        return dataset

    def drop_start(self) -> None:
        """Remove the copy of the start, which is needed no more and would be part of each checkpoint."""
        self.model.delete_adapter(_START)


class PairTrainer(_PreferenceTrainer, DPOTrainer):  # type: ignore[misc]
    """TRL's DPO on encoded pairs."""

    numbers = {  # noqa: RUF012
        "rewards/accuracies": "pairs_right",
        "rewards/margins": "margin",
        "logps/chosen": "chosen_log_prob",
        "logps/rejected": "rejected_log_prob",
    }
    reference_columns = ("ref_chosen_logps", "ref_rejected_logps")


class ThumbTrainer(_PreferenceTrainer, KTOTrainer):  # type: ignore[misc]
    """TRL's KTO on encoded answers, with the loss of good answers beside it."""

    numbers = {  # noqa: RUF012
        "rewards/chosen": "reward_good",
        "rewards/rejected": "reward_bad",
        "kl": "kl",
    }
    reference_columns = ("ref_logps", "ref_KL_logps")
    sft_weight: float

    def _compute_loss(self, model: Any, inputs: Mapping[str, Any], return_outputs: bool = False) -> Tensor:
        passes = _LastPass(model)
        loss: Tensor = super()._compute_loss(passes, inputs, False)
        good = inputs["label"].bool()
        mask = inputs["completion_mask"][:, 1:].bool() & good[:, None]
        if self.sft_weight and mask.any():
            loss = loss - self.sft_weight * passes.output.log_probs[mask].mean()
        return loss


class _LastPass:
    """A model that remembers its last output: TRL's last pass is the one with gradients.

    Args:
        model: The model.
    """

    def __init__(self, model: Any) -> None:
        self._model = model
        self.output: Any = None

    def __call__(self, *arguments: Any, **options: Any) -> Any:
        self.output = self._model(*arguments, **options)
        return self.output


def pair_trainer(
    model: Any,
    tokenizer: Any,
    pairs: Sequence[EncodedPair],
    weights: tuple[float, float],
    settings: FitSettings,
    callbacks: list[Any],
) -> PairTrainer:
    """Return a trainer of DPO.

    Args:
        model: A model with a trainable adapter, which is the start.
        tokenizer: Its tokenizer.
        pairs: The pairs.
        weights: beta, and the weight of the loss of the better answer.
        settings: How the training runs.
        callbacks: Callbacks.
    """
    beta, sft_weight = weights
    device = next(model.parameters()).device
    arguments = _DpoArguments(
        device,
        **trl_values(settings, device),
        max_length=None,
        precompute_ref_log_probs=True,
        beta=beta,
        loss_type=["sigmoid", "sft"] if sft_weight else ["sigmoid"],
        loss_weights=[1.0, sft_weight] if sft_weight else [1.0],
    )
    rows = [{"prompt_ids": pair.prompt, "chosen_ids": pair.chosen, "rejected_ids": pair.rejected} for pair in pairs]
    trainer = PairTrainer(
        model, args=arguments, train_dataset=Dataset.from_list(rows), processing_class=tokenizer, callbacks=callbacks
    )
    trainer.drop_start()
    return trainer


def thumb_trainer(
    model: Any,
    tokenizer: Any,
    thumbs: Sequence[EncodedThumb],
    weights: tuple[float, float],
    settings: FitSettings,
    callbacks: list[Any],
) -> ThumbTrainer:
    """Return a trainer of KTO; its arguments are those of `pair_trainer`."""
    beta, sft_weight = weights
    device = next(model.parameters()).device
    arguments = _KtoArguments(
        device,
        **trl_values(settings, device),
        max_length=None,
        precompute_ref_log_probs=True,
        beta=beta,
    )
    trainer = ThumbTrainer(
        model,
        args=arguments,
        train_dataset=Dataset.from_list(_thumb_rows(thumbs, settings.spec)),
        processing_class=tokenizer,
        callbacks=callbacks,
    )
    trainer.sft_weight = sft_weight
    trainer.drop_start()
    return trainer


def _thumb_rows(thumbs: Sequence[EncodedThumb], spec: TrainingSpec) -> list[dict[str, Any]]:
    """Return the rows of KTO in a random order, each with the answer to another prompt of its batch.

    These estimate the divergence from the start; a last batch of one row joins the one before, since it has no other.
    """
    order = torch.randperm(len(thumbs), generator=torch.Generator().manual_seed(spec.seed)).tolist()
    shuffled = [thumbs[number] for number in order]
    rows: list[dict[str, Any]] = []
    for begin in range(0, len(shuffled), spec.micro_batch_size):
        batch = shuffled[begin : begin + spec.micro_batch_size]
        others = [shuffled[begin - 1], *batch] if len(batch) == 1 else [batch[-1], *batch]
        rows += [
            {
                "prompt_ids": thumb.prompt,
                "completion_ids": thumb.answer,
                "KL_completion_ids": other.answer,
                "label": thumb.good,
            }
            for thumb, other in zip(batch, others, strict=False)
        ]
    return rows

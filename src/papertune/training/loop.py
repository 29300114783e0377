"""Training: transformers' Trainer with the answer-only loss and length batches."""

import logging
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from functools import partial
from pathlib import Path
from typing import Any

import torch
from torch import Tensor
from torch.utils.data import DataLoader
from transformers import PrinterCallback, Trainer, TrainingArguments
from transformers import ProgressCallback as BarCallback

from papertune.config import TrainingSpec
from papertune.encoding import LengthBatchSampler
from papertune.methods import PrefixModel, adapters_in_compute_dtype, merged_products
from papertune.models import AttentionMasks, answer_positions
from papertune.training.batch import TrainingRow, collate, tree_inputs
from papertune.training.callbacks import (
    SCORE,
    CheckpointCallback,
    FlowCallback,
    MetricsCallback,
    Progress,
    ProgressCallback,
    StopRequest,
)
from papertune.training.checkpoints import checkpoint_path, complete_checkpoints, remove_all, remove_incomplete
from papertune.training.loss import answer_loss

# Takes the model in training, gives scores by name; "score" is the one that chooses the best checkpoint.
DevScore = Callable[[Any], Mapping[str, float]]


@dataclass(frozen=True)
class FitResult:
    """How a training ended.

    Attributes:
        steps: Optimizer steps in all, those before a resume included.
        best_step: The step whose weights the model has now, if a dev score chose it.
        best_score: Its dev score.
        stop_signal: The signal that ended it early; None if it came to its end.
    """

    steps: int
    best_step: int | None
    best_score: float | None
    stop_signal: int | None


def fit(
    model: Any,
    rows: Sequence[TrainingRow],
    label_tokens: Sequence[Sequence[int]],
    spec: TrainingSpec,
    folder: Path,
    *,
    compute_dtype: torch.dtype,
    metrics_file: Path,
    dev_score: DevScore | None = None,
    resume: bool = False,
    progress: Progress | None = None,
) -> FitResult:
    """Train a model; afterwards it has the best weights, or the last ones where no dev score chose.

    Args:
        model: A model with trainable weights, on its device.
        rows: The encoded rows.
        label_tokens: For each label set the token ids of its labels.
        spec: How to train.
        folder: For the checkpoints.
        compute_dtype: What products are done in; trainable weights stay float32.
        metrics_file: JSON lines of losses and dev scores.
        dev_score: Scores the model on dev rows.
        resume: Go on from the last complete checkpoint, if there is one; else all checkpoints in the folder go.
        progress: A display.

    Returns:
        How it ended. After a signal a checkpoint has been written.
    """
    stop = StopRequest()
    if not resume:
        remove_all(folder)  # an older training's would count as newer ones than this one's first
    remove_incomplete(folder)
    checkpoints = complete_checkpoints(folder)
    trainer = _AnswerTrainer(
        model,
        _arguments(spec, folder, device=next(model.parameters()).device, dtype=compute_dtype),
        rows=rows,
        label_tokens=label_tokens,
        dev_score=dev_score,
        callbacks=[
            FlowCallback(stop, has_dev=dev_score is not None, patience=spec.patience),
            CheckpointCallback(folder, spec.keep_checkpoints),
            MetricsCallback(metrics_file),
            *([ProgressCallback(progress, spec.micro_batch_size * spec.accumulation)] if progress else []),
        ],
    )
    # Its notes on remade optimizers and missing configs are for people who wrote the loop themselves.
    logging.getLogger("transformers.trainer").setLevel(logging.ERROR)
    with stop.listening(), adapters_in_compute_dtype(model, compute_dtype), merged_products(model, compute_dtype):
        trainer.train(resume_from_checkpoint=str(checkpoints[-1]) if checkpoints else None)
    if stop.signal is None and dev_score is not None and trainer.state.best_global_step:
        trainer.load_weights(checkpoint_path(folder, trainer.state.best_global_step))
    model.eval()
    return FitResult(
        steps=trainer.state.global_step,
        best_step=trainer.state.best_global_step,
        best_score=trainer.state.best_metric,
        stop_signal=stop.signal,
    )


class _AnswerTrainer(Trainer):  # type: ignore[misc]
    """The Trainer with our loss, our batches and our dev score."""

    def __init__(
        self,
        model: Any,
        args: TrainingArguments,
        *,
        rows: Sequence[TrainingRow],
        label_tokens: Sequence[Sequence[int]],
        dev_score: DevScore | None,
        callbacks: list[Any],
    ) -> None:
        # Padding is never seen by a real token and never a target, so any id will do.
        super().__init__(model, args, train_dataset=rows, data_collator=partial(collate, pad_id=0), callbacks=callbacks)
        self.remove_callback(PrinterCallback)
        self.remove_callback(BarCallback)
        # compute_loss divides by the examples of the whole optimizer step; the second name is that of older versions.
        self.loss_is_scaled_for_ga = self.model_accepts_loss_kwargs = True
        self._label_tokens = [torch.tensor(tokens, device=args.device) for tokens in label_tokens]
        self._lengths = list(map(len, rows))
        self._dev_score = dev_score
        self._virtual = model.prefix_length if isinstance(model, PrefixModel) else 0
        self._masks = AttentionMasks(model)

    def get_train_dataloader(self) -> DataLoader[Any]:
        """Batch by length."""
        sampler = LengthBatchSampler(self._lengths, self.args.train_batch_size, self.args.seed)
        loader = DataLoader(
            self.train_dataset,
            batch_sampler=sampler,
            collate_fn=self.data_collator,
            pin_memory=self.args.dataloader_pin_memory,
        )
        return self.accelerator.prepare(loader)  # type: ignore[no-any-return]

    def _get_num_items_in_batch(self, batch_samples: list[dict[str, Tensor]], device: torch.device) -> Tensor:
        examples = torch.stack([batch["examples"] for batch in batch_samples]).sum().to(device)
        return self.accelerator.gather(examples).sum() if self.args.world_size > 1 else examples

    def compute_loss(
        self,
        model: Any,
        inputs: dict[str, Tensor],
        return_outputs: bool = False,
        num_items_in_batch: Tensor | None = None,
    ) -> Tensor:
        """Give this batch's share of the mean over the examples of the optimizer step."""
        with answer_positions(model, inputs["rows"], inputs["columns"]):
            tree = tree_inputs(self._masks, inputs, self._virtual)
            logits = model(input_ids=inputs["input_ids"], use_cache=False, **tree).logits
        loss = answer_loss(logits, inputs["targets"], inputs["label_sets"], inputs["weights"], self._label_tokens)
        examples = inputs["examples"] if num_items_in_batch is None else num_items_in_batch
        # DDP takes the mean of the processes' gradients, and the division above has already been by all examples.
        share: Tensor = loss * self.accelerator.num_processes / examples
        return share

    def evaluate(self, *_: Any, **__: Any) -> dict[str, float]:
        """Score the dev rows."""
        assert self._dev_score is not None
        self.model.eval()
        metrics = {f"eval_{name}": value for name, value in self._dev_score(self.model).items()}
        assert SCORE in metrics
        self.log(metrics)
        self.callback_handler.on_evaluate(self.args, self.state, self.control, metrics)
        return metrics

    def load_weights(self, checkpoint: Path) -> None:
        """Put a checkpoint's weights into the model."""
        self._load_from_checkpoint(str(checkpoint))

    def _save(self, output_dir: str | None = None, state_dict: dict[str, Any] | None = None) -> None:
        super()._save(output_dir, state_dict)
        if isinstance(self.model, PrefixModel) and self.args.should_save:
            self.model.save_encoder(Path(output_dir or self.args.output_dir))

    def _load_from_checkpoint(self, resume_from_checkpoint: str, model: Any = None) -> None:
        if isinstance(self.model, PrefixModel):
            self.model.load_encoder(Path(resume_from_checkpoint))
        else:
            super()._load_from_checkpoint(resume_from_checkpoint, model)


def _arguments(spec: TrainingSpec, folder: Path, *, device: torch.device, dtype: torch.dtype) -> TrainingArguments:
    on_cpu = device.type == "cpu"
    return TrainingArguments(
        output_dir=str(folder),
        num_train_epochs=spec.epochs,
        max_steps=spec.max_steps or -1,
        per_device_train_batch_size=spec.micro_batch_size,
        gradient_accumulation_steps=spec.accumulation,
        learning_rate=spec.learning_rate,
        lr_scheduler_type=_SCHEDULES[spec.schedule],
        warmup_steps=spec.warmup_steps,
        weight_decay=spec.weight_decay,
        max_grad_norm=spec.max_grad_norm,
        seed=spec.seed,
        bf16=dtype == torch.bfloat16,
        fp16=dtype == torch.float16,
        logging_steps=spec.logging_steps,
        logging_first_step=True,
        eval_strategy="no",  # FlowCallback asks for dev scores
        metric_for_best_model=SCORE,
        greater_is_better=True,
        save_strategy="steps" if spec.save_steps else "epoch",
        save_steps=spec.save_steps or 1,
        report_to=list(spec.report_to) or "none",
        disable_tqdm=True,
        remove_unused_columns=False,
        use_cpu=on_cpu,
        dataloader_pin_memory=not on_cpu,
    )


_SCHEDULES = {"cosine": "cosine", "linear": "linear", "constant": "constant_with_warmup"}

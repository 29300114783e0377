"""Training: transformers' Trainer with the answer-only loss and length batches."""

import logging
from collections.abc import Callable, Mapping, Sequence
from contextlib import nullcontext
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path
from typing import Any

import torch
from accelerate import DistributedType
from accelerate.data_loader import prepare_data_loader
from torch import Tensor
from torch.utils.data import DataLoader
from transformers import PrinterCallback, Trainer, TrainerState, TrainingArguments
from transformers import ProgressCallback as BarCallback
from transformers.trainer import TRAINER_STATE_NAME

from papertune.errors import RecipeError
from papertune.events import SILENT, Listener
from papertune.methods import PrefixModel, adapters_in_compute_dtype
from papertune.methods.merged_products import merged_products
from papertune.models import AttentionMasks, answer_positions
from papertune.recipe import TrainingSpec
from papertune.training.batch import TrainingRow, collate, split_batch, tree_inputs
from papertune.training.callbacks import (
    SCORE,
    CheckpointCallback,
    FlowCallback,
    MetricsCallback,
    ProgressCallback,
    StopRequest,
    dev_qualities,
    patience_is_over,
)
from papertune.training.checkpoints import checkpoint_path, complete_checkpoints, remove_all, remove_incomplete
from papertune.training.loss import answer_loss
from papertune.training.processes import Processes
from papertune.training.shares import SharedBatchSampler

# Padded tokens that go through the model together on a CPU.
CPU_PART_TOKENS = 1024

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
        sharded_to: The checkpoint with those weights, where the model in memory is divided among the processes and
            must not be used any more; else None.
    """

    steps: int
    best_step: int | None
    best_score: float | None
    stop_signal: int | None
    sharded_to: Path | None = None


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
    listener: Listener = SILENT,
    processes: Processes | None = None,
) -> FitResult:
    """Train a model; afterwards it has the best weights, or the last ones where no dev score chose.

    Of several processes all have to call this, with the same arguments; each learns from its share of the rows.

    Args:
        model: A model with trainable weights, on its device; or on the CPU, where several processes will divide it.
        rows: The encoded rows.
        label_tokens: For each label set the token ids of its labels.
        spec: How to train.
        folder: For the checkpoints.
        compute_dtype: What products are done in; trainable weights stay float32.
        metrics_file: JSON lines of losses and dev scores.
        dev_score: Scores the model on dev rows.
        resume: Go on from the last complete checkpoint, if there is one; else all checkpoints in the folder go.
        listener: Gets each step, in the first process only.
        processes: Those of the training; None: this one alone.

    Returns:
        How it ended, the same in all processes. After a signal a checkpoint has been written.
    """
    processes = processes or Processes()
    stop = StopRequest(processes)
    last = processes.first_value(lambda: _tidied(folder, resume=resume))
    place = torch.device(processes.device) if processes.count > 1 else next(model.parameters()).device
    trainer = _AnswerTrainer(
        model,
        _arguments(spec, folder, place, compute_dtype),
        rows=rows,
        label_tokens=label_tokens,
        dev_score=dev_score,
        processes=processes,
        callbacks=[
            FlowCallback(stop, has_dev=dev_score is not None, patience=spec.patience),
            CheckpointCallback(folder, spec.keep_checkpoints, processes),
        ],
    )
    if processes.is_first:
        trainer.add_callback(MetricsCallback(metrics_file))
        rows_per_step = spec.micro_batch_size * spec.accumulation * processes.count
        trainer.add_callback(ProgressCallback(listener, rows_per_step))
    if processes.count > 1:
        torch.manual_seed(spec.seed + processes.index)  # or all would drop out the same of different rows
    # Its notes on remade optimizers and missing configs are for people who wrote the loop themselves.
    logging.getLogger("transformers.trainer").setLevel(logging.ERROR)
    # A layer that is divided is put together for its own forward pass, which merged products would go around.
    products = nullcontext() if trainer.is_sharded else merged_products(model, compute_dtype)
    if ended := _ended_early(last, 0 if dev_score is None else spec.patience):
        trainer.state = ended  # after it there was only more to find out with the weights
    else:
        with stop.listening(), adapters_in_compute_dtype(model, compute_dtype), products:
            trainer.train(resume_from_checkpoint=None if last is None else str(last))
    stop_signal = stop.agreed_signal()
    # A resumed training may remember dev scores that it no longer goes by.
    state = trainer.state
    best_step, best_score = (state.best_global_step, state.best_metric) if dev_score is not None else (None, None)
    chosen = checkpoint_path(folder, best_step or state.global_step)
    if stop_signal is None and best_step and not trainer.is_sharded:
        trainer.load_weights(chosen)
    model.eval()
    return FitResult(
        steps=state.global_step,
        best_step=best_step,
        best_score=best_score,
        stop_signal=stop_signal,
        sharded_to=chosen if trainer.is_sharded else None,
    )


def _tidied(folder: Path, *, resume: bool) -> Path | None:
    """Remove checkpoints that nothing can go on from, and give the last of the others."""
    if not resume:
        remove_all(folder)  # an older training's would count as newer ones than this one's first
    remove_incomplete(folder)
    checkpoints = complete_checkpoints(folder)
    return checkpoints[-1] if checkpoints else None


def _ended_early(checkpoint: Path | None, patience: int) -> TrainerState | None:
    """Give the state of a training that ended with this checkpoint since its dev score did not rise, else None.

    The trainer remembers the scores, but not that it has ended for them: it would go on.
    """
    if checkpoint is None:
        return None
    state = TrainerState.load_from_json(str(checkpoint / TRAINER_STATE_NAME))
    return state if patience_is_over(state, patience) else None


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
        processes: Processes,
        callbacks: list[Any],
    ) -> None:
        super().__init__(model, args, train_dataset=rows, data_collator=self._collate, callbacks=callbacks)
        self.remove_callback(PrinterCallback)
        self.remove_callback(BarCallback)
        # compute_loss divides by the examples of the whole optimizer step; the second name is that of older versions.
        self.loss_is_scaled_for_ga = self.model_accepts_loss_kwargs = True
        self._label_tokens = [torch.tensor(tokens, device=args.device) for tokens in label_tokens]
        self._lengths = list(map(len, rows))
        self._dev_score = dev_score
        self._processes = processes
        self._virtual = model.prefix_length if isinstance(model, PrefixModel) else 0
        self._masks = AttentionMasks(model)
        with processes.agreed():
            if self.is_sharded:
                self._check_sharded_method()

    @property
    def is_sharded(self) -> bool:
        """Whether the processes divide the weights among them, so that each pass needs them all."""
        return bool(self.is_fsdp_enabled or self.is_deepspeed_enabled)

    def _check_sharded_method(self) -> None:
        if isinstance(self.model, PrefixModel):
            raise RecipeError(
                'method.kind = "ptuning_v2" cannot be trained with FSDP or DeepSpeed. Start it without them: a prefix '
                "is small, and each process has the whole model."
            )
        kind = str(self.accelerator.state.fsdp_plugin.state_dict_type) if self.is_fsdp_enabled else ""
        if "SHARDED" in kind:
            raise RecipeError(
                "FSDP is set to save each process's part apart (SHARDED_STATE_DICT), and a run has whole weights. Add "
                "--fsdp_state_dict_type FULL_STATE_DICT to accelerate launch."
            )

    def get_train_dataloader(self) -> DataLoader[Any]:
        """Batch by length, and take this process's share."""
        sampler = SharedBatchSampler(
            self._lengths,
            self.args.train_batch_size,
            self.args.seed,
            accumulation=self.args.gradient_accumulation_steps,
            index=self._processes.index,
            count=self._processes.count,
        )
        loader = DataLoader(
            self.train_dataset,
            batch_sampler=sampler,
            collate_fn=self.data_collator,
            pin_memory=self.args.dataloader_pin_memory,
        )
        # Told that it is alone: accelerate's own way to share batches out repeats rows to make up the last ones, and
        # hides our sampler from the trainer, which then cannot tell it the epoch.
        return prepare_data_loader(  # type: ignore[no-any-return]
            loader, self.args.device, num_processes=1, process_index=0, put_on_device=True
        )

    def _collate(self, rows: Sequence[TrainingRow]) -> dict[str, Tensor]:
        # Padding is never seen by a real token and never a target, so any id will do.
        if rows:
            return collate(rows, pad_id=0)
        # Nothing is left for this process, but the others wait for its gradients: some row, counted as none.
        batch = collate([min(self.train_dataset, key=len)], pad_id=0)
        return batch | {name: torch.zeros_like(batch[name]) for name in ("weights", "examples")}

    def _get_num_items_in_batch(self, batch_samples: list[dict[str, Tensor]], device: torch.device) -> Tensor:
        examples = torch.stack([batch["examples"] for batch in batch_samples]).sum().to(device)
        return self.accelerator.gather(examples).sum() if self.args.world_size > 1 else examples

    def training_step(self, model: Any, inputs: dict[str, Tensor], num_items_in_batch: Tensor | None = None) -> Tensor:
        """Learn from a batch; on a CPU in parts, whose activations fit its caches and are gone before the next come.

        Products of so many tokens are as fast there as larger ones. A GPU wants the whole batch. So do processes that
        divide the weights: each pass needs them all, and they may have other numbers of parts.
        """
        inputs = self._prepare_inputs(inputs)
        in_parts = self.args.device.type == "cpu" and not self.is_sharded
        parts = split_batch(inputs, CPU_PART_TOKENS) if in_parts else [inputs]
        losses: list[Tensor] = []
        for number, part in enumerate(parts, start=1):
            # Processes add their gradients up once a batch; they may have other numbers of parts.
            with nullcontext() if number == len(parts) else self.accelerator.no_sync(model):
                losses.append(super().training_step(model, part, num_items_in_batch))
        return torch.stack(losses).sum()

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
        dev_score = self._dev_score
        self.model.eval()
        scores = self._processes.first_value(lambda: dict(dev_score(self.model)), together=self.is_sharded)
        metrics = {f"eval_{name}": value for name, value in scores.items()}
        assert SCORE in metrics
        self.log(metrics)
        self.callback_handler.on_evaluate(self.args, self.state, self.control, metrics)
        return metrics

    def _determine_best_metric(self, metrics: dict[str, float], trial: Any) -> bool:
        """Tell whether the dev score that was logged last is a new best, and remember it if so."""
        *before, last = dev_qualities(self.state)
        is_new_best = all(last > other for other in before)
        if is_new_best:
            self.state.best_metric = metrics[SCORE]
            self.state.best_global_step = self.state.global_step
        return is_new_best

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


class _Arguments(TrainingArguments):  # type: ignore[misc]
    """Arguments with which one process trains on its model's device alone.

    By itself the Trainer takes the first GPU, and where it sees more it trains copies of the model on all of them, with
    as many times the rows in a batch. That is what several processes are for: they have devices of their own already.

    Args:
        place: The model's device.
        settings: Of TrainingArguments.
    """

    def __init__(self, place: torch.device, **settings: Any) -> None:
        self._place = place  # wanted while the others are checked
        super().__init__(**settings)

    @cached_property
    def _setup_devices(self) -> torch.device:
        device: torch.device = super()._setup_devices
        if self.distributed_state.distributed_type != DistributedType.NO:
            return device
        self._n_gpu = 1
        self.distributed_state.device = self._place  # where accelerate puts the model
        if self._place.type == "cuda":
            torch.cuda.set_device(self._place)  # for kernels that ask for the current one
        return self._place


def _arguments(spec: TrainingSpec, folder: Path, place: torch.device, dtype: torch.dtype) -> TrainingArguments:
    on_cpu = place.type == "cpu"
    return _Arguments(
        place,
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
        ddp_find_unused_parameters=False,  # each pass uses all that is trained
        ddp_broadcast_buffers=False,  # they never change
    )


_SCHEDULES = {"cosine": "cosine", "linear": "linear", "constant": "constant_with_warmup"}

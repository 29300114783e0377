"""What trainings of all losses have in common: stopping, checkpoints, dev scores, several processes.

A training that was killed and resumed ends with the same weights, bit for bit, as one that was not.
"""

import logging
from abc import abstractmethod
from collections.abc import Callable, Mapping, Sequence
from contextlib import AbstractContextManager, nullcontext
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import torch
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
from papertune.recipe import TrainingSpec
from papertune.startup.garbage import objects_set_aside
from papertune.training.arguments import training_arguments
from papertune.training.callbacks import (
    CheckpointCallback,
    FlowCallback,
    MetricsCallback,
    ProgressCallback,
    ScoredOnDevRows,
    StopRequest,
    patience_is_over,
)
from papertune.training.checkpoints import checkpoint_path, complete_checkpoints, remove_all, remove_incomplete
from papertune.training.layers.decoder import Decoder, own_decoder
from papertune.training.processes import Processes
from papertune.training.shares import SharedBatchSampler, StepTokens

# Own passes keep attention weights, whose number grows with the square of a row's length.
LONGEST_OWN_ROW = 1280

# Returns scores of the model in training by name; "score" chooses the best checkpoint.
DevScore = Callable[[Any], Mapping[str, float]]


@dataclass(frozen=True)
class FitSettings:
    """How a training runs, whatever its loss.

    Attributes:
        spec: How to train.
        folder: Folder of the checkpoints.
        metrics_file: JSON lines with losses and dev scores.
        compute_dtype: Number format of products; trainable parameters stay float32.
        dev_score: Scores the model on dev rows; None: there are none.
        resume: Continue from the last complete checkpoint, if any; otherwise all checkpoints in the folder are removed.
        listener: Gets the progress after each step, in the first process only.
        processes: The processes of the training.
    """

    spec: TrainingSpec
    folder: Path
    metrics_file: Path
    compute_dtype: torch.dtype
    dev_score: DevScore | None = None
    resume: bool = False
    listener: Listener = SILENT
    processes: Processes = field(default_factory=Processes)


@dataclass(frozen=True)
class FitResult:
    """How a training ended.

    Attributes:
        steps: All optimizer steps, including those before a resume.
        best_step: The step that the dev score chose, whose weights the model has now; None without a dev score.
        best_score: Its dev score.
        stop_signal: The signal that stopped the training early, or None.
        unlearned: A warning for each label column that the model has not learned.
        sharded_to: The checkpoint with the weights, if the model in memory is divided among the processes and must not
            be used any more; else None.
    """

    steps: int
    best_step: int | None
    best_score: float | None
    stop_signal: int | None
    unlearned: Sequence[str] = ()
    sharded_to: Path | None = None


class ResumableTrainer(ScoredOnDevRows, Trainer):  # type: ignore[misc]
    """The Trainer with batches of similar lengths, a dev score and processes that agree.

    Subclasses have the loss. Their batches have "examples", by whose sum over an optimizer step the loss is divided.

    Args:
        model: A model with trainable parameters, on its device; on the CPU if the processes will divide it.
        args: Arguments of the Trainer.
        dataset: The rows, by index.
        lengths: Length of each row in tokens.
        settings: How the training runs.
        callbacks: Callbacks of the Trainer.
    """

    def __init__(
        self,
        model: Any,
        args: TrainingArguments,
        *,
        dataset: Any,
        lengths: Sequence[int],
        settings: FitSettings,
        callbacks: list[Any],
    ) -> None:
        super().__init__(model, args, train_dataset=dataset, data_collator=self.collate, callbacks=callbacks)
        self.remove_callback(PrinterCallback)
        self.remove_callback(BarCallback)
        # compute_loss divides by the examples of the optimizer step. Older versions use the second name.
        self.loss_is_scaled_for_ga = self.model_accepts_loss_kwargs = True
        self._lengths = lengths
        self._dev_score = settings.dev_score
        self._processes = settings.processes
        self._compute_dtype = settings.compute_dtype
        with self._processes.shared_errors():
            if self.is_sharded:
                self._check_sharded_method()

    @abstractmethod
    def collate(self, rows: Sequence[Any]) -> dict[str, Tensor]:
        """Build a batch of rows; without any, one whose loss is zero: other processes wait for the gradients."""

    @abstractmethod
    def split(self, batch: dict[str, Tensor]) -> list[dict[str, Tensor]]:
        """Split a batch into parts whose losses add up to that of the batch."""

    @abstractmethod
    def summed_loss(self, model: Any, inputs: dict[str, Tensor]) -> Tensor:
        """Return the sum of the losses of a batch, scalar."""

    def compute_loss(
        self,
        model: Any,
        inputs: dict[str, Tensor],
        return_outputs: bool = False,
        num_items_in_batch: Tensor | None = None,
    ) -> Tensor:
        """Return this batch's share of the mean loss over the examples of the optimizer step."""
        examples = inputs["examples"] if num_items_in_batch is None else num_items_in_batch
        # DDP averages the gradients of the processes, but the loss is already divided by the examples of all.
        share: Tensor = self.summed_loss(model, inputs) * self.accelerator.num_processes / examples
        return share

    def unlearned(self) -> Sequence[str]:
        """Return a warning for each column that the model has not learned."""
        return ()

    @property
    def is_sharded(self) -> bool:
        """Whether the weights are divided among the processes, so that each pass needs all of them."""
        return bool(self.is_fsdp_enabled or self.is_deepspeed_enabled)

    def _check_sharded_method(self) -> None:
        if isinstance(self.model, PrefixModel):
            raise RecipeError(
                'method.kind = "ptuning_v2" cannot be trained with FSDP or DeepSpeed. Start without them: a prefix is '
                "small, and each process has the whole model."
            )
        kind = str(self.accelerator.state.fsdp_plugin.state_dict_type) if self.is_fsdp_enabled else ""
        if "SHARDED" in kind:
            raise RecipeError(
                "FSDP is set to save the part of each process by itself (SHARDED_STATE_DICT), but a run needs all "
                "weights together. Add --fsdp_state_dict_type FULL_STATE_DICT to accelerate launch."
            )

    def own_decoder(self) -> AbstractContextManager[Decoder | None]:
        """Return the passes of `training.layers`, None where these do not cover the training.

        They do where one process trains LoRA on a CPU, on rows that are short enough, in a model that they cover.
        """
        alone = self.args.device.type == "cpu" and self.args.world_size == 1 and not self.is_sharded
        if not alone or max(self._lengths) > LONGEST_OWN_ROW:
            return nullcontext()
        return own_decoder(self.model, self._compute_dtype)

    def run_from(self, checkpoint: Path | None) -> None:
        """Train, from a checkpoint if there is one."""
        if self._processes.count > 1:  # or dropout would be the same in all processes
            torch.manual_seed(self.args.seed + self._processes.index)
        # Its notes on rebuilt optimizers and missing configs are meant for people who write the loop themselves.
        logging.getLogger("transformers.trainer").setLevel(logging.ERROR)
        # A divided layer is put together for its own forward pass, which merged products would bypass.
        products = nullcontext() if self.is_sharded else merged_products(self.model, self._compute_dtype)
        with adapters_in_compute_dtype(self.model, self._compute_dtype), products:
            self.train(resume_from_checkpoint=None if checkpoint is None else str(checkpoint))

    def finish(self, folder: Path, stop_signal: int | None) -> FitResult:
        """Load the chosen weights and return how the training ended."""
        # A resumed training may remember dev scores that it no longer uses.
        best_step, best_score = (
            (None, None) if self._dev_score is None else (self.state.best_global_step, self.state.best_metric)
        )
        chosen = checkpoint_path(folder, best_step or self.state.global_step)
        if stop_signal is None and best_step and not self.is_sharded:
            self._load_from_checkpoint(str(chosen))
        self.model.eval()
        return FitResult(
            steps=self.state.global_step,
            best_step=best_step,
            best_score=best_score,
            stop_signal=stop_signal,
            unlearned=self.unlearned(),
            sharded_to=chosen if self.is_sharded else None,
        )

    def get_train_dataloader(self) -> DataLoader[Any]:
        """Return the loader of this process's share of the batches."""
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
        # As for one process: accelerate's own sharing would repeat rows to fill the last batches, and hide our sampler
        # from the trainer, which then could not set its epoch.
        return prepare_data_loader(  # type: ignore[no-any-return]
            loader, self.args.device, num_processes=1, process_index=0, put_on_device=True
        )

    def _get_num_items_in_batch(self, batch_samples: list[dict[str, Tensor]], device: torch.device) -> Tensor:
        examples = torch.stack([batch["examples"] for batch in batch_samples]).sum().to(device)
        return self.accelerator.gather(examples).sum() if self.args.world_size > 1 else examples

    def training_step(self, model: Any, inputs: dict[str, Tensor], num_items_in_batch: Tensor | None = None) -> Tensor:
        """Learn from a batch; on a CPU in parts, since the activations of a part fit into its caches.

        Larger products are not faster there. A GPU takes the whole batch at once, and so do processes among which the
        weights are divided: each pass needs all processes, and their batches may have different numbers of parts.
        """
        inputs = self._prepare_inputs(inputs)
        in_parts = self.args.device.type == "cpu" and not self.is_sharded
        parts = self.split(inputs) if in_parts else [inputs]
        losses: list[Tensor] = []
        for number, part in enumerate(parts, start=1):
            # Processes add up their gradients once a batch, since they may have different numbers of parts.
            with nullcontext() if number == len(parts) else self.accelerator.no_sync(model):
                losses.append(super().training_step(model, part, num_items_in_batch))
        return torch.stack(losses).sum()

    def dev_scores(self) -> dict[str, float]:
        """Score the dev rows; all processes get the scores of the first."""
        assert self._dev_score is not None
        dev_score = self._dev_score
        return self._processes.first_value(lambda: dict(dev_score(self.model)), together=self.is_sharded)

    def _save(self, output_dir: str | None = None, state_dict: dict[str, Any] | None = None) -> None:
        super()._save(output_dir, state_dict)
        if isinstance(self.model, PrefixModel) and self.args.should_save:
            self.model.save_encoder(Path(output_dir or self.args.output_dir))

    def _load_from_checkpoint(self, resume_from_checkpoint: str, model: Any = None) -> None:
        if isinstance(self.model, PrefixModel):
            self.model.load_encoder(Path(resume_from_checkpoint))
        else:
            super()._load_from_checkpoint(resume_from_checkpoint, model)


def run_training(
    make: Callable[[TrainingArguments, list[Any]], ResumableTrainer],
    settings: FitSettings,
    lengths: Sequence[int],
    device: torch.device,
) -> FitResult:
    """Train. Afterwards the model has the weights that the dev score chose, or the last ones without a dev score.

    All processes have to call this with the same arguments; each learns from its share of the rows.

    Args:
        make: Returns a trainer with these arguments and callbacks.
        settings: How the training runs.
        lengths: Length of each row in tokens.
        device: The device of the model, if there is only one process.

    Returns:
        How the training ended, the same in all processes. After a signal a checkpoint has been written.
    """
    spec, folder, processes = settings.spec, settings.folder, settings.processes
    stop = StopRequest(processes)
    last = processes.first_value(lambda: last_checkpoint(folder, resume=settings.resume))
    place = torch.device(processes.device) if processes.count > 1 else device
    has_dev = settings.dev_score is not None
    callbacks: list[Any] = [
        FlowCallback(stop, has_dev=has_dev, patience=spec.patience),
        CheckpointCallback(folder, spec.keep_checkpoints, processes),
    ]
    if processes.is_first:
        step_batches = spec.accumulation * processes.count
        tokens = StepTokens(lengths, spec.micro_batch_size, spec.seed, step_batches)
        progress = ProgressCallback(settings.listener, spec.micro_batch_size * step_batches, tokens)
        callbacks += [MetricsCallback(settings.metrics_file, settings.listener), progress]
    trainer = make(training_arguments(spec, folder, place, settings.compute_dtype), callbacks)
    if ended := ended_early(last, spec.patience if has_dev else 0):
        trainer.state = ended
    else:
        with objects_set_aside(), stop.handling_signals():
            trainer.run_from(last)
    return trainer.finish(folder, stop.agreed_signal())


def last_checkpoint(folder: Path, *, resume: bool) -> Path | None:
    """Remove checkpoints from which nothing can resume, and return the last of the others."""
    if not resume:
        remove_all(folder)  # the step numbers of an older training may be higher than those of this one
    remove_incomplete(folder)
    checkpoints = complete_checkpoints(folder)
    return checkpoints[-1] if checkpoints else None


def ended_early(checkpoint: Path | None, patience: int) -> TrainerState | None:
    """Return the state of a training whose patience was over at this checkpoint, else None.

    The trainer remembers the scores, but not that the training has ended, and would continue it.
    """
    if checkpoint is None:
        return None
    state = TrainerState.load_from_json(str(checkpoint / TRAINER_STATE_NAME))
    return state if patience_is_over(state, patience) else None

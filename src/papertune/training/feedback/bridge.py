"""What all trainers of TRL have in common here: checkpoints, signals, dev scores and metrics as in `training.trainer`.

A trainer of TRL expects texts, sends telemetry, writes a form as model card, prints answers, and logs under names of
its own. `FeedbackTrainer` changes that; where it overrides methods that are no public interface, `extra.TRL_VERSION`
bounds the version.
"""

import hashlib
import logging
import math
import time
import warnings
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import Any, ClassVar
from unittest.mock import patch

import torch
from transformers import PrinterCallback, Trainer, TrainerCallback
from transformers import ProgressCallback as BarCallback

from papertune.events import Listener, Progress
from papertune.methods import adapters_in_compute_dtype
from papertune.training.arguments import argument_values
from papertune.training.callbacks import CheckpointCallback, FlowCallback, MetricsCallback, ScoredOnDevRows, StopRequest
from papertune.training.checkpoints import checkpoint_path
from papertune.training.trainer import DevScore, FitResult, FitSettings, ended_early, last_checkpoint

MakeTrainer = Callable[[FitSettings, list[Any]], Any]


class FeedbackTrainer(ScoredOnDevRows):
    """Derives first from this class, then from a trainer of TRL.

    Attributes:
        numbers: What metrics.jsonl and the progress show of TRL's metrics: their names there, by TRL's names.
        dev_score: Scores the model on dev rows or pairs; None without any.
    """

    numbers: ClassVar[Mapping[str, str]] = {}
    dev_score: DevScore | None = None

    _metrics: Any  # TRL's, since the last log entry

    def _send_telemetry(self) -> None:
        pass

    def create_model_card(self, *_: Any, **__: Any) -> None:
        """Write nothing."""

    def dev_scores(self) -> dict[str, float]:
        """Score the dev rows."""
        assert self.dev_score is not None
        return dict(self.dev_score(self.model))

    def log(self, logs: dict[str, float], start_time: float | None = None) -> None:
        """Log the loss with `numbers`, or whatever else there is."""
        if "loss" in logs:
            found = {ours: self._metrics["train"].get(theirs, ()) for theirs, ours in self.numbers.items()}
            known = {name: [value for value in values if not math.isnan(value)] for name, values in found.items()}
            logs = logs | {name: sum(values) / len(values) for name, values in known.items() if values}
            self._metrics["train"].clear()
        Trainer.log(self, logs, start_time)

    def finish(self, folder: Path, stop_signal: int | None, unlearned: Sequence[str]) -> FitResult:
        """Load the chosen weights and return how the training ended.

        Args:
            folder: Folder of the checkpoints.
            stop_signal: The signal that stopped it early.
            unlearned: As in `FitResult`.
        """
        scored = self.dev_score is not None
        best_step, best_score = (self.state.best_global_step, self.state.best_metric) if scored else (None, None)
        if stop_signal is None and best_step:
            self._load_from_checkpoint(str(checkpoint_path(folder, best_step)))  # type: ignore[attr-defined]
        self.model.eval()
        return FitResult(self.state.global_step, best_step, best_score, stop_signal, unlearned)


def fit_on_feedback(make_trainer: MakeTrainer, settings: FitSettings) -> FitResult:
    """Train with a trainer of TRL. Afterwards its model has the weights that the dev score chose, or the last ones.

    Args:
        make_trainer: Makes the trainer with these settings and callbacks; its model has the weights of the start, also
            where the training is resumed, since divergences are measured from there.
        settings: How the training runs, in one process.

    Returns:
        How the training ended. After a signal a checkpoint has been written.
    """
    spec, folder, has_dev = settings.spec, settings.folder, settings.dev_score is not None
    stop = StopRequest(settings.processes)
    last = last_checkpoint(folder, resume=settings.resume)
    with warnings.catch_warnings(), _only_answers_scored():
        warnings.simplefilter("ignore", FutureWarning)  # TRL uses names that transformers is renaming
        trainer = make_trainer(
            settings,
            [
                FlowCallback(stop, has_dev=has_dev, patience=spec.patience),
                CheckpointCallback(folder, spec.keep_checkpoints, settings.processes),
                MetricsCallback(settings.metrics_file, settings.listener),
            ],
        )
        trainer.dev_score = settings.dev_score
        rows_per_step = spec.micro_batch_size * spec.accumulation
        trainer.add_callback(StepCallback(settings.listener, rows_per_step, trainer.numbers))
        trainer.remove_callback(PrinterCallback)
        trainer.remove_callback(BarCallback)
        for parameter in trainer.model.parameters():
            if parameter.requires_grad:  # TRL makes adapters of quantized models bfloat16
                parameter.data = parameter.data.float()
        before = trainable_digest(trainer.model)
        unlearned: list[str] = []
        if ended := ended_early(last, spec.patience if has_dev else 0):
            trainer.state = ended
        else:
            logging.getLogger("transformers.trainer").setLevel(logging.ERROR)
            with stop.handling_signals(), adapters_in_compute_dtype(trainer.model, settings.compute_dtype):
                trainer.train(resume_from_checkpoint=None if last is None else str(last))
            if trainable_digest(trainer.model) == before:
                unlearned.append("the training has changed no parameter: what it learned from had no gradient.")
    return trainer.finish(folder, stop.agreed_signal(), unlearned)  # type: ignore[no-any-return]


def trl_values(settings: FitSettings, device: torch.device) -> dict[str, Any]:
    """Return what the settings are among the arguments of a trainer of TRL, whose own defaults differ."""
    values = argument_values(settings.spec, settings.folder, device, settings.compute_dtype)
    return {**values, "gradient_checkpointing": settings.spec.gradient_checkpointing}


class StepCallback(TrainerCallback):  # type: ignore[misc]
    """Reports each step to a listener; steps are taken to need the same time.

    Args:
        listener: Gets the steps.
        rows_per_step: Rows in one optimizer step.
        numbers: As in `FeedbackTrainer`.
    """

    def __init__(self, listener: Listener, rows_per_step: int, numbers: Mapping[str, str]) -> None:
        self._listener = listener
        self._rows_per_step = rows_per_step
        self._names = list(numbers.values())
        self._loss: float | None = None
        self._numbers: dict[str, float] = {}
        self._begun = (0.0, 0)

    def on_train_begin(self, args: Any, state: Any, control: Any, **_: Any) -> None:
        """Start the clock."""
        self._begun = (time.monotonic(), state.global_step)

    def on_log(self, args: Any, state: Any, control: Any, logs: dict[str, Any] | None = None, **_: Any) -> None:
        """Remember the last numbers."""
        if logs and "loss" in logs:
            self._loss = logs["loss"]
            self._numbers = {name.replace("_", " "): logs[name] for name in self._names if name in logs}

    def on_step_end(self, args: Any, state: Any, control: Any, **_: Any) -> None:
        """Report the step."""
        since, from_step = self._begun
        steps = state.global_step - from_step
        seconds = max(time.monotonic() - since, 1e-9)
        left_s = seconds * (state.max_steps - state.global_step) / steps
        rate = steps * self._rows_per_step / seconds
        step = Progress("training", state.global_step, state.max_steps, rate, left_s, self._loss, self._numbers)
        self._listener.progress(step)


def trainable_digest(model: Any) -> bytes:
    """Return a digest of the trainable parameters.

    Raises:
        RuntimeError: If there are none: a frozen adapter would be trained without effect and without an error.
    """
    total = hashlib.sha256()
    names = [name for name, parameter in model.named_parameters() if parameter.requires_grad]
    if not names:
        raise RuntimeError("no parameter of the model is trainable")
    for name in names:
        total.update(model.get_parameter(name).detach().float().cpu().numpy().tobytes())
    return total.digest()


@contextmanager
def _only_answers_scored() -> Iterator[None]:
    """Let TRL compute logits for the tokens of answers only.

    Without Triton it computes them for all positions, which costs a fifth of a step: the vocabulary is large, and
    prompts are long beside answers.
    """
    import trl.trainer.utils as trl_utils

    with patch.object(trl_utils, "_use_triton", lambda device: True):
        yield

"""What trainers have in common: stopping on a signal, dev scores, complete checkpoints, metrics.jsonl, progress."""

import json
import signal
import threading
import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from types import FrameType
from typing import Any

from transformers import TrainerCallback
from transformers.trainer_utils import SaveStrategy

from papertune.events import Listener, Progress
from papertune.training.checkpoints import checkpoint_path, mark_complete, remove_old
from papertune.training.processes import Processes
from papertune.training.shares import StepTokens

SCORE = "eval_score"

# If the recipe wants checkpoints at the ends of epochs, there is also one after this many steps, in case of a kill.
SAFETY_STEPS = 100


class StopRequest:
    """Remembers that SIGTERM or Ctrl-C was received, so that the training can save a checkpoint before it stops.

    Args:
        processes: The processes of the training.
    """

    def __init__(self, processes: Processes) -> None:
        self._received = 0
        self._processes = processes

    def agreed_signal(self) -> int | None:
        """Return the signal that any process has received so far; all processes must call this and get the same value.

        A launcher signals its processes one by one, so some may be a step further than others.
        """
        return self._processes.largest(self._received) or None

    @contextmanager
    def handling_signals(self) -> Iterator[None]:
        """Handle both signals while the context is open; a second signal stops the program at once."""
        if threading.current_thread() is not threading.main_thread():
            yield  # only the main thread may set handlers
            return
        before = {number: signal.getsignal(number) for number in (signal.SIGINT, signal.SIGTERM)}

        def remember(number: int, _: FrameType | None) -> None:
            self._received = number
            for each, handler in before.items():
                signal.signal(each, handler)

        for number in before:
            signal.signal(number, remember)
        try:
            yield
        finally:
            for number, handler in before.items():
                signal.signal(number, handler)


class FlowCallback(TrainerCallback):  # type: ignore[misc]
    """Decides when to stop, and asks for a dev score with each checkpoint.

    Args:
        stop: Checked after each step.
        has_dev: Whether there are dev rows to score.
        patience: Stop after this many dev scores without a new best; 0: never.
    """

    def __init__(self, stop: StopRequest, *, has_dev: bool, patience: int) -> None:
        self._stop = stop
        self._has_dev = has_dev
        self._patience = patience
        self._saved_step: int | None = None

    def on_step_end(self, args: Any, state: Any, control: Any, **_: Any) -> None:
        """Ask for a dev score with each checkpoint; after a signal, ask for a checkpoint and stop."""
        if self._stop.agreed_signal() is not None:
            control.should_save = True
            control.should_training_stop = True
        else:
            if args.save_strategy == SaveStrategy.EPOCH and state.global_step % SAFETY_STEPS == 0:
                control.should_save = True
            control.should_evaluate = control.should_save and self._has_dev

    def on_epoch_end(self, args: Any, state: Any, control: Any, **_: Any) -> None:
        """Ask for a dev score with the checkpoint of an epoch; after a signal, ask for the checkpoint only."""
        stopped = self._stop.agreed_signal() is not None
        if stopped:
            control.should_save = True
            control.should_training_stop = True
        # A checkpoint of on_step_end must not be written again: a kill would leave a half that is marked complete.
        control.should_save = control.should_save and state.global_step != self._saved_step
        control.should_evaluate = control.should_save and self._has_dev and not stopped

    def on_save(self, args: Any, state: Any, control: Any, **_: Any) -> None:
        """Remember the last checkpoint."""
        self._saved_step = state.global_step

    def on_evaluate(self, args: Any, state: Any, control: Any, **_: Any) -> None:
        """Stop when patience is over."""
        if patience_is_over(state, self._patience):
            control.should_training_stop = True


def patience_is_over(state: Any, patience: int) -> bool:
    """Whether the last `patience` dev scores brought no new best; never with a patience of 0.

    Args:
        state: The trainer's state, with the dev scores so far.
        patience: As in the recipe.
    """
    keys = dev_score_keys(state)
    since_best = len(keys) - 1 - keys.index(max(keys)) if keys else 0
    return 0 < patience <= since_best


def dev_score_keys(state: Any) -> list[tuple[float, float]]:
    """Return what dev scores are compared by, in order of time: the score, then the negated log-loss.

    Log-loss decides between equal scores: with a rare label, early models predict the frequent label for all rows and
    so do many later ones, whose probabilities are better already. It is summed over the label columns, 0 without any.

    Args:
        state: The trainer's state.
    """
    return [
        (entry[SCORE], -sum(value for key, value in entry.items() if key.endswith("_log_loss")))
        for entry in state.log_history
        if SCORE in entry
    ]


class ScoredOnDevRows:
    """What a trainer of transformers that derives from this class first does when it is asked to evaluate."""

    # From the trainer.
    model: Any
    args: Any
    state: Any
    control: Any
    callback_handler: Any
    log: Any

    def dev_scores(self) -> dict[str, float]:
        """Return scores of the model by name; "score" chooses the checkpoint."""
        raise NotImplementedError

    def evaluate(self, *_: Any, **__: Any) -> dict[str, float]:
        """Score the dev rows."""
        self.model.eval()
        metrics = {f"eval_{name}": value for name, value in self.dev_scores().items()}
        assert SCORE in metrics
        self.log(metrics)
        self.callback_handler.on_evaluate(self.args, self.state, self.control, metrics)
        return metrics

    def _determine_best_metric(self, metrics: dict[str, float], trial: Any) -> bool:
        """Whether the last dev score is a new best, which is then remembered."""
        *before, last = dev_score_keys(self.state)
        is_new_best = all(last > other for other in before)
        if is_new_best:
            self.state.best_metric = metrics[SCORE]
            self.state.best_global_step = self.state.global_step
        return is_new_best


class CheckpointCallback(TrainerCallback):  # type: ignore[misc]
    """Marks a checkpoint complete once all processes have written their part, then removes old checkpoints."""

    def __init__(self, folder: Path, keep: int, processes: Processes) -> None:
        self._folder = folder
        self._keep = keep
        self._processes = processes

    def on_save(self, args: Any, state: Any, control: Any, **_: Any) -> None:
        """Mark the checkpoint, and remove old ones."""
        self._processes.wait()
        if self._processes.is_first:
            mark_complete(checkpoint_path(self._folder, state.global_step))
            remove_old(self._folder, self._keep, state.best_global_step)


class MetricsCallback(TrainerCallback):  # type: ignore[misc]
    """Appends what the trainer logs to metrics.jsonl; a resumed training continues after its checkpoint's lines.

    Args:
        file: The file.
        listener: Gets the same numbers.
    """

    def __init__(self, file: Path, listener: Listener) -> None:
        self._file = file
        self._listener = listener

    def on_train_begin(self, args: Any, state: Any, control: Any, **_: Any) -> None:
        """Remove the lines of steps that will be repeated."""
        keep_lines(self._file, state.global_step)

    def on_log(self, args: Any, state: Any, control: Any, logs: dict[str, Any] | None = None, **_: Any) -> None:
        """Append one line."""
        values = {key.removeprefix("eval_") if key == SCORE else key: value for key, value in (logs or {}).items()}
        if "loss" in values or "score" in values:
            entry = {"step": state.global_step, "epoch": round(state.epoch or 0, 4), **values}
            with self._file.open("a", encoding="utf-8") as stream:
                stream.write(json.dumps(entry) + "\n")
            self._listener.metrics(state.global_step, values)


class ProgressCallback(TrainerCallback):  # type: ignore[misc]
    """Reports each step to a listener. The remaining time is estimated from tokens, since rows differ in length.

    Args:
        listener: Gets the steps.
        rows_per_step: Rows in one optimizer step of all processes together.
        tokens: Counts the tokens of steps.
    """

    def __init__(self, listener: Listener, rows_per_step: int, tokens: StepTokens) -> None:
        self._listener = listener
        self._rows_per_step = rows_per_step
        self._tokens = tokens
        self._loss: float | None = None
        self._begun = (0.0, 0)

    def on_train_begin(self, args: Any, state: Any, control: Any, **_: Any) -> None:
        """Start the clock."""
        self._begun = (time.monotonic(), state.global_step)

    def on_log(self, args: Any, state: Any, control: Any, logs: dict[str, Any] | None = None, **_: Any) -> None:
        """Remember the last loss."""
        self._loss = (logs or {}).get("loss", self._loss)

    def on_step_end(self, args: Any, state: Any, control: Any, **_: Any) -> None:
        """Report the step."""
        since, from_step = self._begun
        seconds = max(time.monotonic() - since, 1e-9)
        rate = (state.global_step - from_step) * self._rows_per_step / seconds
        before, now, end = map(self._tokens.before, (from_step, state.global_step, state.max_steps))
        left_s = seconds * (end - now) / (now - before)
        self._listener.progress(Progress("training", state.global_step, state.max_steps, rate, left_s, self._loss))


def keep_lines(file: Path, step: int) -> None:
    """Keep the JSON lines of a file up to a step, and drop what a kill has cut off."""
    if file.exists():
        lines = file.read_text("utf-8").splitlines()
        kept = [line for line in lines if _is_complete(line) and json.loads(line)["step"] <= step]
        file.write_text("".join(f"{line}\n" for line in kept), "utf-8")


def _is_complete(line: str) -> bool:
    try:
        return "step" in json.loads(line)
    except ValueError:
        return False  # cut off by a kill

"""What happens beside the steps: stopping on a signal, dev scores, marks on checkpoints, metrics.jsonl, progress."""

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

SCORE = "eval_score"

# Where the recipe asks for a checkpoint at the end of each epoch only, this many steps are the most a kill may cost.
SAFETY_STEPS = 100


class StopRequest:
    """Remembers that SIGTERM or Ctrl-C asked the training to stop, so that it can save a checkpoint first.

    Args:
        processes: Those of the training.
    """

    def __init__(self, processes: Processes) -> None:
        self._received = 0
        self._processes = processes

    def agreed_signal(self) -> int | None:
        """Give the signal that any process has got by now. All processes have to ask, and all get the same answer.

        A launcher sends a signal to one process after the other, so that some are a step further when it comes.
        """
        return self._processes.largest(self._received) or None

    @contextmanager
    def listening(self) -> Iterator[None]:
        """Take the two signals while this is open; a second one stops at once."""
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
    """Decides when to stop, and takes a dev score wherever a checkpoint is due.

    Args:
        stop: Asked after each step.
        has_dev: Whether there are dev rows to score.
        patience: Stop after this many dev scores without a new best; 0: never.
    """

    def __init__(self, stop: StopRequest, *, has_dev: bool, patience: int) -> None:
        self._stop = stop
        self._has_dev = has_dev
        self._patience = patience
        self._saved_step: int | None = None

    def on_step_end(self, args: Any, state: Any, control: Any, **_: Any) -> None:
        """Ask for a dev score beside each checkpoint; on a signal, for a checkpoint and the end."""
        if self._stop.agreed_signal() is not None:
            control.should_save = True
            control.should_training_stop = True
        else:
            if args.save_strategy == SaveStrategy.EPOCH and state.global_step % SAFETY_STEPS == 0:
                control.should_save = True
            control.should_evaluate = control.should_save and self._has_dev

    def on_epoch_end(self, args: Any, state: Any, control: Any, **_: Any) -> None:
        """Ask for a dev score beside the checkpoint at the end of an epoch; on a signal, for the checkpoint alone."""
        stopped = self._stop.agreed_signal() is not None
        if stopped:
            control.should_save = True
            control.should_training_stop = True
        # What on_step_end had written must not be written again: a kill would leave half of it, marked complete.
        control.should_save = control.should_save and state.global_step != self._saved_step
        control.should_evaluate = control.should_save and self._has_dev and not stopped

    def on_save(self, args: Any, state: Any, control: Any, **_: Any) -> None:
        """Remember the last checkpoint."""
        self._saved_step = state.global_step

    def on_evaluate(self, args: Any, state: Any, control: Any, **_: Any) -> None:
        """Stop when the dev score has not risen for too long."""
        if patience_is_over(state, self._patience):
            control.should_training_stop = True


def patience_is_over(state: Any, patience: int) -> bool:
    """Tell whether the dev score has not risen for so long that the training ends.

    Args:
        state: The trainer's state, with the dev scores so far.
        patience: So many scores without a new best; 0: never.
    """
    found = dev_qualities(state)
    since_best = len(found) - 1 - found.index(max(found)) if found else 0
    return 0 < patience <= since_best


def dev_qualities(state: Any) -> list[tuple[float, float]]:
    """Give what dev scores are compared by, in their order: the score, and of equal scores the log-loss, negated.

    Where a label is rare, a model that has hardly learnt anything calls all rows the frequent one, and so do many after
    it, whose probabilities are better already. Log-loss is the sum over the label columns, 0 without any.

    Args:
        state: The trainer's state.
    """
    return [
        (entry[SCORE], -sum(value for key, value in entry.items() if key.endswith("_log_loss")))
        for entry in state.log_history
        if SCORE in entry
    ]


class CheckpointCallback(TrainerCallback):  # type: ignore[misc]
    """Marks a checkpoint complete when all processes have written their part, then removes old ones."""

    def __init__(self, folder: Path, keep: int, processes: Processes) -> None:
        self._folder = folder
        self._keep = keep
        self._processes = processes

    def on_save(self, args: Any, state: Any, control: Any, **_: Any) -> None:
        """Mark and tidy."""
        self._processes.wait()
        if self._processes.is_first:
            mark_complete(checkpoint_path(self._folder, state.global_step))
            remove_old(self._folder, self._keep, state.best_global_step)


class MetricsCallback(TrainerCallback):  # type: ignore[misc]
    """Appends what the trainer logs to metrics.jsonl; a resumed training goes on where its checkpoint ends."""

    def __init__(self, file: Path) -> None:
        self._file = file

    def on_train_begin(self, args: Any, state: Any, control: Any, **_: Any) -> None:
        """Take out the lines of steps that will be done again."""
        if self._file.exists():
            lines = self._file.read_text("utf-8").splitlines()
            kept = [line for line in lines if _is_whole(line) and json.loads(line)["step"] <= state.global_step]
            self._file.write_text("".join(f"{line}\n" for line in kept), "utf-8")

    def on_log(self, args: Any, state: Any, control: Any, logs: dict[str, Any] | None = None, **_: Any) -> None:
        """Append one line."""
        values = {key.removeprefix("eval_") if key == SCORE else key: value for key, value in (logs or {}).items()}
        if "loss" in values or "score" in values:
            entry = {"step": state.global_step, "epoch": round(state.epoch or 0, 4), **values}
            with self._file.open("a", encoding="utf-8") as stream:
                stream.write(json.dumps(entry) + "\n")


class ProgressCallback(TrainerCallback):  # type: ignore[misc]
    """Reports each step to a listener.

    Args:
        listener: Gets the steps.
        rows_per_step: Rows in one optimizer step, those of all processes.
    """

    def __init__(self, listener: Listener, rows_per_step: int) -> None:
        self._listener = listener
        self._rows_per_step = rows_per_step
        self._loss: float | None = None
        self._begun = (0.0, 0)

    def on_train_begin(self, args: Any, state: Any, control: Any, **_: Any) -> None:
        """Start the clock."""
        self._begun = (time.monotonic(), state.global_step)

    def on_log(self, args: Any, state: Any, control: Any, logs: dict[str, Any] | None = None, **_: Any) -> None:
        """Keep the last loss."""
        self._loss = (logs or {}).get("loss", self._loss)

    def on_step_end(self, args: Any, state: Any, control: Any, **_: Any) -> None:
        """Report the step."""
        since, from_step = self._begun
        rate = (state.global_step - from_step) * self._rows_per_step / max(time.monotonic() - since, 1e-9)
        left_s = (state.max_steps - state.global_step) * self._rows_per_step / rate
        self._listener.progress(Progress("training", state.global_step, state.max_steps, rate, left_s, self._loss))


def _is_whole(line: str) -> bool:
    try:
        return "step" in json.loads(line)
    except ValueError:
        return False  # cut off by a kill

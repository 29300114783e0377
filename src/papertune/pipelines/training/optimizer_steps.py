"""The number of optimizer steps of a table, and settings with which a small table makes enough."""

import math

from papertune.errors import Sentence
from papertune.recipe import TrainingSpec

# With fewer steps, parameters hardly change at usual learning rates (docs/lab/log.md, "few rows").
MIN_STEPS = 50
# The aim of the settings for a small table.
ENOUGH_STEPS = 100
_BATCHES = (8, 4, 2)
_MAX_EPOCHS = 5
# A table with fewer rows and only label columns is learned in the last layers, several times: that takes little longer
# than once in all layers (docs/lab/log.md, "training that learns").
SMALL_TABLE = 1000
LAST_LAYERS = 10
_LABEL_STEPS = 300
_MAX_LABEL_EPOCHS = 10


def optimizer_steps(spec: TrainingSpec, rows: int, processes: int = 1) -> int:
    """Count the optimizer steps of a training.

    Args:
        spec: Its settings.
        rows: Rows of an epoch; with the question first, each column of a row counts as one.
        processes: Number of processes that share them.
    """
    if spec.max_steps is not None:
        return spec.max_steps
    batches = math.ceil(rows / spec.micro_batch_size)
    return math.ceil(spec.epochs * math.ceil(batches / (spec.accumulation * processes)))


def settings_for(rows: int, processes: int = 1) -> tuple[int, int]:
    """Choose the batch size and the epochs so that a table makes `ENOUGH_STEPS`, if it can.

    Smaller batches are preferred to more epochs: on a CPU they take hardly longer.

    Args:
        rows: Rows of an epoch.
        processes: Number of processes that share them.

    Returns:
        `training.micro_batch_size` and `training.epochs`.
    """
    batch = next((size for size in _BATCHES if rows >= size * ENOUGH_STEPS * processes), _BATCHES[-1])
    return batch, _epochs(rows, batch * processes)


def label_settings_for(rows: int) -> tuple[int, int]:
    """Choose the batch size and the epochs of a table with less than `SMALL_TABLE` rows and only label columns.

    Returns:
        `training.micro_batch_size` and `training.epochs`.
    """
    batch = next((size for size in _BATCHES if rows >= 25 * size), _BATCHES[-1])
    steps = math.ceil(max(rows, 1) / batch)
    return batch, max(2, min(_MAX_LABEL_EPOCHS, round(_LABEL_STEPS / steps)))


def _epochs(rows: int, rows_per_step: int) -> int:
    return max(1, min(_MAX_EPOCHS, math.ceil(ENOUGH_STEPS / math.ceil(max(rows, 1) / rows_per_step))))


def too_few_steps(spec: TrainingSpec, rows: int, processes: int = 1) -> str | None:
    """Return a message if a training has fewer than `MIN_STEPS`, with settings for more; None with `max_steps`.

    Args:
        spec: Its settings.
        rows: Rows of an epoch.
        processes: Number of processes that share them.
    """
    steps = optimizer_steps(spec, rows, processes)
    if spec.max_steps is not None or steps >= MIN_STEPS or not rows:
        return None
    batch = min(spec.micro_batch_size, settings_for(rows, processes)[0])
    wanted = {"micro_batch_size": batch, "accumulation": 1}
    changes = [f"training.{name}={value}" for name, value in wanted.items() if getattr(spec, name) > value]
    if spec.epochs < (epochs := _epochs(rows, batch * processes)):
        changes.append(f"training.epochs={epochs}")
    advice = f" To learn more from them, add {' '.join(f'--set {change}' for change in changes)}" if changes else ""
    counted = "1 optimizer step" if steps == 1 else f"{steps} optimizer steps"
    of_rows = "1 row makes" if rows == 1 else f"{rows:,} rows make"
    text = f"{of_rows} {counted}, so the model may hardly change.{advice}"
    return Sentence(text, "few_steps", rows=rows, steps=steps, advice=" ".join(changes))

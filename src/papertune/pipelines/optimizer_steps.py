"""How many optimizer steps a table makes, and settings with which a small one makes enough."""

import math

from papertune.recipe import TrainingSpec

# With fewer, weights hardly move at the rates that are usual (docs/lab/log.md, "few rows").
LEAST_STEPS = 50
# What the settings of a small table aim at.
ENOUGH_STEPS = 100
_BATCHES = (8, 4, 2)
_MOST_EPOCHS = 5


def optimizer_steps(spec: TrainingSpec, rows: int, processes: int = 1) -> int:
    """Count the optimizer steps of a training.

    Args:
        spec: Its settings.
        rows: The rows of an epoch; where the question stands first, each column of a row counts as one.
        processes: How many processes share them out.
    """
    if spec.max_steps is not None:
        return spec.max_steps
    batches = math.ceil(rows / spec.micro_batch_size)
    return math.ceil(spec.epochs * math.ceil(batches / (spec.accumulation * processes)))


def settings_for(rows: int, processes: int = 1) -> tuple[int, int]:
    """Choose the rows in a batch, and the epochs, so that a table makes `ENOUGH_STEPS` where it can.

    Smaller batches come first: on a CPU they take hardly longer, and an epoch more takes an epoch.

    Args:
        rows: The rows of an epoch.
        processes: How many processes share them out.

    Returns:
        `training.micro_batch_size` and `training.epochs`.
    """
    batch = next((size for size in _BATCHES if rows >= size * ENOUGH_STEPS * processes), _BATCHES[-1])
    return batch, _epochs(rows, batch * processes)


def _epochs(rows: int, rows_per_step: int) -> int:
    return max(1, min(_MOST_EPOCHS, math.ceil(ENOUGH_STEPS / math.ceil(max(rows, 1) / rows_per_step))))


def too_few_steps(spec: TrainingSpec, rows: int, processes: int = 1) -> str | None:
    """Say that a training has fewer than `LEAST_STEPS`, and what to set; None if it has more or was given a number.

    Args:
        spec: Its settings.
        rows: The rows of an epoch.
        processes: How many processes share them out.
    """
    steps = optimizer_steps(spec, rows, processes)
    if spec.max_steps is not None or steps >= LEAST_STEPS or not rows:
        return None
    batch = min(spec.micro_batch_size, settings_for(rows, processes)[0])
    wanted = {"micro_batch_size": batch, "accumulation": 1}
    changes = [f"training.{name}={value}" for name, value in wanted.items() if getattr(spec, name) > value]
    if spec.epochs < (epochs := _epochs(rows, batch * processes)):
        changes.append(f"training.epochs={epochs}")
    advice = f" To learn more from them, add {' '.join(f'--set {change}' for change in changes)}" if changes else ""
    counted = "1 optimizer step" if steps == 1 else f"{steps} optimizer steps"
    of_rows = "1 row makes" if rows == 1 else f"{rows:,} rows make"
    return f"{of_rows} {counted}, which is so few that the model may hardly change.{advice}"

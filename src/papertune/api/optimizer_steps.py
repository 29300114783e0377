"""How many optimizer steps a table makes, and settings with which a small one makes enough."""

import math

from papertune.config import TrainingSpec

# With fewer, weights hardly move at the rates that are usual (docs/log.md, "few rows").
LEAST_STEPS = 50
# What the settings of a small table aim at.
ENOUGH_STEPS = 100
_BATCHES = (8, 4, 2)  # those of one row are noisy, and no faster to learn from
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


def settings_for(rows: int) -> tuple[int, int]:
    """Choose the rows in a batch, and the epochs, so that a table makes `ENOUGH_STEPS` where it can.

    Smaller batches come first: on a CPU they cost nothing, and an epoch more costs an epoch.

    Returns:
        `training.micro_batch_size` and `training.epochs`.
    """
    batch = next((size for size in _BATCHES if rows >= size * ENOUGH_STEPS), _BATCHES[-1])
    return batch, max(1, min(_MOST_EPOCHS, math.ceil(ENOUGH_STEPS * batch / max(rows, 1))))


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
    batch, epochs = settings_for(rows)
    better = {"micro_batch_size": (spec.micro_batch_size, batch), "accumulation": (spec.accumulation, 1)}
    settings = [f"training.{name}={wanted}" for name, (now, wanted) in better.items() if now > wanted]
    if spec.epochs < epochs:
        settings.append(f"training.epochs={epochs}")
    advice = f" To learn more from them: {' '.join(f'--set {setting}' for setting in settings)}." if settings else ""
    counted = "1 optimizer step" if steps == 1 else f"{steps} optimizer steps"
    of_rows = "1 row makes" if rows == 1 else f"{rows:,} rows make"
    return f"{of_rows} {counted}, which is so few that the model may hardly change.{advice}"

"""Which checkpoints of a training can be trusted.

The trainer writes a checkpoint file by file, so a kill can leave half of one. A mark, written after everything else,
means complete. Older checkpoints go only after that, so there is always one to go on from.
"""

import shutil
from pathlib import Path

COMPLETE_MARK = "complete"


def mark_complete(checkpoint: Path) -> None:
    """Say that nothing more will be written into a checkpoint."""
    (checkpoint / COMPLETE_MARK).touch()


def complete_checkpoints(folder: Path) -> list[Path]:
    """Give the complete checkpoints of a training, oldest first."""
    return sorted((c for c in _checkpoints(folder) if (c / COMPLETE_MARK).exists()), key=_step)


def remove_incomplete(folder: Path) -> list[Path]:
    """Remove the checkpoints that a kill has cut off, and give their paths."""
    incomplete = [c for c in _checkpoints(folder) if not (c / COMPLETE_MARK).exists()]
    for checkpoint in incomplete:
        shutil.rmtree(checkpoint)
    return incomplete


def remove_all(folder: Path) -> None:
    """Remove all checkpoints."""
    for checkpoint in _checkpoints(folder):
        _remove(checkpoint)


def remove_old(folder: Path, keep: int, best_step: int | None) -> None:
    """Remove all complete checkpoints but the last `keep` and the best."""
    for checkpoint in complete_checkpoints(folder)[:-keep]:
        if _step(checkpoint) != best_step:
            _remove(checkpoint)


def _remove(checkpoint: Path) -> None:
    # The mark goes first, or a kill in here would leave a torso that looks complete.
    (checkpoint / COMPLETE_MARK).unlink(missing_ok=True)
    shutil.rmtree(checkpoint)


def checkpoint_path(folder: Path, step: int) -> Path:
    """Give the folder of the checkpoint after some optimizer steps."""
    return folder / f"checkpoint-{step}"


def _checkpoints(folder: Path) -> list[Path]:
    return [c for c in folder.glob("checkpoint-*") if c.name.removeprefix("checkpoint-").isdecimal()]


def _step(checkpoint: Path) -> int:
    return int(checkpoint.name.removeprefix("checkpoint-"))

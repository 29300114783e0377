"""Complete and incomplete checkpoints of a training.

The trainer writes a checkpoint file by file, so a kill can leave half of one. A mark that is written last means
complete. Older checkpoints are removed only after that, so there is always one to resume from.
"""

import shutil
from pathlib import Path

COMPLETE_MARK = "complete"


def mark_complete(checkpoint: Path) -> None:
    """Mark a checkpoint into which nothing more will be written."""
    (checkpoint / COMPLETE_MARK).touch()


def complete_checkpoints(folder: Path) -> list[Path]:
    """Return the complete checkpoints of a training, oldest first."""
    return sorted((c for c in _checkpoints(folder) if (c / COMPLETE_MARK).exists()), key=_step)


def remove_incomplete(folder: Path) -> list[Path]:
    """Remove the checkpoints that a kill left incomplete, and return their paths."""
    incomplete = [c for c in _checkpoints(folder) if not (c / COMPLETE_MARK).exists()]
    for checkpoint in incomplete:
        shutil.rmtree(checkpoint)
    return incomplete


def remove_all(folder: Path) -> None:
    """Remove all checkpoints."""
    for checkpoint in _checkpoints(folder):
        _remove(checkpoint)


def remove_old(folder: Path, keep: int, best_step: int | None) -> None:
    """Remove all complete checkpoints except the last `keep` and the best."""
    for checkpoint in complete_checkpoints(folder)[:-keep]:
        if _step(checkpoint) != best_step:
            _remove(checkpoint)


def _remove(checkpoint: Path) -> None:
    # The mark is removed first: a kill in between must not leave a part that looks complete.
    (checkpoint / COMPLETE_MARK).unlink(missing_ok=True)
    shutil.rmtree(checkpoint)


def checkpoint_path(folder: Path, step: int) -> Path:
    """Return the folder of the checkpoint after an optimizer step."""
    return folder / f"checkpoint-{step}"


def _checkpoints(folder: Path) -> list[Path]:
    return [c for c in folder.glob("checkpoint-*") if c.name.removeprefix("checkpoint-").isdecimal()]


def _step(checkpoint: Path) -> int:
    return int(checkpoint.name.removeprefix("checkpoint-"))

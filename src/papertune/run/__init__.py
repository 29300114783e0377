"""A finished run: opening it, its model, and what it predicts."""

from papertune.run.run import Run, load_run

__all__ = ["Run", "load_run"]

"""What a long operation reports while it runs: messages, and how far it has come."""

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Literal, Protocol


@dataclass(frozen=True)
class Progress:
    """How far a training, or a pass of rows through a model, has come.

    Attributes:
        stage: "training": the unit is an optimizer step; "rows": the unit is a row that the model answers.
        done: Units done so far.
        total: Units in all.
        rows_per_s: Rows per second so far, of all processes together.
        seconds_left: Estimated time to the end.
        loss: The last loss of a training, once there is one.
        numbers: More numbers of the last step, by what they are called.
    """

    stage: Literal["training", "rows"]
    done: int
    total: int
    rows_per_s: float
    seconds_left: float
    loss: float | None = None
    numbers: Mapping[str, float] = field(default_factory=dict)


class Listener(Protocol):
    """Gets messages and progress. An exception that it raises ends the operation."""

    def message(self, text: str) -> None:
        """Handle a line of text."""

    def progress(self, step: Progress) -> None:
        """Handle a finished training step or batch of rows."""

    def metrics(self, step: int, values: Mapping[str, float]) -> None:
        """Handle what a training has logged after a step: the numbers of a line of metrics.jsonl, by name."""


class _Silent:
    def message(self, text: str) -> None:
        pass

    def progress(self, step: Progress) -> None:
        pass

    def metrics(self, step: int, values: Mapping[str, float]) -> None:
        pass


# Ignores everything.
SILENT: Listener = _Silent()

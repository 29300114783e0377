"""The calibration of a label column in run.json, and the join of its sources."""

from dataclasses import dataclass, field
from typing import Any, Literal

from papertune.records import AS_WRITTEN


@dataclass(frozen=True)
class Calibration:
    """The calibration of a label column.

    Attributes:
        rows: Number of rows of the calibration set. With too few, all others are None.
        calibrator: The calibrator, as `papertune.kinds.label.calibrators.Calibrator.as_dict` returns it.
        threshold: Minimum calibrated probability of the first of two labels to choose it, if the recipe asks for one.
        abstain_below: The calibrated probability below which the run abstains, if the recipe wants an accuracy that can
            be reached.
        set_threshold: Minimum uncalibrated probability of a label in the set, if the recipe has label sets.
    """

    __pydantic_config__ = AS_WRITTEN

    rows: int
    calibrator: dict[str, Any] | None = None
    threshold: float | None = None
    abstain_below: float | None = None
    set_threshold: float | None = None


# The name of the fine-tuned model among the sources.
MODEL = "model"


@dataclass(frozen=True)
class Join:
    """How the sources of a label question are joined, see `papertune.sources.fitting.weights`.

    Attributes:
        weights: The weight of each source, "model" among them if it is one; 0: it is not used.
        offsets: What is added to each label's log-probability, in the order of the recipe.
        evidence: The rows that the weight of the model rests on; "held-out rows": training rows, each predicted by
            classifiers that were not fitted on it; no model was asked.
        rows: Their number.
        losses: The log-loss on these rows of each source alone, of "joined" if it was measured, and of "without model",
            in nats.
    """

    __pydantic_config__ = AS_WRITTEN

    weights: dict[str, float]
    offsets: list[float]
    evidence: Literal["dev rows", "first epoch", "held-out rows"]
    rows: int
    losses: dict[str, float] = field(default_factory=dict)

    @property
    def asks_model(self) -> bool:
        """Whether prediction needs the model."""
        return self.weights.get(MODEL, 0.0) > 0

    @property
    def used(self) -> list[str]:
        """The sources with a weight above 0, except the model."""
        return [name for name, weight in self.weights.items() if weight > 0 and name != MODEL]

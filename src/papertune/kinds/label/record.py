"""The calibration of a label column in run.json, the join of its sources, and its cascade."""

import math
from dataclasses import dataclass, field
from typing import Any, Literal, get_args

from papertune.errors import quoted
from papertune.kinds.base import SourceName
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
# With fewer dev rows the model has no evidence of its own.
MIN_EVIDENCE = 20


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

    def problem(self, labels: int) -> str:
        """Return what is wrong with a join that was read; "" if nothing.

        Args:
            labels: Number of labels of its question.
        """
        if unknown := [name for name in self.weights if name not in get_args(SourceName)]:
            return f"there is no source {quoted(unknown[0])}"
        if len(self.offsets) != labels:
            return f"{len(self.offsets)} offsets for {labels} labels"
        return "" if all(map(math.isfinite, (*self.weights.values(), *self.offsets))) else "a number is not finite"


@dataclass(frozen=True)
class Cascade:
    """Which rows of a column the sources beside the model decide alone, chosen on dev rows.

    A row's certainty is the probability of its most probable label by these sources; of a labels column the lowest one
    among the labels about which the model is asked.

    Attributes:
        certainty: The certainty from which a row does not go through the model; None: every row does.
        joins: How the sources are joined in these rows, for each question about which the model is asked otherwise.
        rows: Number of dev rows.
        share: Share of them that do not go through the model.
        log_loss: Log-loss of the probabilities that are written, in nats a row, if all rows go through the model, and
            with the cascade; of a labels column the mean over its labels.
        score: Accuracy (a label) or micro F1 (several labels), the same two.
        changed: Number of rows whose cell the cascade changes.
    """

    __pydantic_config__ = AS_WRITTEN

    certainty: float | None
    joins: dict[str, Join]
    rows: int
    share: float
    log_loss: tuple[float, float]
    score: tuple[float, float]
    changed: int

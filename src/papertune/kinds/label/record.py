"""The calibration of a label column in run.json."""

from dataclasses import dataclass
from typing import Any


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

    rows: int
    calibrator: dict[str, Any] | None = None
    threshold: float | None = None
    abstain_below: float | None = None
    set_threshold: float | None = None

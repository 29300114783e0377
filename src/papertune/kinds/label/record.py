"""What run.json keeps of a label column's calibration."""

from dataclasses import dataclass
from typing import Any


@dataclass(frozen=True)
class Calibration:
    """What was found for a label column on the calibration set.

    Attributes:
        rows: How many rows it had. With too few, all else is None.
        calibrator: The calibrator, as `papertune.kinds.label.calibrators.Calibrator.as_dict` returns it.
        threshold: The calibrated probability from which the first of two labels is chosen, if the recipe asks for one.
        abstain_below: The calibrated probability below which the run abstains, if the recipe names an accuracy and one
            reaches it.
        set_threshold: The probability, before calibration, from which a label is in the set, if the recipe has sets.
    """

    rows: int
    calibrator: dict[str, Any] | None = None
    threshold: float | None = None
    abstain_below: float | None = None
    set_threshold: float | None = None

"""How labels are chosen by their probabilities: calibration, threshold, abstaining, label sets."""

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from papertune.kinds.label.calibrators import Calibrator, Isotonic, Temperature
from papertune.kinds.label.column import LabelColumn
from papertune.kinds.label.record import Calibration


@dataclass(frozen=True)
class Decision:
    """How labels are chosen.

    Attributes:
        calibrator: Calibrates the probabilities of the model; None: they stay as they are.
        threshold: Minimum calibrated probability of the first of two labels to choose it; None: the most probable label
            is chosen, the first of equals.
        abstain_below: The run abstains if the calibrated probability of the chosen label is lower.
        set_threshold: Minimum uncalibrated probability of a label in the set.
    """

    calibrator: Calibrator | None = None
    threshold: float | None = None
    abstain_below: float = 0.0
    set_threshold: float = 0.0

    @classmethod
    def of(cls, column: LabelColumn, record: Calibration | None) -> "Decision":
        """Return the decision of a column, given its calibration.

        Raises:
            ValueError: If the calibrator is damaged.
        """
        found = record or Calibration(rows=0)
        return cls(
            calibrator=None if found.calibrator is None else Calibrator.from_dict(found.calibrator),
            threshold=column.threshold if isinstance(column.threshold, float) else found.threshold,
            abstain_below=max(column.abstain_below, found.abstain_below or 0.0),
            set_threshold=found.set_threshold or 0.0,
        )

    def in_words(self) -> list[str]:
        """Return what is done with the model's probabilities, a sentence each."""
        lines = []
        if isinstance(self.calibrator, Temperature):
            how = f"softmax(log p / {self.calibrator.temperature:.4f}); the most probable label stays"
            lines.append(f"the probabilities are calibrated: {how}.")
        elif isinstance(self.calibrator, Isotonic):
            pairs = zip(self.calibrator.scores, self.calibrator.probabilities, strict=True)
            shown = ", ".join(f"{score:.4f} to {probability:.4f}" for score, probability in pairs)
            lines.append(f"the probability of the first label is calibrated, linearly between these points: {shown}.")
        if self.threshold is not None:
            lines.append(f"the first label is chosen if its calibrated probability is at least {self.threshold:.4f}.")
        if self.abstain_below:
            limit = f"{self.abstain_below:.4f}"
            lines.append(f"the cell stays empty if the calibrated probability of the chosen label is below {limit}.")
        if self.set_threshold:
            limit = f"{self.set_threshold:.4f}"
            lines.append(
                f"the label set has the labels with an uncalibrated probability of at least {limit}, and the most "
                "probable one."
            )
        return lines

    def calibrated(self, probabilities: NDArray[np.float64]) -> NDArray[np.float64]:
        """Return the calibrated probabilities.

        Args:
            probabilities: Of the model, float64, shape (rows, labels); NaN in rows that were not asked.
        """
        return probabilities if self.calibrator is None else self.calibrator.apply(probabilities)

    def chosen(self, calibrated: NDArray[np.float64]) -> NDArray[np.int64]:
        """Choose a label for each row, also where the run abstains.

        Args:
            calibrated: Calibrated probabilities, float64, shape (rows, labels).

        Returns:
            Columns of `calibrated`, int64, shape (rows,).
        """
        if self.threshold is None:
            return np.asarray(calibrated.argmax(axis=1), dtype=np.int64)
        return (calibrated[:, 0] < self.threshold).astype(np.int64)

    def abstained(self, calibrated: NDArray[np.float64]) -> NDArray[np.bool_]:
        """Return the rows in which the run abstains; bool, shape (rows,)."""
        rows = np.arange(len(calibrated))
        return np.asarray(calibrated[rows, self.chosen(calibrated)] < self.abstain_below)

    def sets(self, probabilities: NDArray[np.float64]) -> NDArray[np.bool_]:
        """Return the labels that cannot be ruled out, bool, shape (rows, labels).

        The most probable label is always one of them. Conformal prediction allows empty sets; one label more can only
        raise the share of sets with the gold label.

        Args:
            probabilities: Of the model, float64, shape (rows, labels).
        """
        return label_sets(probabilities, self.set_threshold)


def label_sets(probabilities: NDArray[np.float64], threshold: float) -> NDArray[np.bool_]:
    """Return the labels of each row that reach a threshold, and the most probable one.

    Args:
        probabilities: Float64, shape (rows, labels).
        threshold: Such as from `papertune.metrics.selective.conformal_threshold`.

    Returns:
        Which labels are in the set, bool, shape (rows, labels).
    """
    sets = probabilities >= threshold
    sets[np.arange(len(sets)), probabilities.argmax(axis=1)] = True
    return sets

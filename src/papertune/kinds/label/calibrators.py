"""Calibrators of probabilities. `papertune.metrics.calibration` fits them."""

from abc import ABC, abstractmethod
from collections.abc import Mapping
from dataclasses import asdict, dataclass
from typing import Any, ClassVar, Literal

import numpy as np
from numpy.typing import NDArray

# The minimum of probabilities before a logarithm, as in scikit-learn's log_loss.
MIN_PROBABILITY = float(np.finfo(np.float64).eps)


@dataclass(frozen=True)
class Calibrator(ABC):
    """Makes probabilities agree with frequencies.

    Attributes:
        kind: Name of the variant.
    """

    kind: ClassVar[Literal["temperature", "isotonic"]]

    @abstractmethod
    def apply(self, probabilities: NDArray[np.float64]) -> NDArray[np.float64]:
        """Calibrate probabilities.

        Args:
            probabilities: Float64, shape (rows, labels), rows that add up to 1; a row of NaN stays so.

        Returns:
            Float64, shape (rows, labels); above 0, rows that add up to 1.
        """

    def as_dict(self) -> dict[str, Any]:
        """Return the calibrator as text and numbers, ready for JSON."""
        return {"kind": self.kind, **asdict(self)}

    @staticmethod
    def from_dict(values: Mapping[str, Any]) -> "Calibrator":
        """Make a calibrator from the result of `as_dict`.

        Raises:
            ValueError: If it is damaged.
        """
        try:
            if values["kind"] == "temperature":
                return Temperature(float(values["temperature"]))
            if values["kind"] == "isotonic":
                return Isotonic(*(tuple(map(float, values[name])) for name in ("scores", "probabilities")))
        except (KeyError, TypeError, ValueError, OverflowError) as error:
            raise ValueError(f"not a calibrator: {dict(values)} ({error!r})") from None
        raise ValueError(f"not a calibrator: its kind is {values['kind']!r}, not temperature or isotonic")


@dataclass(frozen=True)
class Temperature(Calibrator):
    """Temperature scaling: softmax(log p / T) (Guo et al. 2017, arXiv:1706.04599, section 4.2), for any label set.

    Attributes:
        temperature: T. Above 1 it lowers the confidence, below 1 it raises it.
    """

    temperature: float

    kind = "temperature"

    def __post_init__(self) -> None:
        """Raise ValueError unless the temperature is a number above 0."""
        if not 0 < self.temperature < np.inf:
            raise ValueError(f"a temperature is a number above 0, not {self.temperature}")

    def apply(self, probabilities: NDArray[np.float64]) -> NDArray[np.float64]:
        """Calibrate probabilities, shape (rows, labels); see `Calibrator.apply`."""
        from scipy.special import softmax

        return np.asarray(softmax(logarithms(probabilities) / self.temperature, axis=1), dtype=np.float64)


@dataclass(frozen=True)
class Isotonic(Calibrator):
    """Isotonic regression for two labels: any rising function of the probability of the first one.

    The source is Zadrozny and Elkan 2002, "Transforming classifier scores into accurate multiclass probability
    estimates". It can correct more than a temperature, such as the effect of class weights, and needs more rows.

    Attributes:
        scores: Uncalibrated probabilities of the first label, rising; the function is linear between them.
        probabilities: The calibrated probability for each of the scores.
    """

    scores: tuple[float, ...]
    probabilities: tuple[float, ...]

    kind = "isotonic"

    def __post_init__(self) -> None:
        """Raise ValueError unless both have the same length and rise."""
        if not self.scores or len(self.scores) != len(self.probabilities):
            raise ValueError(f"{len(self.scores)} scores, but {len(self.probabilities)} probabilities")
        if not (np.all(np.diff(self.scores) >= 0) and np.all(np.diff(self.probabilities) >= 0)):
            raise ValueError("the scores and the probabilities of an isotonic calibrator must rise")

    def apply(self, probabilities: NDArray[np.float64]) -> NDArray[np.float64]:
        """Calibrate probabilities, shape (rows, 2); see `Calibrator.apply`."""
        first = np.interp(probabilities[:, 0], self.scores, self.probabilities)
        return np.stack([first, 1 - first], axis=1)


def logarithms(probabilities: NDArray[np.float64]) -> NDArray[np.float64]:
    """Return natural logarithms of probabilities, each at least `MIN_PROBABILITY`."""
    return np.log(np.maximum(probabilities, MIN_PROBABILITY))

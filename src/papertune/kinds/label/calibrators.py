"""Calibrators: what makes a model's probabilities mean what they say. `papertune.metrics.calibration` fits them."""

from abc import ABC, abstractmethod
from collections.abc import Mapping
from dataclasses import asdict, dataclass
from typing import Any, ClassVar, Literal

import numpy as np
from numpy.typing import NDArray

# A probability of 0 has no logarithm. No probability is taken to be below this, as in scikit-learn's log_loss.
LEAST_PROBABILITY = float(np.finfo(np.float64).eps)


@dataclass(frozen=True)
class Calibrator(ABC):
    """Makes a model's probabilities mean what they say.

    Attributes:
        kind: Which variant it is.
    """

    kind: ClassVar[Literal["temperature", "isotonic"]]

    @abstractmethod
    def apply(self, probabilities: NDArray[np.float64]) -> NDArray[np.float64]:
        """Calibrate probabilities.

        Args:
            probabilities: Float64, shape (rows, labels), rows that add up to 1; a row of NaN stays one.

        Returns:
            Float64, shape (rows, labels); above 0, rows that add up to 1.
        """

    def as_dict(self) -> dict[str, Any]:
        """Give the same as text and numbers, ready for JSON."""
        return {"kind": self.kind, **asdict(self)}

    @staticmethod
    def from_dict(values: Mapping[str, Any]) -> "Calibrator":
        """Make a calibrator from what `as_dict` gave.

        Raises:
            ValueError: If it is not that.
        """
        try:
            if values["kind"] == "temperature":
                return Temperature(float(values["temperature"]))
            if values["kind"] == "isotonic":
                return Isotonic(*(tuple(map(float, values[name])) for name in ("scores", "probabilities")))
        except (KeyError, TypeError, ValueError) as error:
            raise ValueError(f"no calibrator: {dict(values)} ({error!r})") from None
        raise ValueError(f"no calibrator: there is no kind {values['kind']!r}, only temperature and isotonic")


@dataclass(frozen=True)
class Temperature(Calibrator):
    """Temperature scaling: softmax(log p / T) (Guo et al. 2017, arXiv:1706.04599, section 4.2), for any labels.

    Attributes:
        temperature: T. Above 1 the model is made less sure, below 1 surer.
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
    """Isotonic regression of two labels: any rising function of the first one's probability.

    The source is Zadrozny and Elkan 2002, "Transforming classifier scores into accurate multiclass probability
    estimates". It can undo more than one temperature can, such as what class weights have done, and needs more rows.

    Attributes:
        scores: Probabilities of the first label before, rising; between two of them the function is a straight line.
        probabilities: Its probabilities after, for each of the scores.
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
    """Give natural logarithms, of a probability of 0 that of the least one."""
    return np.log(np.maximum(probabilities, LEAST_PROBABILITY))

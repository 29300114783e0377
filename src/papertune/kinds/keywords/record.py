"""What run.json keeps of the ranking of keywords."""

from dataclasses import dataclass


@dataclass(frozen=True)
class Ranking:
    """What was found for a column of ranked keywords on the calibration set.

    Attributes:
        rows: How many rows it had. With too few, nothing else was found.
        weights: Coefficients, by feature, of a logistic regression of the probability that a keyword is one of the
            paper's; None: keywords are ordered by the model's own probability.
        intercept: Of the regression.
        min_confidence: The probability from which a keyword is written, if the recipe asks for one.
    """

    rows: int
    weights: dict[str, float] | None = None
    intercept: float = 0.0
    min_confidence: float | None = None

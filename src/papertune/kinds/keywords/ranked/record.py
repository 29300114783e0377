"""The ranking of keywords in run.json."""

from dataclasses import dataclass

from papertune.records import AS_WRITTEN


@dataclass(frozen=True)
class Ranking:
    """The calibration of a column of ranked keywords.

    Attributes:
        rows: Number of rows of the calibration set. With too few, nothing else is fitted.
        weights: Coefficients, by feature, of a logistic regression of the probability that a keyword is a gold keyword;
            None: keywords are ranked by the words of the training rows, or without these by the probability of the
            model.
        intercept: Intercept of the regression.
        min_confidence: Minimum probability of written keywords, if the recipe asks for one.
        evidence: F1@5 on the calibration set: "words", and cross-fitted "joined" with the model, and the
            "standard_error" of the difference; None if only one source was there.
    """

    __pydantic_config__ = AS_WRITTEN

    rows: int
    weights: dict[str, float] | None = None
    intercept: float = 0.0
    min_confidence: float | None = None
    evidence: dict[str, float] | None = None

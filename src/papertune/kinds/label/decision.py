"""From the probabilities of a label column to its answers: calibrated, chosen, withheld where unsure, or as a set."""

from collections.abc import Mapping
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from papertune.kinds.label.calibrators import Calibrator
from papertune.kinds import LabelColumn, RankedKeywordsColumn
from papertune.recipe import Recipe
from papertune.run_directory import Calibration, Ranking


@dataclass(frozen=True)
class Decision:
    """How a label column is answered.

    Attributes:
        calibrator: What calibrates the model's probabilities; None: they are taken as they are.
        threshold: The first of two labels is chosen from this calibrated probability on; None: the likeliest label is
            chosen, the first of equals.
        abstain_below: No answer is given where the calibrated probability of the chosen label is lower.
        set_threshold: A label is in the set from this probability on, before calibration.
    """

    calibrator: Calibrator | None = None
    threshold: float | None = None
    abstain_below: float = 0.0
    set_threshold: float = 0.0

    def calibrated(self, probabilities: NDArray[np.float64]) -> NDArray[np.float64]:
        """Give the calibrated probabilities.

        Args:
            probabilities: As the model gives them, float64, shape (rows, labels); NaN in rows that were not asked.
        """
        return probabilities if self.calibrator is None else self.calibrator.apply(probabilities)

    def chosen(self, calibrated: NDArray[np.float64]) -> NDArray[np.int64]:
        """Choose a label for each row, whether it is sure or not.

        Args:
            calibrated: From `calibrated`.

        Returns:
            Columns of `calibrated`, int64, shape (rows,).
        """
        if self.threshold is None:
            return np.asarray(calibrated.argmax(axis=1), dtype=np.int64)
        return (calibrated[:, 0] < self.threshold).astype(np.int64)

    def withheld(self, calibrated: NDArray[np.float64]) -> NDArray[np.bool_]:
        """Tell in which rows the chosen label is not sure enough; bool, shape (rows,)."""
        rows = np.arange(len(calibrated))
        return np.asarray(calibrated[rows, self.chosen(calibrated)] < self.abstain_below)

    def sets(self, probabilities: NDArray[np.float64]) -> NDArray[np.bool_]:
        """Give the labels that cannot be ruled out, bool, shape (rows, labels).

        The likeliest is always one of them, so no set is empty. Conformal prediction allows empty sets; with a label
        more the share of the sets that hold the true one can only rise.

        Args:
            probabilities: As the model gives them, float64, shape (rows, labels).
        """
        return label_sets(probabilities, self.set_threshold)


def decisions(recipe: Recipe, calibration: Mapping[str, Calibration]) -> dict[str, Decision]:
    """Give how each label column of a run is answered.

    Args:
        recipe: The run's recipe.
        calibration: What was found out on its dev rows, by column; nothing for those that are missing.

    Raises:
        ValueError: If a calibrator is damaged.
    """
    found: dict[str, Decision] = {}
    for name, column in recipe.columns.items():
        if isinstance(column, LabelColumn):
            fitted = calibration.get(name, Calibration(rows=0))
            given = column.threshold
            found[name] = Decision(
                calibrator=None if fitted.calibrator is None else Calibrator.from_dict(fitted.calibrator),
                threshold=given if isinstance(given, float) else fitted.threshold,
                abstain_below=max(column.abstain_below, fitted.abstain_below or 0.0),
                set_threshold=fitted.set_threshold or 0.0,
            )
    return found


def gaps(recipe: Recipe, calibration: Mapping[str, Calibration], rankings: Mapping[str, Ranking]) -> list[str]:
    """Say what the recipe asks for and dev rows have not given, a sentence each, and what is done without it.

    Args:
        recipe: The columns.
        calibration: What was found out on dev rows about label columns, by column.
        rankings: The same about columns of ranked keywords.
    """
    texts: list[str] = []
    for name, column in recipe.columns.items():
        if isinstance(column, LabelColumn):
            found = calibration.get(name, Calibration(rows=0))
            without = {
                "threshold": (found.threshold, "the likelier label is written"),
                "abstain_for_accuracy": (found.abstain_below, "no cell is left empty for it"),
                "coverage": (found.set_threshold, "every set has all labels"),
            }
            for key in column.fitted_keys:
                value, so = without[key]
                if value is None:
                    texts.append(_gap(name, key, so))
        elif isinstance(column, RankedKeywordsColumn):
            ranking = rankings.get(name, Ranking(rows=0))
            if column.fitted_keys and ranking.min_confidence is None:
                texts.append(_gap(name, "min_confidence", f"up to {column.count} keywords are written"))
    return texts


def _gap(name: str, key: str, so: str) -> str:
    return f'column "{name}": the dev rows of the training gave nothing for {key}; {so}.'


def label_sets(probabilities: NDArray[np.float64], threshold: float) -> NDArray[np.bool_]:
    """Give the labels of each row that are at least as likely as a threshold, and the likeliest.

    Args:
        probabilities: Float64, shape (rows, labels).
        threshold: Such as `papertune.metrics.selective.conformal_threshold` finds.

    Returns:
        Which labels are in the set, bool, shape (rows, labels).
    """
    sets = probabilities >= threshold
    sets[np.arange(len(sets)), probabilities.argmax(axis=1)] = True
    return sets

"""Scores of a labels column, where a row has none, one or several labels.

The averages are those of Tsoumakas, Katakis and Vlahavas 2010, "Mining Multi-label Data",
doi:10.1007/978-0-387-09823-4_34. The main one is micro F1: every label of every row counts the same. Unlike macro F1 it
hardly depends on labels that a small table has once or never, and unlike the F1 of rows it is 0 if all rows are empty.
"""

from collections.abc import Sequence
from dataclasses import asdict, dataclass
from typing import Any, ClassVar

import numpy as np
from numpy.typing import NDArray

from papertune.metrics.intervals import SEED, Interval, counted_interval, mean_interval, share_interval
from papertune.metrics.label_scores import LabelScore
from papertune.metrics.paired import RANDOMIZATIONS, PairedDifference
from papertune.metrics.scores import Measure, Scores


@dataclass(frozen=True)
class MultilabelScores(Scores):
    """Scores of the predictions of a labels column.

    Attributes:
        rows: Number of scored rows.
        labels: The label set, in the order of `per_label`.
        micro_f1: F1 over all pairs of a row and a label; 0 without any gold or predicted pair.
        micro_f1_interval: Its 95 percent bootstrap interval.
        micro_precision: Share of the predicted labels that are right; 0 without any.
        micro_recall: Share of the gold labels that are predicted; 0 without any.
        macro_f1: Unweighted mean of F1 over the whole label set; a label without any row counts as 0.
        macro_f1_interval: Its 95 percent bootstrap interval.
        samples_f1: Mean over rows of the F1 of the row's labels; 1 for a row without gold and predicted labels.
        samples_f1_interval: Its 95 percent bootstrap interval.
        subset_accuracy: Share of the rows with exactly the right labels.
        subset_accuracy_interval: Its 95 percent interval (Wilson's).
        per_label: Precision, recall, F1 and support of each label.
        average_precision: Mean of the area under the precision-recall curve over the labels that some rows have and
            others lack; it needs no thresholds. None without probabilities or such labels.
        true_labels: Mean number of gold labels of a row.
        predicted_labels: Mean number of predicted labels of a row.
    """

    rows: int
    labels: tuple[str, ...]
    micro_f1: float
    micro_f1_interval: Interval
    micro_precision: float
    micro_recall: float
    macro_f1: float
    macro_f1_interval: Interval
    samples_f1: float
    samples_f1_interval: Interval
    subset_accuracy: float
    subset_accuracy_interval: Interval
    per_label: tuple[LabelScore, ...]
    average_precision: float | None
    true_labels: float
    predicted_labels: float

    template: ClassVar[str] = "labels"

    @property
    def main(self) -> float:
        """Micro F1."""
        return self.micro_f1

    def measures(self) -> list[Measure]:
        """Return the scores that tables show; micro F1 first."""
        return [
            Measure("micro_f1", "Micro F1", self.micro_f1, self.micro_f1_interval),
            Measure("macro_f1", "Macro F1", self.macro_f1, self.macro_f1_interval),
            Measure("samples_f1", "F1 of rows", self.samples_f1, self.samples_f1_interval),
            Measure("subset_accuracy", "All labels right", self.subset_accuracy, self.subset_accuracy_interval),
            Measure("average_precision", "Average precision", self.average_precision),
        ]

    def dev_measures(self) -> dict[str, float]:
        """Return micro and macro F1."""
        return {"micro_f1": self.micro_f1, "macro_f1": self.macro_f1}

    def as_dict(self) -> dict[str, Any]:
        """Return the scores as plain dicts, lists, strings and numbers, ready for JSON."""
        plain = asdict(self)
        plain["labels"] = list(self.labels)
        plain["per_label"] = list(plain["per_label"])
        return plain


def score_multilabel(
    gold: NDArray[np.bool_],
    predicted: NDArray[np.bool_],
    labels: Sequence[str],
    probabilities: NDArray[np.float64] | None = None,
) -> MultilabelScores:
    """Compare predicted sets of labels with the gold ones.

    The F1 of rows is scikit-learn's `f1_score(..., average="samples", zero_division=1)`, because no label is a valid
    answer; all other scores have `zero_division=0`.

    Args:
        gold: Gold labels of each row, bool, shape (rows, labels).
        predicted: Predicted labels of each row, bool, shape (rows, labels).
        labels: The label set, without repeats.
        probabilities: Probability of each label of each row, float64, shape (rows, labels); NaN if unknown.

    Raises:
        ValueError: If there are no rows or the shapes differ.
    """
    _check(gold, predicted, labels, probabilities)
    hits = gold & predicted
    precision, recall, f1 = _precision_recall_f1(hits.sum(axis=0), gold.sum(axis=0), predicted.sum(axis=0))
    micro = _precision_recall_f1(hits.sum(), gold.sum(), predicted.sum())
    by_row = samples_f1(gold, predicted)
    micro_f1_interval, macro_f1_interval = _intervals(gold, predicted)
    return MultilabelScores(
        rows=len(gold),
        labels=tuple(labels),
        micro_f1=float(micro[2]),
        micro_f1_interval=micro_f1_interval,
        micro_precision=float(micro[0]),
        micro_recall=float(micro[1]),
        macro_f1=float(f1.mean()),
        macro_f1_interval=macro_f1_interval,
        samples_f1=float(by_row.mean()),
        samples_f1_interval=mean_interval(by_row),
        subset_accuracy=float((gold == predicted).all(axis=1).mean()),
        subset_accuracy_interval=share_interval(int((gold == predicted).all(axis=1).sum()), len(gold)),
        per_label=tuple(
            LabelScore(label, float(precision[n]), float(recall[n]), float(f1[n]), int(gold[:, n].sum()))
            for n, label in enumerate(labels)
        ),
        average_precision=None if probabilities is None else _average_precision(gold, probabilities),
        true_labels=float(gold.sum(axis=1).mean()),
        predicted_labels=float(predicted.sum(axis=1).mean()),
    )


def samples_f1(gold: NDArray[np.bool_], predicted: NDArray[np.bool_]) -> NDArray[np.float64]:
    """Return the F1 of each row's labels, shape (rows,); 1 for a row without gold and predicted labels.

    Args:
        gold: Gold labels of each row, bool, shape (rows, labels).
        predicted: Predicted labels of each row, bool, shape (rows, labels).
    """
    divisors = gold.sum(axis=1) + predicted.sum(axis=1)
    return np.where(divisors, 2 * (gold & predicted).sum(axis=1) / np.maximum(divisors, 1), 1.0)


def micro_f1_difference(
    gold: NDArray[np.bool_], first: NDArray[np.bool_], second: NDArray[np.bool_]
) -> PairedDifference:
    """Compare the micro F1 of two systems on the same rows, with a bootstrap and a randomization test.

    A row adds whole numbers to micro F1: its hits, and its gold and predicted labels. So rows are counted by these
    numbers and the counts are drawn, as in `counted_interval`. The randomization test swaps the numbers of the two
    systems in about half the rows of each kind.

    Args:
        gold: Gold labels of each row, bool, shape (rows, labels).
        first: Labels that the first system predicts, bool, shape (rows, labels).
        second: Labels that the second system predicts, bool, shape (rows, labels).

    Raises:
        ValueError: If there are no rows or the shapes differ.
    """
    if not gold.shape == first.shape == second.shape:
        raise ValueError(f"the same rows and labels are needed, not {gold.shape}, {first.shape} and {second.shape}")
    if not len(gold):
        raise ValueError("a difference needs at least one row")
    numbers = np.stack(
        [
            count
            for predicted in (first, second)
            for count in ((gold & predicted).sum(axis=1), (gold.sum(axis=1) + predicted.sum(axis=1)))
        ],
        axis=1,
    )
    kinds, occurrences = np.unique(numbers, axis=0, return_counts=True)  # (kinds, 4), (kinds,)

    def difference(counts: NDArray[np.int64], swapped: NDArray[np.int64] | None = None) -> NDArray[np.float64]:
        totals = counts @ kinds  # (resamples, 4)
        if swapped is not None:
            totals = totals + swapped @ (kinds[:, [2, 3, 0, 1]] - kinds)
        scores = 2 * totals[:, [0, 2]] / np.maximum(totals[:, [1, 3]], 1)  # (resamples, 2)
        return np.asarray(scores[:, 0] - scores[:, 1], dtype=np.float64)

    found = float(difference(occurrences[None])[0])
    interval = counted_interval(occurrences, difference)
    swapped = np.random.default_rng(SEED).binomial(occurrences, 0.5, size=(RANDOMIZATIONS, len(occurrences)))
    drawn = np.abs(difference(occurrences[None], swapped))
    # Equal differences may differ in the last bits.
    p_value = (1 + int((drawn >= abs(found) - 1e-12).sum())) / (1 + RANDOMIZATIONS)
    return PairedDifference(found, interval.low, interval.high, p_value)


def _check(
    gold: NDArray[np.bool_],
    predicted: NDArray[np.bool_],
    labels: Sequence[str],
    probabilities: NDArray[np.float64] | None,
) -> None:
    """Raise ValueError unless all fit together."""
    if gold.shape != predicted.shape or gold.ndim != 2 or gold.shape[1] != len(labels):
        raise ValueError(
            f"{len(labels)} labels, but gold and predicted labels of the shapes {gold.shape} and {predicted.shape}"
        )
    if not len(gold):
        raise ValueError("no rows to score")
    if probabilities is not None and probabilities.shape != gold.shape:
        raise ValueError(f"probabilities have the shape {probabilities.shape}, not (rows, labels) = {gold.shape}")


def _precision_recall_f1(hits: Any, gold: Any, predicted: Any) -> tuple[Any, Any, Any]:
    """Return the three scores from counts of one label or several; a division by 0 is 0."""
    return hits / np.maximum(predicted, 1), hits / np.maximum(gold, 1), 2 * hits / np.maximum(gold + predicted, 1)


def _intervals(gold: NDArray[np.bool_], predicted: NDArray[np.bool_]) -> tuple[Interval, Interval]:
    """Return the intervals of micro and macro F1 from resampled counts of each kind of row."""
    width = gold.shape[1]
    kinds, occurrences = np.unique(np.concatenate([gold, predicted], axis=1), axis=0, return_counts=True)
    is_gold, is_predicted = kinds[:, :width], kinds[:, width:]
    hits, divisors = (is_gold & is_predicted).astype(np.float64), is_gold.astype(np.float64) + is_predicted

    def micro_f1(counts: NDArray[np.int64]) -> NDArray[np.float64]:
        found = 2 * (counts @ hits.sum(axis=1)) / np.maximum(counts @ divisors.sum(axis=1), 1)
        return np.asarray(found, dtype=np.float64)

    def macro_f1(counts: NDArray[np.int64]) -> NDArray[np.float64]:
        by_label = 2 * (counts @ hits) / np.maximum(counts @ divisors, 1)  # (resamples, labels)
        return np.asarray(by_label.mean(axis=1), dtype=np.float64)

    return counted_interval(occurrences, micro_f1), counted_interval(occurrences, macro_f1)


def _average_precision(gold: NDArray[np.bool_], probabilities: NDArray[np.float64]) -> float | None:
    from sklearn.metrics import average_precision_score

    found: list[float] = []
    for has_label, column in zip(gold.T, probabilities.T, strict=True):
        known = ~np.isnan(column)
        if len(np.unique(has_label[known])) == 2:
            found.append(float(average_precision_score(has_label[known], column[known])))
    return float(np.mean(found)) if found else None

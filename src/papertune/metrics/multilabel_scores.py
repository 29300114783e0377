"""Scores of a labels column, where a row has none, one or several labels.

The averages are those of Tsoumakas, Katakis and Vlahavas 2010, "Mining Multi-label Data",
doi:10.1007/978-0-387-09823-4_34. The main one is micro F1: it counts each label of each row the same, so unlike macro
F1 it does not hang on labels that a small table has once or never, and unlike the F1 of rows it gives nothing for
leaving all rows empty.
"""

from collections.abc import Sequence
from dataclasses import asdict, dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

from papertune.metrics.intervals import SEED, Interval, counted_interval, mean_interval, share_interval
from papertune.metrics.label_scores import LabelScore
from papertune.metrics.paired import RANDOMIZATIONS, PairedDifference


@dataclass(frozen=True)
class MultilabelScores:
    """What the predictions of a labels column are worth.

    Attributes:
        rows: How many rows were scored.
        labels: The label set, in the order of `per_label`.
        micro_f1: F1 over all pairs of a row and a label; 0 where there are none, neither true nor predicted.
        micro_f1_interval: Its 95 percent bootstrap interval.
        micro_precision: Share of the predicted labels that are right; 0 where none is predicted.
        micro_recall: Share of the true labels that are predicted; 0 where there are none.
        macro_f1: Plain mean of F1 over the whole label set; a label without any row counts as 0.
        macro_f1_interval: Its 95 percent bootstrap interval.
        samples_f1: Mean over rows of the F1 of the row's labels; 1 for a row that has none and is given none.
        samples_f1_interval: Its 95 percent bootstrap interval.
        subset_accuracy: Share of the rows with just the right labels.
        subset_accuracy_interval: Its 95 percent interval (Wilson's).
        per_label: Precision, recall, F1 and support of each label.
        average_precision: Mean over the labels that some row has, and some row has not, of the area under their
            precision-recall curve; it needs no thresholds. None without probabilities or such labels.
        true_labels: Mean number of labels that a row has.
        predicted_labels: Mean number of labels that a row is given.
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

    def as_dict(self) -> dict[str, Any]:
        """Give the same as plain dicts, lists, strings and numbers, ready for JSON."""
        plain = asdict(self)
        plain["labels"] = list(self.labels)
        plain["per_label"] = list(plain["per_label"])
        return plain


def score_multilabel(
    truth: NDArray[np.bool_],
    predicted: NDArray[np.bool_],
    labels: Sequence[str],
    probabilities: NDArray[np.float64] | None = None,
) -> MultilabelScores:
    """Compare predicted sets of labels with the true ones.

    All but the F1 of rows follow scikit-learn's `f1_score(..., zero_division=0)`; that follows `average="samples",
    zero_division=1`, as an empty row is an answer too.

    Args:
        truth: Which labels each row has, bool, shape (rows, labels).
        predicted: Which it is given, bool, shape (rows, labels).
        labels: The label set, each once.
        probabilities: How likely each row has each label, float64, shape (rows, labels); NaN where that is not known.

    Raises:
        ValueError: If there are no rows or the shapes differ.
    """
    _check(truth, predicted, labels, probabilities)
    hits = truth & predicted
    precision, recall, f1 = _precision_recall_f1(hits.sum(axis=0), truth.sum(axis=0), predicted.sum(axis=0))
    micro = _precision_recall_f1(hits.sum(), truth.sum(), predicted.sum())
    by_row = samples_f1(truth, predicted)
    micro_f1_interval, macro_f1_interval = _intervals(truth, predicted)
    return MultilabelScores(
        rows=len(truth),
        labels=tuple(labels),
        micro_f1=float(micro[2]),
        micro_f1_interval=micro_f1_interval,
        micro_precision=float(micro[0]),
        micro_recall=float(micro[1]),
        macro_f1=float(f1.mean()),
        macro_f1_interval=macro_f1_interval,
        samples_f1=float(by_row.mean()),
        samples_f1_interval=mean_interval(by_row),
        subset_accuracy=float((truth == predicted).all(axis=1).mean()),
        subset_accuracy_interval=share_interval(int((truth == predicted).all(axis=1).sum()), len(truth)),
        per_label=tuple(
            LabelScore(label, float(precision[n]), float(recall[n]), float(f1[n]), int(truth[:, n].sum()))
            for n, label in enumerate(labels)
        ),
        average_precision=None if probabilities is None else _average_precision(truth, probabilities),
        true_labels=float(truth.sum(axis=1).mean()),
        predicted_labels=float(predicted.sum(axis=1).mean()),
    )


def samples_f1(truth: NDArray[np.bool_], predicted: NDArray[np.bool_]) -> NDArray[np.float64]:
    """Give the F1 of each row's labels, 1 where it has none and is given none; shape (rows,).

    Args:
        truth: Which labels each row has, bool, shape (rows, labels).
        predicted: Which it is given, bool, shape (rows, labels).
    """
    named = truth.sum(axis=1) + predicted.sum(axis=1)
    return np.where(named, 2 * (truth & predicted).sum(axis=1) / np.maximum(named, 1), 1.0)


def micro_f1_difference(
    truth: NDArray[np.bool_], first: NDArray[np.bool_], second: NDArray[np.bool_]
) -> PairedDifference:
    """Compare the micro F1 of two contestants on the same rows, with a bootstrap and a randomization test.

    What a row adds to micro F1 are whole numbers: its hits, and the labels that it has or is given. So rows are counted
    by these numbers and the counts are drawn, as in `counted_interval`; in the randomization test the two contestants'
    numbers change places in about half the rows of each kind.

    Args:
        truth: Which labels each row has, bool, shape (rows, labels).
        first: Which the first contestant gives it, shape (rows, labels).
        second: The same of the second one.

    Raises:
        ValueError: If there are no rows or the shapes differ.
    """
    if not truth.shape == first.shape == second.shape:
        raise ValueError(f"the same rows and labels are needed, not {truth.shape}, {first.shape} and {second.shape}")
    if not len(truth):
        raise ValueError("a difference needs at least one row")
    numbers = np.stack(
        [
            count
            for said in (first, second)
            for count in ((truth & said).sum(axis=1), (truth.sum(axis=1) + said.sum(axis=1)))
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
    truth: NDArray[np.bool_],
    predicted: NDArray[np.bool_],
    labels: Sequence[str],
    probabilities: NDArray[np.float64] | None,
) -> None:
    """Raise ValueError unless all fit together."""
    if truth.shape != predicted.shape or truth.ndim != 2 or truth.shape[1] != len(labels):
        raise ValueError(
            f"{len(labels)} labels, but truth and predictions of the shapes {truth.shape}, {predicted.shape}"
        )
    if not len(truth):
        raise ValueError("no rows to score")
    if probabilities is not None and probabilities.shape != truth.shape:
        raise ValueError(f"probabilities have the shape {probabilities.shape}, not (rows, labels) = {truth.shape}")


def _precision_recall_f1(hits: Any, true: Any, predicted: Any) -> tuple[Any, Any, Any]:
    """Give the three from counts of one label or of several; what would be divided by 0 is 0."""
    return hits / np.maximum(predicted, 1), hits / np.maximum(true, 1), 2 * hits / np.maximum(true + predicted, 1)


def _intervals(truth: NDArray[np.bool_], predicted: NDArray[np.bool_]) -> tuple[Interval, Interval]:
    """Give the intervals of micro and macro F1, resampling how often each kind of row occurs."""
    width = truth.shape[1]
    kinds, occurrences = np.unique(np.concatenate([truth, predicted], axis=1), axis=0, return_counts=True)
    true_of, given_of = kinds[:, :width], kinds[:, width:]
    hit_of, named_of = (true_of & given_of).astype(np.float64), true_of.astype(np.float64) + given_of

    def micro_f1(counts: NDArray[np.int64]) -> NDArray[np.float64]:
        found = 2 * (counts @ hit_of.sum(axis=1)) / np.maximum(counts @ named_of.sum(axis=1), 1)
        return np.asarray(found, dtype=np.float64)

    def macro_f1(counts: NDArray[np.int64]) -> NDArray[np.float64]:
        by_label = 2 * (counts @ hit_of) / np.maximum(counts @ named_of, 1)  # (resamples, labels)
        return np.asarray(by_label.mean(axis=1), dtype=np.float64)

    return counted_interval(occurrences, micro_f1), counted_interval(occurrences, macro_f1)


def _average_precision(truth: NDArray[np.bool_], probabilities: NDArray[np.float64]) -> float | None:
    from sklearn.metrics import average_precision_score

    found: list[float] = []
    for true, likely in zip(truth.T, probabilities.T, strict=True):
        known = ~np.isnan(likely)
        if len(np.unique(true[known])) == 2:
            found.append(float(average_precision_score(true[known], likely[known])))
    return float(np.mean(found)) if found else None

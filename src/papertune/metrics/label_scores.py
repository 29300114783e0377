"""Scores of a label column: accuracy, F1 of each label, the confusion matrix, and what the probabilities are worth."""

from collections import Counter
from collections.abc import Sequence
from dataclasses import asdict, dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

from papertune.metrics.intervals import Interval, counted_interval, share_interval
from papertune.metrics.screening import average_precision_interval, precision_recall, work_saved

# How far the probabilities of a row may be from adding up to 1: sums of bfloat16 or of rounded table cells.
SUM_TOLERANCE = 1e-2


@dataclass(frozen=True)
class LabelScore:
    """How well one label was found.

    Attributes:
        label: The label.
        precision: Share of the rows given this label that have it; 0 where none was given it.
        recall: Share of the rows that have this label that were given it; 0 where none has it.
        f1: Harmonic mean of the two; 0 where both are 0.
        support: How many rows have this label.
    """

    label: str
    precision: float
    recall: float
    f1: float
    support: int


@dataclass(frozen=True)
class LabelScores:
    """What the predictions of a label column are worth.

    Attributes:
        rows: How many rows were scored.
        labels: The label set, in the order of `per_label` and of both axes of `confusion`.
        accuracy: Share of the rows with the right label; an empty prediction is wrong.
        accuracy_interval: Its 95 percent interval (Wilson's).
        macro_f1: Plain mean of F1 over the whole label set; see `score_labels`.
        macro_f1_interval: Its 95 percent bootstrap interval.
        per_label: Precision, recall, F1 and support of each label.
        confusion: Rows by true label (first axis) and predicted label (second axis). Empty predictions are in no
            column, so a row of this matrix may add up to less than the label's support.
        auc: Area under the ROC curve; see `score_labels`.
        log_loss: Mean of -ln(probability of the true label), nats; None without probabilities.
        average_precision: Of two labels the average precision of the first; see `score_labels`.
        average_precision_interval: Its 95 percent bootstrap interval.
        wss_at_95: Of two labels the work that reading the rows by rank saves over reading in random order, until 95
            percent of the rows of the first are found; see `papertune.metrics.screening.WorkSaved`.
        abstained: How many predictions were empty.
        accuracy_answered: Accuracy over the rows with a prediction; None if there is none.
    """

    rows: int
    labels: tuple[str, ...]
    accuracy: float
    accuracy_interval: Interval
    macro_f1: float
    macro_f1_interval: Interval
    per_label: tuple[LabelScore, ...]
    confusion: tuple[tuple[int, ...], ...]
    auc: float | None
    log_loss: float | None
    average_precision: float | None
    average_precision_interval: Interval | None
    wss_at_95: float | None
    abstained: int
    accuracy_answered: float | None

    def as_dict(self) -> dict[str, Any]:
        """Give the same as plain dicts, lists, strings and numbers, ready for JSON."""
        plain = asdict(self)
        plain["labels"] = list(self.labels)
        plain["per_label"] = list(plain["per_label"])
        plain["confusion"] = [list(row) for row in self.confusion]
        return plain


def score_labels(
    truth: Sequence[str],
    predicted: Sequence[str],
    labels: Sequence[str],
    probabilities: NDArray[np.floating[Any]] | None = None,
    ranking: NDArray[np.float64] | None = None,
) -> LabelScores:
    """Compare predicted labels with the true ones.

    Macro F1 follows scikit-learn's `f1_score(..., labels=labels, average="macro", zero_division=0)`: the mean is over
    the whole label set, and a label that occurs neither in the truth nor in the predictions counts as 0. So the divisor
    is the same for every contestant and in every resample.

    The area under the ROC curve takes `labels[0]` as the positive class where there are two labels. With more it is
    the plain mean of one label against the rest, over the labels that the truth has (scikit-learn's
    `roc_auc_score(..., multi_class="ovr", average="macro")`, which wants all of them there).

    Args:
        truth: The right label of each row, length rows.
        predicted: The predicted label of each row, or "" where there was no answer, length rows.
        labels: The label set, each once.
        probabilities: Probability of each label, float, shape (rows, labels), columns in the order of `labels`.
        ranking: By what the rows are ranked for the first of two labels, higher is likelier, in any unit, float64,
            shape (rows,); None: by the first column of `probabilities`. It is for probabilities that a calibrator has
            made equal: `auc`, `average_precision` and `wss_at_95` then look at what still tells the rows apart.

    Returns:
        The scores. `auc` is None without probabilities or if the truth has one label only; `average_precision` and
        `wss_at_95` are None without probabilities, if there are not two labels or no row has the first one.

    Raises:
        ValueError: If there are no rows, the lengths or shapes differ, a label is not in the label set or is there
            twice, the probabilities of a row are not probabilities, or a ranking comes without those of two labels.
    """
    from sklearn.metrics import confusion_matrix, precision_recall_fscore_support

    _check(truth, predicted, labels)
    shares = None if probabilities is None else _as_probabilities(probabilities, len(truth), len(labels))
    index = {label: number for number, label in enumerate(labels)}
    true_ids = np.array([index[label] for label in truth])
    precision, recall, f1, support = precision_recall_fscore_support(
        truth, predicted, labels=list(labels), average=None, zero_division=0
    )
    # Empty predictions stand in one column more, which the result does not show.
    confusion = confusion_matrix(truth, predicted, labels=[*labels, ""])[: len(labels), : len(labels)]
    ranks = _ranking(shares, ranking)
    positive = true_ids == 0
    screened = None if ranks is None or not positive.any() else (ranks, positive)
    right = sum(given == wanted for given, wanted in zip(predicted, truth, strict=True))
    abstained = sum(given == "" for given in predicted)
    accuracy_interval, macro_f1_interval = _intervals(truth, predicted, labels)
    return LabelScores(
        rows=len(truth),
        labels=tuple(labels),
        accuracy=right / len(truth),
        accuracy_interval=accuracy_interval,
        macro_f1=float(f1.mean()),
        macro_f1_interval=macro_f1_interval,
        per_label=tuple(
            LabelScore(label, float(precision[i]), float(recall[i]), float(f1[i]), int(support[i]))
            for i, label in enumerate(labels)
        ),
        confusion=tuple(tuple(int(cell) for cell in row) for row in confusion),
        auc=None if shares is None else _auc(true_ids, shares, ranks),
        log_loss=None if shares is None else _log_loss(true_ids, shares),
        average_precision=None if screened is None else precision_recall(*screened).average_precision,
        average_precision_interval=None if screened is None else average_precision_interval(*screened),
        wss_at_95=None if screened is None else work_saved(*screened).wss,
        abstained=abstained,
        accuracy_answered=right / (len(truth) - abstained) if abstained < len(truth) else None,
    )


def _check(truth: Sequence[str], predicted: Sequence[str], labels: Sequence[str]) -> None:
    """Raise ValueError unless the three fit together."""
    if len(truth) != len(predicted):
        raise ValueError(f"{len(truth)} true labels, but {len(predicted)} predicted ones")
    if not truth:
        raise ValueError("no rows to score")
    if not labels or len(set(labels)) != len(labels) or "" in labels:
        raise ValueError(f"a label set needs different, non-empty labels, not {list(labels)}")
    for kind, values in (("true", set(truth) - set(labels)), ("predicted", set(predicted) - set(labels) - {""})):
        if values:
            raise ValueError(f"{kind} label {min(values)!r} is not in the label set {list(labels)}")


def _as_probabilities(probabilities: NDArray[np.floating[Any]], rows: int, labels: int) -> NDArray[np.float64]:
    """Give the probabilities as float64 with rows that add up to 1, shape (rows, labels); raise ValueError."""
    shares = np.asarray(probabilities, dtype=np.float64)
    if shares.shape != (rows, labels):
        raise ValueError(f"probabilities have the shape {shares.shape}, not (rows, labels) = {(rows, labels)}")
    sums = shares.sum(axis=1, keepdims=True)
    # Written so that NaN, which compares as false, is refused too.
    if not (np.all(shares >= 0) and np.all(np.abs(sums - 1) <= SUM_TOLERANCE)):
        raise ValueError("the probabilities of each row must be at least 0 and add up to 1")
    return np.asarray(shares / sums, dtype=np.float64)


def _intervals(truth: Sequence[str], predicted: Sequence[str], labels: Sequence[str]) -> tuple[Interval, Interval]:
    """Give the intervals of accuracy and of macro F1, the latter resampling the confusion matrix, not the rows."""
    pairs = Counter(zip(truth, predicted, strict=True))
    occurrences = np.array(list(pairs.values()), dtype=np.int64)  # (kinds,)
    true_of = np.array([[wanted == label for label in labels] for wanted, _ in pairs], dtype=np.float64)
    given_of = np.array([[given == label for label in labels] for _, given in pairs], dtype=np.float64)
    hit_of = true_of * given_of  # all three (kinds, labels)

    def macro_f1(counts: NDArray[np.int64]) -> NDArray[np.float64]:
        # F1 = 2 hits / (rows with the label + rows given the label); 0 hits divided by at least 1 is the 0 we want.
        named = counts @ (true_of + given_of)  # (resamples, labels)
        return np.asarray((2 * (counts @ hit_of) / np.maximum(named, 1)).mean(axis=1), dtype=np.float64)

    hits = sum(count for (wanted, given), count in pairs.items() if wanted == given)
    return share_interval(hits, len(truth)), counted_interval(occurrences, macro_f1)


def _ranking(shares: NDArray[np.float64] | None, ranking: NDArray[np.float64] | None) -> NDArray[np.float64] | None:
    """Give by what rows are ranked for the first of two labels, shape (rows,); None without; raise ValueError."""
    if ranking is not None and (shares is None or ranking.shape != (len(shares),) or shares.shape[1] != 2):
        raise ValueError("a ranking needs a number for each row, and the probabilities of two labels")
    if shares is None or shares.shape[1] != 2:
        return None
    return shares[:, 0] if ranking is None else ranking


def _auc(true_ids: NDArray[np.int64], shares: NDArray[np.float64], ranks: NDArray[np.float64] | None) -> float | None:
    """Give the area under the ROC curve of labels[0], or the mean over labels if there are more than two."""
    from sklearn.metrics import roc_auc_score

    present = np.unique(true_ids)
    if len(present) < 2:
        return None
    if ranks is not None:
        return float(roc_auc_score(true_ids == 0, ranks))
    # Label by label, as scikit-learn's own one-vs-rest is not defined when a label is missing from a small table.
    return float(np.mean([roc_auc_score(true_ids == label, shares[:, label]) for label in present]))


def _log_loss(true_ids: NDArray[np.int64], shares: NDArray[np.float64]) -> float:
    """Give the mean of -ln(probability of the true label), nats."""
    from sklearn.metrics import log_loss

    if shares.shape[1] == 1:  # a sure thing, which scikit-learn refuses
        return 0.0
    # By label number, not by label: scikit-learn takes the columns to be in the labels' sorted order.
    return float(log_loss(true_ids, shares, labels=range(shares.shape[1])))

"""Scores of a label column: accuracy, F1 of each label, the confusion matrix, and scores of the probabilities."""

from collections import Counter
from collections.abc import Sequence
from dataclasses import asdict, dataclass
from typing import Any, ClassVar

import numpy as np
from numpy.typing import NDArray

from papertune.metrics.intervals import Interval, counted_interval, share_interval
from papertune.metrics.scores import Measure, Scores
from papertune.metrics.screening import average_precision_interval, precision_recall, work_saved

# Largest difference from 1 of the sum of a row's probabilities, which may be bfloat16 or rounded table cells.
SUM_TOLERANCE = 1e-2


@dataclass(frozen=True)
class LabelScore:
    """Scores of one label.

    Attributes:
        label: The label.
        precision: Share of the predictions of this label that are right; 0 without such predictions.
        recall: Share of the rows with this label for which it was predicted; 0 without such rows.
        f1: Harmonic mean of the two; 0 if both are 0.
        support: Number of rows with this label.
    """

    label: str
    precision: float
    recall: float
    f1: float
    support: int


@dataclass(frozen=True)
class LabelScores(Scores):
    """Scores of the predictions of a label column.

    Attributes:
        rows: Number of scored rows.
        labels: The label set, in the order of `per_label` and of both axes of `confusion`.
        accuracy: Share of the rows with the right label; an empty prediction is wrong.
        accuracy_interval: Its 95 percent interval (Wilson's).
        macro_f1: Unweighted mean of F1 over the whole label set; see `score_labels`.
        macro_f1_interval: Its 95 percent bootstrap interval.
        per_label: Precision, recall, F1 and support of each label.
        confusion: Rows by gold label (first axis) and predicted label (second axis). Empty predictions have no column,
            so a row of this matrix may add up to less than the label's support.
        auc: Area under the ROC curve; see `score_labels`.
        log_loss: Mean of -ln(probability of the gold label), nats; None without probabilities.
        average_precision: Average precision of the first of two labels; see `score_labels`.
        average_precision_interval: Its 95 percent bootstrap interval.
        wss_at_95: Work saved over sampling at a recall of 0.95 for the first of two labels; see
            `papertune.metrics.screening.WorkSaved`.
        abstained: Number of empty predictions.
        accuracy_answered: Accuracy over the rows with a prediction; None without such rows.
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

    template: ClassVar[str] = "label"

    @property
    def main(self) -> float:
        """Macro F1; of two labels its mean with average precision, which sees how a rare label is ranked."""
        return self.macro_f1 if self.average_precision is None else (self.macro_f1 + self.average_precision) / 2

    def measures(self) -> list[Measure]:
        """Return the scores that tables show; accuracy first."""
        return [
            Measure("accuracy", "Accuracy", self.accuracy, self.accuracy_interval),
            Measure("macro_f1", "Macro F1", self.macro_f1, self.macro_f1_interval),
            Measure("auc", "AUC", self.auc),
            Measure("log_loss", "Log loss", self.log_loss),
            Measure("average_precision", "Average precision", self.average_precision, self.average_precision_interval),
            Measure("wss_at_95", "WSS@95", self.wss_at_95),
        ]

    def shown_measures(self, *, by_ranking: bool) -> list[Measure]:
        """Return average precision and WSS@95 first where the order of the rows counts."""
        of_ranking = ("average_precision", "wss_at_95", "accuracy", "macro_f1")
        keys = of_ranking if by_ranking else ("accuracy", "macro_f1", "auc", "log_loss")
        by_key = {measure.key: measure for measure in self.measures()}
        return [by_key[key] for key in keys]

    @property
    def agreement(self) -> float:
        """Accuracy."""
        return self.accuracy

    @property
    def ranking_score(self) -> float | None:
        """Average precision of the first of two labels."""
        return self.average_precision

    def unanswered(self, *, is_compared: bool) -> str:
        """Return how rows without an answer count."""
        if not self.abstained:
            return ""
        text = f"{self.abstained:,} of {self.rows:,} rows have no answer and count as wrong"
        if is_compared:
            text += ", in the comparison too"
        if self.accuracy_answered is not None:
            text += f"; accuracy over the others {self.accuracy_answered:.3f}"
        return (
            f"{text}. A file written by `papertune predict --probabilities` has them scored by the label that the run "
            "would give."
        )

    def dev_measures(self) -> dict[str, float]:
        """Return accuracy, macro F1 and log-loss, and average precision of the first of two labels."""
        measures = {"accuracy": self.accuracy, "macro_f1": self.macro_f1, "log_loss": self.log_loss or 0.0}
        if self.average_precision is not None:
            measures["average_precision"] = self.average_precision
        return measures

    def as_dict(self) -> dict[str, Any]:
        """Return the scores as plain dicts, lists, strings and numbers, ready for JSON."""
        plain = asdict(self)
        plain["labels"] = list(self.labels)
        plain["per_label"] = list(plain["per_label"])
        plain["confusion"] = [list(row) for row in self.confusion]
        return plain


def score_labels(
    gold: Sequence[str],
    predicted: Sequence[str],
    labels: Sequence[str],
    probabilities: NDArray[np.floating[Any]] | None = None,
    ranking: NDArray[np.float64] | None = None,
) -> LabelScores:
    """Compare predicted labels with the gold labels.

    Macro F1 is scikit-learn's `f1_score(..., labels=labels, average="macro", zero_division=0)`: the mean is over the
    whole label set, and a label that occurs neither in the gold labels nor in the predictions counts as 0. So the
    divisor is the same for every system and every resample.

    The area under the ROC curve has `labels[0]` as the positive class if there are two labels. With more labels it is
    the unweighted mean over the gold labels of one label against the rest (scikit-learn's
    `roc_auc_score(..., multi_class="ovr", average="macro")`, which needs a gold row of every label).

    Args:
        gold: The gold label of each row, length rows.
        predicted: The predicted label of each row, or "" without an answer, length rows.
        labels: The label set, without repeats.
        probabilities: Probability of each label, float, shape (rows, labels), columns in the order of `labels`.
        ranking: Score by which rows are ranked for the first of two labels, the most probable highest, in any unit,
            float64, shape (rows,); None: the first column of `probabilities`. After calibration probabilities may be
            equal; `auc`, `average_precision` and `wss_at_95` then need scores that still differ.

    Returns:
        The scores. `auc` is None without probabilities or if there is only one gold label; `average_precision` and
        `wss_at_95` are None without probabilities, if there are not two labels or no row has the first one.

    Raises:
        ValueError: If there are no rows, the lengths or shapes differ, a label is not in the label set or is in it
            twice, the probabilities of a row are invalid, or there is a ranking without probabilities of two labels.
    """
    _check(gold, predicted, labels)
    shares = None if probabilities is None else _as_probabilities(probabilities, len(gold), len(labels))
    gold_ids = np.array([labels.index(label) for label in gold])
    per_label = _score_each(gold, predicted, labels)
    ranks = _ranking(shares, ranking)
    right = sum(label == gold_label for label, gold_label in zip(predicted, gold, strict=True))
    abstained = sum(label == "" for label in predicted)
    precision, precision_interval, saved = _screening_scores(ranks, gold_ids == 0)
    accuracy_interval, macro_f1_interval = _intervals(gold, predicted, labels)
    return LabelScores(
        rows=len(gold),
        labels=tuple(labels),
        accuracy=right / len(gold),
        accuracy_interval=accuracy_interval,
        macro_f1=float(np.mean([each.f1 for each in per_label])),
        macro_f1_interval=macro_f1_interval,
        per_label=per_label,
        confusion=_confusion(gold, predicted, labels),
        auc=None if shares is None else _auc(gold_ids, shares, ranks),
        log_loss=None if shares is None else _log_loss(gold_ids, shares),
        average_precision=precision,
        average_precision_interval=precision_interval,
        wss_at_95=saved,
        abstained=abstained,
        accuracy_answered=right / (len(gold) - abstained) if abstained < len(gold) else None,
    )


def _score_each(gold: Sequence[str], predicted: Sequence[str], labels: Sequence[str]) -> tuple[LabelScore, ...]:
    """Return the scores of each label, in the order of the label set."""
    from sklearn.metrics import precision_recall_fscore_support

    of_labels = precision_recall_fscore_support(gold, predicted, labels=list(labels), average=None, zero_division=0)
    return tuple(
        LabelScore(label, float(precision), float(recall), float(f1), int(support))
        for label, precision, recall, f1, support in zip(labels, *of_labels, strict=True)
    )


def _confusion(gold: Sequence[str], predicted: Sequence[str], labels: Sequence[str]) -> tuple[tuple[int, ...], ...]:
    """Return the number of rows by gold label and predicted label."""
    from sklearn.metrics import confusion_matrix

    # Empty predictions are in one more column, which is dropped.
    counts = confusion_matrix(gold, predicted, labels=[*labels, ""])[: len(labels), : len(labels)]
    return tuple(tuple(int(cell) for cell in row) for row in counts)


def _check(gold: Sequence[str], predicted: Sequence[str], labels: Sequence[str]) -> None:
    """Raise ValueError unless the three fit together."""
    if len(gold) != len(predicted):
        raise ValueError(f"{len(gold)} gold labels, but {len(predicted)} predicted ones")
    if not gold:
        raise ValueError("no rows to score")
    if not labels or len(set(labels)) != len(labels) or "" in labels:
        raise ValueError(f"a label set needs different, non-empty labels, not {list(labels)}")
    for kind, values in (("gold", set(gold) - set(labels)), ("predicted", set(predicted) - set(labels) - {""})):
        if values:
            raise ValueError(f"{kind} label {min(values)!r} is not in the label set {list(labels)}")


def _as_probabilities(probabilities: NDArray[np.floating[Any]], rows: int, labels: int) -> NDArray[np.float64]:
    """Return the probabilities as float64 with rows that add up to 1, shape (rows, labels), or raise ValueError."""
    shares = np.asarray(probabilities, dtype=np.float64)
    if shares.shape != (rows, labels):
        raise ValueError(f"probabilities have the shape {shares.shape}, not (rows, labels) = {(rows, labels)}")
    sums = shares.sum(axis=1, keepdims=True)
    # Written so that NaN, which compares as false, is rejected too.
    if not (np.all(shares >= 0) and np.all(np.abs(sums - 1) <= SUM_TOLERANCE)):
        raise ValueError("the probabilities of each row must be at least 0 and add up to 1")
    return np.asarray(shares / sums, dtype=np.float64)


def _intervals(gold: Sequence[str], predicted: Sequence[str], labels: Sequence[str]) -> tuple[Interval, Interval]:
    """Return the intervals of accuracy and macro F1; for macro F1 the confusion matrix is resampled, not the rows."""
    pairs = Counter(zip(gold, predicted, strict=True))
    occurrences = np.array(list(pairs.values()), dtype=np.int64)  # (kinds,)
    is_gold = np.array([[gold_label == label for label in labels] for gold_label, _ in pairs], dtype=np.float64)
    is_predicted = np.array([[found == label for label in labels] for _, found in pairs], dtype=np.float64)
    is_hit = is_gold * is_predicted  # all three (kinds, labels)

    def macro_f1(counts: NDArray[np.int64]) -> NDArray[np.float64]:
        # F1 = 2 hits / (gold rows + predicted rows); 0 hits divided by at least 1 is 0, as intended.
        divisors = counts @ (is_gold + is_predicted)  # (resamples, labels)
        return np.asarray((2 * (counts @ is_hit) / np.maximum(divisors, 1)).mean(axis=1), dtype=np.float64)

    hits = sum(count for (gold_label, found), count in pairs.items() if gold_label == found)
    return share_interval(hits, len(gold)), counted_interval(occurrences, macro_f1)


def _screening_scores(
    ranks: NDArray[np.float64] | None, positive: NDArray[np.bool_]
) -> tuple[float | None, Interval | None, float | None]:
    """Return average precision, its interval and WSS@95; None without a ranking or a row with the first label."""
    if ranks is None or not positive.any():
        return None, None, None
    average = precision_recall(ranks, positive).average_precision
    return average, average_precision_interval(ranks, positive), work_saved(ranks, positive).wss


def _ranking(shares: NDArray[np.float64] | None, ranking: NDArray[np.float64] | None) -> NDArray[np.float64] | None:
    """Return the score by which rows are ranked for the first of two labels, shape (rows,); None without one."""
    if ranking is not None and (shares is None or ranking.shape != (len(shares),) or shares.shape[1] != 2):
        raise ValueError("a ranking needs a number for each row and the probabilities of two labels")
    if shares is None or shares.shape[1] != 2:
        return None
    return shares[:, 0] if ranking is None else ranking


def _auc(gold_ids: NDArray[np.int64], shares: NDArray[np.float64], ranks: NDArray[np.float64] | None) -> float | None:
    """Return the area under the ROC curve of labels[0], or the mean over labels if there are more than two."""
    from sklearn.metrics import roc_auc_score

    present = np.unique(gold_ids)
    if len(present) < 2:
        return None
    if ranks is not None:
        return float(roc_auc_score(gold_ids == 0, ranks))
    # Label by label: scikit-learn's one-vs-rest is not defined if a small table lacks a label.
    return float(np.mean([roc_auc_score(gold_ids == label, shares[:, label]) for label in present]))


def _log_loss(gold_ids: NDArray[np.int64], shares: NDArray[np.float64]) -> float:
    """Return the mean of -ln(probability of the gold label), nats."""
    from sklearn.metrics import log_loss

    if shares.shape[1] == 1:  # probability 1, which scikit-learn rejects
        return 0.0
    # By label number, not by label: scikit-learn expects the columns in the sorted order of the labels.
    return float(log_loss(gold_ids, shares, labels=range(shares.shape[1])))

"""Label sets that a loss runs over, and trainings whose loss stays above chance."""

import math
from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass

import torch
from torch import Tensor

from papertune.decoding.scoring.label_scoring import LabelTrie

# The share of the last steps over which the loss at the end is a mean.
_END_SHARE = 1 / 3


@dataclass(frozen=True)
class LabelSet:
    """The labels of a column that a loss runs over.

    Attributes:
        column: The recipe's column; the questions of a labels column share one label set.
        trie: The trie of the labels.
        chance: The mean loss of always answering with the shares of the labels, by question, in nats. Shares and mean
            are weighted as the loss is.
    """

    column: str
    trie: LabelTrie
    chance: float = math.inf


def chance_loss(weights: Iterable[Sequence[float]]) -> float:
    """Return the mean loss of the best answers that do not depend on the row.

    Args:
        weights: For each question the sums of the weights of each label; their shares are the best answer.

    Returns:
        The entropy of the shares, in nats; of several questions the mean, weighted by their sums. 0 without weights.
    """
    loss = total = 0.0
    for sums in weights:
        whole = sum(sums)
        loss -= sum(each * math.log(each / whole) for each in sums if each > 0)
        total += whole
    return loss / total if total else 0.0


class LabelLosses:
    """Sums up the losses of label sets over batches.

    Args:
        label_sets: The label sets, each of a column of its own.
    """

    def __init__(self, label_sets: Sequence[LabelSet]) -> None:
        self._columns = [each.column for each in label_sets]
        self._sums = torch.zeros(2, len(label_sets))  # losses and weights; on the device of the first batch

    def add(self, losses: Tensor, label_sets: Tensor, weights: Tensor) -> None:
        """Add a batch.

        Args:
            losses: From `answer_losses`.
            label_sets: As there.
            weights: As there.
        """
        self._sums = self._sums.to(losses.device)
        self._sums[0] += losses[: len(self._columns)]
        is_label = label_sets >= 0
        self._sums[1].index_add_(0, label_sets[is_label], weights[is_label])

    def pop(self, reduce: Callable[[Tensor], Tensor]) -> dict[str, float]:
        """Return the mean loss of each column by its key in metrics.jsonl, and begin anew.

        Args:
            reduce: Adds up the sums of all processes.
        """
        losses, weights = reduce(self._sums).tolist() if self._columns else ([], [])
        self._sums = torch.zeros_like(self._sums)
        found = zip(self._columns, losses, weights, strict=True)
        return {loss_key(column): loss / weight for column, loss, weight in found if weight}


def loss_key(column: str) -> str:
    """Return the name of a label column's loss in metrics.jsonl."""
    return f"loss_{column}"


def loss_at_end(log: Sequence[Mapping[str, float]], column: str) -> tuple[float, int] | None:
    """Return the mean loss of a label column over the last third of the steps, and the first of these steps.

    Args:
        log: The trainer's log, with steps; each loss is a mean since the entry before.
        column: The column.

    Returns:
        None if no entry has the loss.
    """
    key = loss_key(column)
    entries = [(int(entry["step"]), entry[key]) for entry in log if key in entry]
    if not entries:
        return None
    begin = (1 - _END_SHARE) * entries[-1][0]
    steps = [0, *(step for step, _ in entries)]
    end = [(step - before, loss, before) for before, (step, loss) in zip(steps, entries, strict=False) if step > begin]
    return sum(count * loss for count, loss, _ in end) / sum(count for count, *_ in end), end[0][2] + 1


def above_chance(label_sets: Sequence[LabelSet], log: Sequence[Mapping[str, float]], learning_rate: float) -> list[str]:
    """Return a warning for each label column whose loss at the end is not below chance.

    Args:
        label_sets: The label sets of the training.
        log: The trainer's log, with steps.
        learning_rate: The highest learning rate of the training.
    """
    texts: list[str] = []
    for each in label_sets:
        if (end := loss_at_end(log, each.column)) is None or end[0] < each.chance:
            continue
        texts.append(
            f'column "{each.column}": the loss since step {end[1]:,} is {end[0]:.3f}, and {each.chance:.3f} is what '
            "answering all rows alike would have. So the model has not learned this column, and its answers are no "
            f"better than chance. Try another rate (--set training.learning_rate={learning_rate / 3:.1g}), more epochs "
            "(--set training.epochs=...) or more rows, and look with papertune compare at what simple baselines do."
        )
    return texts

"""The answer-only loss: what is learnt are the tokens of the answer, nothing of the prompt.

An example enters training as the ids of its prompt and of its answer without the last token. Its logits are wanted from
the prompt's last token on (targets stay aligned with the tokens that predict them; nothing is shifted later):

    ids        p0  p1  p2  a0  a1
    targets             a0  a1  end        three positions, from first = 2

Where the loss runs over a label set, the prompt alone is enough, and the target is the label's index:

    ids        p0  p1  p2
    targets             1                  among the logits of the label tokens

Each example counts the same, however long its answer: the loss is the mean over examples of the mean over their
answer tokens.
"""

from collections.abc import Sequence
from dataclasses import dataclass

import torch
import torch.nn.functional as F
from torch import Tensor

from papertune.encoding import pad_right

# Stands in `label_set` for "the whole vocabulary".
VOCABULARY = -1


@dataclass(frozen=True, slots=True)
class TrainingRow:
    """One encoded example.

    Attributes:
        ids: Input ids.
        first: Place of the first token whose logits are wanted; the others follow it.
        targets: Token ids, or the index in a label set, one for each wanted position.
        label_set: Index of the label set that the loss runs over, or `VOCABULARY`.
        weight: How much the example counts.
    """

    ids: list[int]
    first: int
    targets: list[int]
    label_set: int = VOCABULARY
    weight: float = 1.0


def collate(rows: Sequence[TrainingRow], pad_id: int) -> dict[str, Tensor]:
    """Make a batch of training rows.

    Returns:
        input_ids: int64, shape (batch, seq), filled up at the right.
        rows, columns: Where logits are wanted, int64, shape (positions,).
        targets, label_sets: As in `TrainingRow`, int64, shape (positions,).
        weights: Weight of the example over the length of its answer, float32, shape (positions,).
        examples: How many examples there are, int64, shape ().
    """
    positions = [(index, row, offset) for index, row in enumerate(rows) for offset in range(len(row.targets))]
    return {
        "input_ids": pad_right([row.ids for row in rows], pad_id),
        "rows": torch.tensor([index for index, _, _ in positions]),
        "columns": torch.tensor([row.first + offset for _, row, offset in positions]),
        "targets": torch.tensor([row.targets[offset] for _, row, offset in positions]),
        "label_sets": torch.tensor([row.label_set for _, row, _ in positions]),
        "weights": torch.tensor([row.weight / len(row.targets) for _, row, _ in positions], dtype=torch.float32),
        "examples": torch.tensor(len(rows)),
    }


def answer_loss(
    logits: Tensor, targets: Tensor, label_sets: Tensor, weights: Tensor, label_tokens: Sequence[Tensor]
) -> Tensor:
    """Sum the weighted cross-entropy of the wanted positions, in float32.

    Args:
        logits: Any float dtype, shape (positions, vocab).
        targets: Token id, or index in the label set, int64, shape (positions,).
        label_sets: Index into `label_tokens`, or `VOCABULARY`, int64, shape (positions,).
        weights: float32, shape (positions,).
        label_tokens: For each label set its token ids, int64, shape (labels,).

    Returns:
        In nats, float32, shape ().
    """
    total = logits.new_zeros((), dtype=torch.float32)
    for label_set in torch.unique(label_sets).tolist():
        chosen = label_sets == label_set
        scores = logits[chosen]
        if label_set != VOCABULARY:
            scores = scores[:, label_tokens[label_set]]
        nll = F.cross_entropy(scores.float(), targets[chosen], reduction="none")
        total = total + (nll * weights[chosen]).sum()
    return total

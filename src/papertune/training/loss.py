"""The answer-only loss.

Each example counts the same, however long its answer: the loss is the mean over examples of the mean over the tokens
of their answers. The yes or no to each label of a labels column are together one example, so that columns count the
same.
"""

from collections.abc import Sequence

import torch
import torch.nn.functional as F
from torch import Tensor

from papertune.training.batch import VOCABULARY


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

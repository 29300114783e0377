"""The loss over answers.

Each example counts the same, however long its answer is: the loss is the mean over examples of the mean over the tokens
of their answers. The yes-or-no questions of a labels column together are one example, so all columns count the same.
"""

from collections.abc import Sequence

import torch
import torch.nn.functional as F
from torch import Tensor

from papertune.training.batch import VOCABULARY


def answer_loss(
    logits: Tensor, targets: Tensor, label_sets: Tensor, weights: Tensor, label_tokens: Sequence[Tensor]
) -> Tensor:
    """Return the sum of the weighted cross-entropy, computed in float32.

    Args:
        logits: Float of any precision, shape (positions, vocab).
        targets: Token ids, or indices in label sets, int64, shape (positions,).
        label_sets: Index into `label_tokens`, or `VOCABULARY`, int64, shape (positions,).
        weights: float32, shape (positions,).
        label_tokens: The token ids of each label set, int64, shape (labels,).

    Returns:
        The loss in nats, float32, shape ().
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

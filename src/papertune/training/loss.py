"""The loss over answers.

Each example counts the same, however long its answer is: the loss is the mean over examples of the mean over the tokens
of their answers. The yes-or-no questions of a labels column together are one example, so all columns count the same.

Where the loss runs over a label set, it is the cross-entropy over the scores that prediction compares: the
log-probabilities of the labels' tokens and the end token, read along a trie.
"""

from collections.abc import Sequence

import torch
import torch.nn.functional as F
from torch import Tensor

from papertune.decoding.label_scoring import LabelTrie
from papertune.training.batch import VOCABULARY


def answer_loss(
    logits: Tensor, targets: Tensor, label_sets: Tensor, weights: Tensor, tries: Sequence[LabelTrie]
) -> Tensor:
    """Return the sum of the weighted cross-entropy, computed in float32.

    Args:
        logits: Float of any precision, shape (positions, vocab).
        targets: Token ids, or indices in label sets, int64, shape (positions,).
        label_sets: Index into `tries`, or `VOCABULARY`, int64, shape (positions,). The positions of a question follow
            each other: the one before the label, and those of the inner nodes of the trie.
        weights: float32, shape (positions,); the weight of a question is their sum over its positions.
        tries: The trie of each label set.

    Returns:
        The loss in nats, float32, shape ().
    """
    total = logits.new_zeros((), dtype=torch.float32)
    for label_set in torch.unique(label_sets).tolist():
        chosen = label_sets == label_set
        scores, gold, weight = logits[chosen], targets[chosen], weights[chosen]
        if label_set != VOCABULARY:
            width = 1 + len(tries[label_set].tokens)
            scores = tries[label_set].scores(scores.reshape(-1, width, scores.shape[-1]))
            gold, weight = gold[::width], weight.reshape(-1, width).sum(1)
        nll = F.cross_entropy(scores.float(), gold, reduction="none")
        total = total + (nll * weight).sum()
    return total

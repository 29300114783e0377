"""The loss over answers.

Each example counts the same, however long its answer is: the loss is the mean over examples of the mean over the tokens
of their answers. The yes-or-no questions of a labels column together are one example, so all columns count the same.

Where the loss runs over a label set, it is the negative logarithm of the gold label's probability in prediction: the
product of the decisions among the labels, read along a trie.
"""

from collections.abc import Sequence

import torch
import torch.nn.functional as F
from torch import Tensor

from papertune.training.answers.batch import VOCABULARY
from papertune.training.answers.label_sets import LabelSet


def answer_losses(
    logits: Tensor, targets: Tensor, label_sets: Tensor, weights: Tensor, known: Sequence[LabelSet]
) -> Tensor:
    """Return the sums of the weighted cross-entropy, computed in float32.

    Args:
        logits: Float of any precision, shape (positions, vocab).
        targets: Token ids, or indices in label sets, int64, shape (positions,).
        label_sets: Index into `known`, or `VOCABULARY`, int64, shape (positions,). The positions of a question follow
            each other: the one before the label, and those of the inner nodes of the trie.
        weights: float32, shape (positions,); the weight of a question is their sum over its positions.
        known: The label sets.

    Returns:
        The loss of each label set and, last, of the answers over the whole vocabulary, in nats, float32, shape
        (label sets + 1,). The loss of the batch is their sum.
    """
    losses = [logits.new_zeros((), dtype=torch.float32)] * (len(known) + 1)
    for label_set in torch.unique(label_sets).tolist():
        chosen = label_sets == label_set
        scores, gold, weight = logits[chosen], targets[chosen], weights[chosen]
        if label_set != VOCABULARY:
            trie = known[label_set].trie
            width = 1 + len(trie.tokens)
            logprobs = trie.scores(scores.reshape(-1, width, scores.shape[-1]))
            nll = -logprobs.gather(1, gold[::width, None])[:, 0]
            weight = weight.reshape(-1, width).sum(1)
        else:
            nll = F.cross_entropy(scores.float(), gold, reduction="none")
        losses[label_set] = (nll * weight).sum()
    return torch.stack(losses)

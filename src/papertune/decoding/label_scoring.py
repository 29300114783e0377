"""Exact label probabilities: labels are scored, not sampled.

The score of a label is the log-probability of all its tokens and the end token after the prompt; the probabilities are
the softmax of the scores over the label set. If every label is a single token, the end token is left out: one forward
pass of the prompt is enough, and what the model would write after the label does not matter.

Labels of several tokens form a trie over token ids; tokens that labels share are computed once. All inner nodes go
through the model in one pass after the cached prompt; each sees the prompt and its own ancestors:

    labels          1, 12, 0               prompt  '1'  '0'  '2'(after 1)
    trie            root ─ '1' ─ end       '1'  ✓   ✓
                         │     └ '2' ─ end '0'  ✓        ✓
                         └ '0' ─ end       '2'  ✓   ✓         ✓
"""

from collections.abc import Sequence
from dataclasses import dataclass

import torch
from torch import Tensor


@dataclass(frozen=True)
class LabelTrie:
    """Labels as paths through shared tokens.

    The root is the prompt's last token. Nodes 0, 1, ... are the inner nodes, parents before children.

    Attributes:
        tokens: Token id of each inner node.
        parents: Parent of each inner node; -1: the root.
        depths: Tokens from the root, at least 1.
        paths: Steps of each label: (node whose logits are read, -1 for the root; token id that is read there).
    """

    tokens: tuple[int, ...]
    parents: tuple[int, ...]
    depths: tuple[int, ...]
    paths: tuple[tuple[tuple[int, int], ...], ...]

    @classmethod
    def build(cls, label_ids: Sequence[Sequence[int]], end_id: int) -> "LabelTrie":
        """Build the trie of some labels.

        Args:
            label_ids: Token ids of each label, at least one; all labels differ.
            end_id: The end-of-answer token.
        """
        single = all(len(ids) == 1 for ids in label_ids)
        tokens: list[int] = []
        parents: list[int] = []
        depths: list[int] = []
        known: dict[tuple[int, int], int] = {}
        paths: list[tuple[tuple[int, int], ...]] = []
        for ids in label_ids:
            steps: list[tuple[int, int]] = []
            node = -1
            for token in ids:
                steps.append((node, token))
                if (node, token) not in known:
                    known[node, token] = len(tokens)
                    tokens.append(token)
                    parents.append(node)
                    depths.append(1 if node < 0 else depths[node] + 1)
                node = known[node, token]
            paths.append(tuple(steps) if single else (*steps, (node, end_id)))
        if single:
            return cls((), (), (), tuple(paths))
        return cls(tuple(tokens), tuple(parents), tuple(depths), tuple(paths))

    def ancestors(self) -> Tensor:
        """Return which nodes each node sees: itself and its ancestors; bool, shape (nodes, nodes)."""
        return ancestors(self.parents)

    def scores(self, logits: Tensor) -> Tensor:
        """Return the scores of the labels; their softmax over the label set is the probability of each.

        The log-probability of a label, or, where every label is one token, its logit. Differentiable.

        Args:
            logits: Logits at the prompt's last token and the inner nodes, shape (batch, 1 + nodes, vocab).

        Returns:
            float32, shape (batch, labels).
        """
        steps = [(label, 1 + node, token) for label, path in enumerate(self.paths) for node, token in path]
        label_of, place, token_of = torch.tensor(steps, device=logits.device).T
        chosen = logits[:, place, token_of].float()  # (batch, steps)
        if self.tokens:
            chosen = chosen - logits.float().logsumexp(dim=-1)[:, place]
        return chosen.new_zeros(len(chosen), len(self.paths)).index_add(1, label_of, chosen)

    def label_probabilities(self, root_logits: Tensor, node_logits: Tensor | None) -> Tensor:
        """Turn logits into probabilities over the labels.

        Args:
            root_logits: Logits at the prompt's last token, shape (batch, vocab).
            node_logits: Logits at the inner nodes, shape (batch, nodes, vocab); None if there are none.

        Returns:
            float64, shape (batch, labels); each row sums to 1.
        """
        logprobs = {-1: torch.log_softmax(root_logits.double(), dim=-1)}
        if node_logits is not None:
            for node in range(len(self.tokens)):
                logprobs[node] = torch.log_softmax(node_logits[:, node].double(), dim=-1)
        scores = [sum(logprobs[node][:, token] for node, token in path) for path in self.paths]
        return torch.softmax(torch.stack(scores, dim=-1), dim=-1)  # type: ignore[arg-type]


def ancestors(parents: Sequence[int]) -> Tensor:
    """Return which nodes of a tree each node sees: itself and its ancestors.

    Args:
        parents: Parent of each node, which comes before it; -1: the root, which has no number.

    Returns:
        bool, shape (nodes, nodes).
    """
    sees = torch.zeros(len(parents), len(parents), dtype=torch.bool)
    for node, parent in enumerate(parents):
        if parent >= 0:
            sees[node] = sees[parent]
        sees[node, node] = True
    return sees

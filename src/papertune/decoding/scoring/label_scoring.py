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

With `choices` only the decisions among labels are scored: at each node where labels part, the probability of a token is
its share among the tokens that continue a label, as in decoding that can write nothing but labels. A token that no
other label can have there is certain, and needs no pass: "included" and "excluded" are told apart at the prompt's last
token. The probabilities add up to 1 without a softmax over the labels.
"""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from functools import cached_property

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
        choices: Whether a step's probability is that among the tokens of all steps at its node, not among all tokens.
    """

    tokens: tuple[int, ...]
    parents: tuple[int, ...]
    depths: tuple[int, ...]
    paths: tuple[tuple[tuple[int, int], ...], ...]
    choices: bool = False

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

    @classmethod
    def of_choices(cls, label_ids: Sequence[Sequence[int]], end_id: int) -> "LabelTrie":
        """Build the trie of the decisions among some labels.

        Args:
            label_ids: As in `build`.
            end_id: As in `build`.
        """
        whole = [(*ids, end_id) for ids in label_ids]
        following: dict[tuple[int, ...], set[int]] = {}
        for ids in whole:
            for at, token in enumerate(ids):
                following.setdefault(ids[:at], set()).add(token)
        parting = [prefix for prefix, tokens in following.items() if len(tokens) > 1]
        # In the order in which labels reach them, so parents come first.
        nodes = [prefix for prefix in following if prefix and any(p[: len(prefix)] == prefix for p in parting)]
        number = {(): -1} | {prefix: index for index, prefix in enumerate(nodes)}
        return cls(
            tokens=tuple(prefix[-1] for prefix in nodes),
            parents=tuple(number[prefix[:-1]] for prefix in nodes),
            depths=tuple(map(len, nodes)),
            paths=tuple(
                tuple((number[ids[:at]], token) for at, token in enumerate(ids) if len(following[ids[:at]]) > 1)
                for ids in whole
            ),
            choices=True,
        )

    @cached_property
    def root_tokens(self) -> tuple[int, ...]:
        """The tokens that are read at the root, ascending."""
        return tuple(sorted({token for path in self.paths for node, token in path if node < 0}))

    @cached_property
    def at_root(self) -> "LabelTrie":
        """This trie, which must have no inner nodes, for logits of `root_tokens` alone."""
        return self.among(self.root_tokens)

    @cached_property
    def read_tokens(self) -> tuple[int, ...] | None:
        """The tokens on whose logits the scores depend, ascending; None: all."""
        if self.tokens and not self.choices:
            return None
        return tuple(sorted({token for path in self.paths for _, token in path}))

    def among(self, tokens: Sequence[int]) -> "LabelTrie":
        """Return this trie for logits of some tokens alone, to which all `read_tokens` belong."""
        place = {token: index for index, token in enumerate(tokens)}
        return replace(self, paths=tuple(tuple((node, place[token]) for node, token in path) for path in self.paths))

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
        return self._sums({node: logits[:, 1 + node] for node in range(-1, len(self.tokens))}, torch.float32)

    def _sums(self, logits: Mapping[int, Tensor], dtype: torch.dtype) -> Tensor:
        """Return the sum over the steps of each label, shape (batch, labels).

        Args:
            logits: Logits at the root (-1) and at each node, shape (batch, vocab).
            dtype: Precision of the sums.
        """
        sums = logits[-1].new_zeros(len(logits[-1]), len(self.paths), dtype=dtype)
        for node, at in logits.items():
            steps = [(label, token) for label, path in enumerate(self.paths) for place, token in path if place == node]
            if not steps:
                continue
            label_of, token_of = torch.tensor(steps, device=at.device).T
            chosen = at[:, token_of].to(dtype)
            if self.choices:
                own = at[:, sorted({token for _, token in steps})].to(dtype)
                chosen = chosen - own.logsumexp(dim=-1, keepdim=True)
            elif self.tokens:
                chosen = chosen - at.to(dtype).logsumexp(dim=-1, keepdim=True)
            sums = sums.index_add(1, label_of, chosen)
        return sums

    def label_probabilities(self, root_logits: Tensor, node_logits: Tensor | None) -> Tensor:
        """Turn logits into probabilities over the labels.

        Args:
            root_logits: Logits at the prompt's last token, shape (batch, vocab).
            node_logits: Logits at the inner nodes, shape (batch, nodes, vocab); None if there are none.

        Returns:
            float64, shape (batch, labels); each row sums to 1.
        """
        logits = {-1: root_logits}
        if node_logits is not None:
            logits |= {node: node_logits[:, node] for node in range(len(self.tokens))}
        return torch.softmax(self._sums(logits, torch.float64), dim=-1)


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

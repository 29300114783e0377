"""Several label questions after one prompt, as a tree of tokens that goes through the model in one pass.

A document is followed by the tokens of each question, and these by the tokens of the question's labels. Tokens that
questions share at their beginning occur once, and each token sees the prompt and its own ancestors:

    questions       "About a?", "About b?", both with the labels yes and no

    tree            About ─ a ─ ?          ?: the first token of a label is read here
                        └── b ─ ?
"""

from collections.abc import Sequence
from dataclasses import dataclass

from torch import Tensor

from papertune.decoding.scoring.label_scoring import LabelTrie, ancestors


@dataclass(frozen=True)
class QuestionTree:
    """Questions as paths through shared tokens, each with the trie of its labels at its end.

    The root is the prompt's last token. Nodes 0, 1, ... have parents before children.

    Attributes:
        tokens: Token id of each node.
        parents: Parent of each node; -1: the root.
        depths: Tokens from the root, at least 1.
        roots: Last node of each question.
        inner: For each question the nodes that are the inner nodes of its labels' trie, in the order of the trie.
    """

    tokens: tuple[int, ...]
    parents: tuple[int, ...]
    depths: tuple[int, ...]
    roots: tuple[int, ...]
    inner: tuple[tuple[int, ...], ...]

    @classmethod
    def build(cls, questions: Sequence[tuple[Sequence[int], LabelTrie]]) -> "QuestionTree":
        """Build the tree of some questions.

        Args:
            questions: Token ids of each question, at least one, and the trie of its labels; all questions differ.
        """
        tokens: list[int] = []
        parents: list[int] = []
        depths: list[int] = []
        known: dict[tuple[int, int], int] = {}

        def child(parent: int, token: int) -> int:
            if (parent, token) not in known:
                known[parent, token] = len(tokens)
                tokens.append(token)
                parents.append(parent)
                depths.append(1 if parent < 0 else depths[parent] + 1)
            return known[parent, token]

        roots: list[int] = []
        inner: list[tuple[int, ...]] = []
        for ids, trie in questions:
            root = -1
            for token in ids:
                root = child(root, token)
            nodes: list[int] = []
            for token, parent in zip(trie.tokens, trie.parents, strict=True):
                nodes.append(child(root if parent < 0 else nodes[parent], token))
            roots.append(root)
            inner.append(tuple(nodes))
        return cls(tuple(tokens), tuple(parents), tuple(depths), tuple(roots), tuple(inner))

    @property
    def wanted(self) -> list[int]:
        """The nodes whose logits are read, ascending."""
        return sorted({*self.roots, *(node for nodes in self.inner for node in nodes)})

    def ancestors(self) -> Tensor:
        """Return which nodes each node sees: itself and its ancestors; bool, shape (nodes, nodes)."""
        return ancestors(self.parents)

    def label_probabilities(self, tries: Sequence[LabelTrie], logits: Tensor) -> list[Tensor]:
        """Turn logits into probabilities over the labels of each question.

        Args:
            tries: The tries with which the tree was built.
            logits: Logits at the nodes in `wanted`, shape (batch, wanted, vocab).

        Returns:
            For each question float64, shape (batch, labels); each row sums to 1.
        """
        place = {node: index for index, node in enumerate(self.wanted)}
        probabilities: list[Tensor] = []
        for trie, root, nodes in zip(tries, self.roots, self.inner, strict=True):
            below = logits[:, [place[node] for node in nodes]] if nodes else None
            probabilities.append(trie.label_probabilities(logits[:, place[root]], below))
        return probabilities


def split_questions(questions: Sequence[Sequence[int]], tries: Sequence[LabelTrie], max_tokens: int) -> list[list[int]]:
    """Split questions, in their order, into parts whose tree has at most `max_tokens` tokens, or one question.

    Returns:
        Indices of the questions of each part.
    """
    parts: list[list[int]] = []
    tokens = 0
    for index, (ids, trie) in enumerate(zip(questions, tries, strict=True)):
        own = len(ids) + len(trie.tokens)
        if parts and tokens + own <= max_tokens:
            parts[-1].append(index)
            tokens += own
        else:
            parts.append([index])
            tokens = own
    return parts

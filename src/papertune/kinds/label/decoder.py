"""The decoder of a label column: labels are scored, not generated."""

from collections.abc import Sequence

from papertune.decoding.engine import Engine, PromptState
from papertune.decoding.scoring.label_scoring import LabelTrie
from papertune.kinds.decoder import Decoder, DecodingTools, Value
from papertune.kinds.label.column import LabelColumn


class LabelDecoder(Decoder):
    """Scores the labels of a column.

    Args:
        column: The column.
        tools: Encodes the labels.
    """

    trie: LabelTrie

    def __init__(self, column: LabelColumn, tools: DecodingTools) -> None:
        build = LabelTrie.build if column.loss_labels is None else LabelTrie.of_choices
        self.trie = build(tools.encoder.label_ids(column.labels), tools.encoder.end_id)

    def answer(self, engine: Engine, state: PromptState, documents: Sequence[str], tokens: int) -> Sequence[Value]:
        """Return the probability of each label, in the recipe's order, for each row."""
        nodes = None
        if self.trie.tokens:
            nodes = engine.tree_logits(state, self.trie.tokens, self.trie.ancestors(), self.trie.depths)
        probabilities: list[Value] = self.trie.label_probabilities(state.last_logits, nodes).tolist()
        return probabilities

"""Decoders of keywords: a list decoded greedily, or ranked keywords found by search."""

import math
from collections.abc import Sequence
from typing import Any

from torch import Tensor

from papertune.decoding.engine import Engine, PromptState
from papertune.decoding.greedy import greedy
from papertune.decoding.overflow import check_numbers, no_numbers
from papertune.decoding.sampling import sample
from papertune.kinds.decoder import Decoder, DecodingTools, Value
from papertune.kinds.keywords.column import KeywordsColumn
from papertune.kinds.keywords.no_repetition import NoRepeatedKeyword
from papertune.kinds.keywords.ranked.column import RankedKeywordsColumn
from papertune.kinds.keywords.ranked.ranking import FoundKeyword, KeywordChoice, ranked_as_text
from papertune.kinds.keywords.ranked.search import KeywordSearch

# Prompt tokens that take the memory of one token of a phrase, which has logits.
_TOKENS_PER_NODE = 16


class ListDecoder(Decoder):
    """Decodes a list of keywords greedily.

    Args:
        name: The column's name, for messages.
        column: The column.
        tools: Tokenizer and end tokens.
    """

    def __init__(self, name: str, column: KeywordsColumn, tools: DecodingTools) -> None:
        self._name = name
        self._column = column
        self._tools = tools
        self._rule = NoRepeatedKeyword(tools.tokenizer, column.separator)

    def answer(self, engine: Engine, state: PromptState, documents: Sequence[str], tokens: int) -> Sequence[Value]:
        """Return a list for each row, as text."""
        check_numbers(self._name, state)
        limit = self._column.max_new_tokens
        ids = greedy(
            engine,
            state,
            end_ids=self._tools.end_ids,
            max_new_tokens=limit,
            vocabulary=len(self._tools.tokenizer),
            forbid=self._rule,
        )
        texts: list[str] = self._tools.tokenizer.batch_decode(ids, skip_special_tokens=True)
        return [self._whole(text, len(row) >= limit) for text, row in zip(texts, ids, strict=True)]

    def sample(self, engine: Engine, state: PromptState, uniforms: Tensor, temperature: float) -> list[Value]:
        """Draw a list for each row; it repeats no keyword either."""
        drawn = sample(
            engine,
            state,
            uniforms,
            temperature=temperature,
            end_ids=self._tools.end_ids,
            vocabulary=len(self._tools.tokenizer),
            forbid=self._rule,
        )
        ids = [list(answer.ids) for answer in drawn]
        texts: list[str] = self._tools.tokenizer.batch_decode(ids, skip_special_tokens=True)
        return [self._whole(text, not answer.is_complete) for text, answer in zip(texts, drawn, strict=True)]

    def _whole(self, text: str, cut_off: bool) -> str:
        """Drop a last keyword that the token limit has cut off, unless it is the only one."""
        separator = self._column.separator.strip() or self._column.separator
        return text.rsplit(separator, 1)[0] if cut_off and separator in text else text


class RankedDecoder(Decoder):
    """Finds keywords and chooses among them.

    Args:
        name: The column's name, for messages.
        column: The column.
        tools: What the search needs.
    """

    has_candidates = True
    decision: KeywordChoice

    def __init__(self, name: str, column: RankedKeywordsColumn, tools: DecodingTools) -> None:
        self._name = name
        self._column = column
        self.decision = tools.decision or KeywordChoice.of(name, column, None)
        self._search = KeywordSearch(column, tools.encoder, tools.tokenizer, tools.end_ids, tools.document_template)

    @property
    def reads_document(self) -> bool:
        """Whether phrases of the document are candidates.

        Without a fitted ranking they only displace results of beam search, and scoring them takes time.
        """
        return self._column.candidates == "document" or self.decision.weights is not None

    def answer(
        self, engine: Engine, state: PromptState, documents: Sequence[str], tokens: int
    ) -> Sequence[list[FoundKeyword]]:
        """Return the keywords found for each row, the most probable first; with a ranking only some candidates."""
        check_numbers(self._name, state)
        found = self._search(engine, state, documents, max(tokens // _TOKENS_PER_NODE, 1), self.decision)
        if any(math.isnan(keyword.log_probability) for keywords in found for keyword in keywords):
            raise no_numbers(self._name)
        return found

    def value(self, answer: Any) -> Value:
        """Return the chosen keywords with their confidences, as text."""
        return ranked_as_text(self.decision.choose(answer, self._column.count))

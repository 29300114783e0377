"""Decoding free text, greedily or with beam search."""

import math
from collections.abc import Sequence

from torch import Tensor

from papertune.decoding.answer import Answer
from papertune.decoding.beams import beam_search
from papertune.decoding.engine import Engine, PromptState
from papertune.decoding.greedy import greedy_answers
from papertune.decoding.overflow import check_numbers, no_numbers
from papertune.decoding.pattern import PatternRule
from papertune.decoding.sampling import sample
from papertune.kinds.decoder import Decoder, DecodingTools, Value
from papertune.kinds.text.cells import answer_as_text, confidence_of
from papertune.kinds.text.column import TextColumn

# The answer for a row for which beam search finds nothing that matches the pattern.
NO_ANSWER = Answer((), -math.inf)


class TextDecoder(Decoder):
    """Decodes an answer.

    Args:
        name: The column's name, for messages.
        column: The column.
        tools: Tokenizer and end tokens.
    """

    def __init__(self, name: str, column: TextColumn, tools: DecodingTools) -> None:
        self._name = name
        self._column = column
        self._tools = tools
        self._rule: PatternRule | None = None
        if column.pattern is not None:
            self._rule = PatternRule(column.pattern, tools.tokenizer, tools.end_ids, column.empty.strip())

    def answer(self, engine: Engine, state: PromptState, documents: Sequence[str], tokens: int) -> Sequence[Answer]:
        """Return an answer for each row."""
        check_numbers(self._name, state)
        column, rule = self._column, self._rule
        ends, limit, vocabulary = self._tools.end_ids, column.max_new_tokens, len(self._tools.tokenizer)
        if column.decoding == "greedy":
            answers = greedy_answers(
                engine, state, end_ids=ends, max_new_tokens=limit, vocabulary=vocabulary, forbid=rule
            )
            found = [[answer] for answer in answers]
        else:
            found = beam_search(
                engine,
                state,
                end_ids=ends,
                beams=column.beams,
                max_new_tokens=limit,
                vocabulary=vocabulary,
                forbid=rule,
                by_mean=True,
            )
        if any(math.isnan(answer.log_probability) for row in found for answer in row):
            raise no_numbers(self._name)
        return [row[0] if row else NO_ANSWER for row in found]

    def sample(self, engine: Engine, state: PromptState, uniforms: Tensor, temperature: float) -> list[Value]:
        """Draw an answer for each row."""
        drawn = sample(
            engine,
            state,
            uniforms,
            temperature=temperature,
            end_ids=self._tools.end_ids,
            vocabulary=len(self._tools.tokenizer),
            forbid=self._rule,
        )
        return [self.value(answer) for answer in drawn]

    def value(self, answer: Answer) -> Value:
        """Return the text and its confidence, as one text.

        An answer that the limit of tokens cuts off before it matches the pattern is cut back to where it does.
        """
        ids = answer.ids if self._rule is None else self._rule.matching(answer.ids)
        text: str = self._tools.tokenizer.decode(ids, skip_special_tokens=True, clean_up_tokenization_spaces=False)
        has_match = bool(ids) or not answer.ids
        return answer_as_text(text, confidence_of(answer.mean_log_probability) if has_match else 0.0)

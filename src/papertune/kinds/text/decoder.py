"""Decoding free text, greedily or with beam search."""

from collections.abc import Sequence

from papertune.decoding.answer import Answer
from papertune.decoding.beams import beam_search
from papertune.decoding.engine import Engine, PromptState
from papertune.decoding.greedy import greedy_answers
from papertune.decoding.overflow import check_numbers
from papertune.kinds.decoder import Decoder, DecodingTools, Value
from papertune.kinds.text.cells import answer_as_text, confidence_of
from papertune.kinds.text.column import TextColumn


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

    def answer(self, engine: Engine, state: PromptState, documents: Sequence[str], tokens: int) -> Sequence[Answer]:
        """Return an answer for each row."""
        check_numbers(self._name, state)
        ends, limit, vocabulary = self._tools.end_ids, self._column.max_new_tokens, len(self._tools.tokenizer)
        if self._column.decoding == "greedy":
            return greedy_answers(engine, state, end_ids=ends, max_new_tokens=limit, vocabulary=vocabulary)
        beams = self._column.beams
        found = beam_search(engine, state, end_ids=ends, beams=beams, max_new_tokens=limit, vocabulary=vocabulary)
        return [max(row, key=lambda answer: answer.mean_log_probability) for row in found]

    def value(self, answer: Answer) -> Value:
        """Return the text and its confidence, as one text."""
        text: str = self._tools.tokenizer.decode(answer.ids, skip_special_tokens=True)
        return answer_as_text(text, confidence_of(answer.mean_log_probability))

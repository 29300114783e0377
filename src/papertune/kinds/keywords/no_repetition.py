"""What may not be decoded in a keyword list: a keyword that stands there already.

Greedy decoding of a small model falls into repeating one keyword until the limit. So the token that would complete a
repetition is forbidden, and the next best one is taken. Text is compared without regard to case.
"""

from collections.abc import Sequence
from typing import Any

# A repetition that slips through (its last character is half a token) ends the list at the second time.
_MOST_REPETITIONS = 2


class NoRepeatedKeyword:
    """Forbids the tokens that would complete a keyword for the second time.

    Args:
        tokenizer: A transformers tokenizer.
        separator: What stands between keywords.
    """

    def __init__(self, tokenizer: Any, separator: str) -> None:
        self._tokenizer = tokenizer
        self._separator = separator.strip() or separator
        self._by_text: dict[str, list[int]] = {}
        for token, text in enumerate(tokenizer.batch_decode([[token] for token in range(len(tokenizer))])):
            self._by_text.setdefault(text.casefold(), []).append(token)

    def __call__(self, answer: Sequence[int]) -> list[int] | None:
        """Give the token ids that must not come next; None where the list goes in circles."""
        text = self._tokenizer.decode(answer, skip_special_tokens=True).casefold()
        *written, partial = text.split(self._separator)
        keywords = [keyword.strip() for keyword in written]
        if len(keywords) - len(set(keywords)) >= _MOST_REPETITIONS:
            return None
        partial = partial.lstrip()
        forbidden: list[int] = []
        for keyword in set(keywords):
            if keyword.startswith(partial) and len(keyword) > len(partial):
                rest = keyword[len(partial) :]
                forbidden += self._by_text.get(rest, [])
                if not partial:
                    forbidden += self._by_text.get(f" {rest}", [])
        return forbidden

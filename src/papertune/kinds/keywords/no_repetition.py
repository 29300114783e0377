"""A rule for decoding keyword lists: no keyword twice.

A small model that decodes greedily may repeat one keyword until the limit. So the token that would complete a repeated
keyword is forbidden, and the next best one is chosen. Case is ignored.
"""

from collections.abc import Sequence
from typing import Any

# Some repetitions cannot be prevented (the last character is part of a token); the second one ends the list.
_MAX_REPETITIONS = 2


class NoRepeatedKeyword:
    """Forbids the tokens that would complete a repeated keyword.

    Args:
        tokenizer: A transformers tokenizer.
        separator: The text between keywords.
    """

    def __init__(self, tokenizer: Any, separator: str) -> None:
        self._tokenizer = tokenizer
        self._separator = separator.strip() or separator
        self._by_text: dict[str, list[int]] = {}
        for token, text in enumerate(tokenizer.batch_decode([[token] for token in range(len(tokenizer))])):
            self._by_text.setdefault(text.casefold(), []).append(token)

    def __call__(self, answer: Sequence[int]) -> list[int] | None:
        """Return the token ids that must not come next; None if the list must end."""
        text = self._tokenizer.decode(answer, skip_special_tokens=True).casefold()
        *written, partial = text.split(self._separator)
        keywords = [keyword.strip() for keyword in written]
        if len(keywords) - len(set(keywords)) >= _MAX_REPETITIONS:
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

"""Decoding only what matches a regular expression, with llguidance.

At each step llguidance finds the tokens that can still lead to a match, and all others are forbidden. An answer may end
where it matches as a whole. The regular expressions are those of Rust's crate regex: like Python's, without lookaround
and backreferences.
"""

import re
from collections.abc import Collection, Sequence
from functools import lru_cache
from typing import Any

import numpy as np
import torch
from torch import Tensor

from papertune.errors import MissingExtraError, RecipeError

# How SentencePiece writes a blank, and a byte of a character that has no piece.
_BLANK, _BYTE = "▁", re.compile(r"<0x([0-9A-F]{2})>")


def pattern_grammar(pattern: str, also: str = "") -> str:
    """Return a regular expression as llguidance's grammar.

    Args:
        pattern: The regular expression.
        also: A text that is allowed besides; "": none.

    Raises:
        MissingExtraError: If llguidance is not installed.
        RecipeError: If it cannot use the regular expression.
    """
    try:
        from llguidance import LLMatcher
    except ImportError:
        raise MissingExtraError(
            "a pattern needs llguidance, which is not installed: pip install 'papertune[pattern]'"
        ) from None
    allowed = _without_anchors(pattern) + (f"|{re.escape(also)}" if also else "")
    # A SentencePiece tokenizer puts a blank before the first word; cells are trimmed.
    grammar: str = LLMatcher.grammar_from_regex(f" ?(?:{allowed})")
    if problem := LLMatcher.validate_grammar(grammar):
        found = re.search(r"error: .*|lookarounds not supported", problem)
        reason = found.group().removeprefix("error: ") if found else problem.splitlines()[0]
        raise RecipeError(f"the pattern {pattern!r} cannot be used to decode: {reason}. Write it without that.")
    return grammar


class PatternRule:
    """Forbids the tokens after which an answer can no longer match a regular expression.

    Args:
        pattern: The regular expression, which an answer matches as a whole.
        tokenizer: A transformers tokenizer.
        end_ids: Tokens that end an answer.
        also: A text that is allowed besides; "": none.

    Raises:
        MissingExtraError: If llguidance is not installed.
        RecipeError: If it cannot use the regular expression.
    """

    def __init__(self, pattern: str, tokenizer: Any, end_ids: Collection[int], also: str = "") -> None:
        grammar = pattern_grammar(pattern, also)
        from llguidance import LLMatcher

        self._tokens = len(tokenizer)
        self._ends = sorted(end_ids)
        self._matcher = LLMatcher(_tokenizer(tokenizer), grammar, log_level=0)

    def __call__(self, answer: Sequence[int]) -> Tensor | None:
        """Return which tokens must not come next, bool, shape (vocab,), or more where an end token has a higher id.

        None is returned where no token can come next, though the answer does not match.
        """
        self._read(answer)
        bits = np.frombuffer(self._matcher.compute_bitmask(), dtype=np.uint8)
        forbidden = np.ones(max(self._tokens, self._ends[-1] + 1), dtype=np.bool_)
        forbidden[: self._tokens] = np.unpackbits(bits, bitorder="little", count=self._tokens) == 0
        forbidden[self._ends] = not self._matcher.is_accepting()
        return None if forbidden.all() else torch.from_numpy(forbidden)

    def matching(self, answer: Sequence[int]) -> Sequence[int]:
        """Return the longest beginning of an answer that matches; the empty answer if none does."""
        for length in range(len(answer), 0, -1):
            self._read(answer[:length])
            if self._matcher.is_accepting():
                return answer[:length]
        return answer[:0]

    def _read(self, answer: Sequence[int]) -> None:
        self._matcher.reset()
        if not self._matcher.consume_tokens(list(answer)):
            raise RuntimeError(f"llguidance: {self._matcher.get_error().splitlines()[0]}")


def _without_anchors(pattern: str) -> str:
    """Return a pattern without ^ at its beginning and $ at its end, which change nothing where all must match."""
    ending = pattern.endswith("$") and (len(pattern) - len(pattern[:-1].rstrip("\\"))) % 2 == 1
    return pattern[:-1].removeprefix("^") if ending else pattern.removeprefix("^")


@lru_cache(maxsize=1)  # a second for a large vocabulary, and each dev score makes new decoders
def _tokenizer(tokenizer: Any) -> Any:
    from llguidance import LLTokenizer, TokenizerWrapper

    if tokenizer.is_fast:
        from llguidance.hf import from_tokenizer

        return from_tokenizer(tokenizer, n_vocab=len(tokenizer))
    return LLTokenizer(TokenizerWrapper(_SentencePieces(tokenizer)))


class _SentencePieces:
    """What llguidance asks of a SentencePiece tokenizer in Python, such as that of ChatGLM2."""

    def __init__(self, tokenizer: Any) -> None:
        self.eos_token_id = tokenizer.eos_token_id
        self.bos_token_id = tokenizer.bos_token_id
        self.special_token_ids = tokenizer.all_special_ids
        self.tokens = [self._bytes(piece) for piece in tokenizer.convert_ids_to_tokens(range(len(tokenizer)))]
        self._ids = {token: index for index, token in enumerate(self.tokens) if index not in self.special_token_ids}
        self._longest = max(map(len, self._ids))

    def __call__(self, text: bytes) -> list[int]:
        """Return the tokens of a text that must come next: always the longest one; what no token begins is skipped."""
        ids: list[int] = []
        start = 0
        while start < len(text):
            ends = range(min(len(text), start + self._longest), start, -1)
            end = next((end for end in ends if text[start:end] in self._ids), None)
            if end is not None:
                ids.append(self._ids[text[start:end]])
            start = end or start + 1
        return ids

    @staticmethod
    def _bytes(piece: str) -> bytes:
        byte = _BYTE.fullmatch(piece)
        return bytes([int(byte[1], 16)]) if byte else piece.replace(_BLANK, " ").encode()

"""The objects of OpenAI's API: completions, and chunks of a stream."""

import secrets
import time
from abc import ABC, abstractmethod
from collections.abc import Mapping, Sequence
from typing import Any, ClassVar

from papertune.serve.answering.wanted import Ended, Piece, Token


class Shape(ABC):
    """The objects that answer one request.

    Args:
        model: The model as the request names it.
        checksum: Of the run.
        alternatives: How many alternatives each token shows; None: all that are known.
        with_tokens: Whether tokens are shown.
    """

    prefix: ClassVar[str]
    whole_object: ClassVar[str]
    chunk_object: ClassVar[str]

    def __init__(self, model: str, checksum: str, alternatives: int | None, *, with_tokens: bool) -> None:
        self._head = {
            "id": f"{self.prefix}-{secrets.token_hex(12)}",
            "created": int(time.time()),
            "model": model,
            "system_fingerprint": checksum,
        }
        self._alternatives = alternatives
        self._with_tokens = with_tokens

    @abstractmethod
    def choice(self, text: str, tokens: Sequence[Token], offset: int) -> dict[str, Any]:
        """Return what a finished choice says beside its index and its end."""

    @abstractmethod
    def delta(self, text: str, tokens: Sequence[Token], offset: int) -> dict[str, Any]:
        """Return what a chunk adds to a choice.

        Args:
            text: The text.
            tokens: Its tokens.
            offset: Characters of the choice before it.
        """

    def first(self, index: int) -> list[dict[str, Any]]:
        """Return the chunks with which a choice begins."""
        return []

    def last(self, index: int, ended: Ended) -> dict[str, Any]:
        """Return the chunk with which a choice ends."""
        return self.chunk(index, self.delta("", [], 0), ended.reason, ended.warnings)

    def whole(self, pieces: Mapping[int, Sequence[Piece]], ends: Mapping[int, Ended]) -> dict[str, Any]:
        """Return the answer to a request that wants no stream.

        Args:
            pieces: By the index of the choice.
            ends: Likewise.
        """
        choices = [
            {
                "index": index,
                **self.choice("".join(each.text for each in pieces[index]), self.tokens(pieces[index]), 0),
                "finish_reason": ends[index].reason,
            }
            for index in sorted(pieces)
        ]
        body = {**self._head, "object": self.whole_object, "choices": choices, "usage": usage(ends)}
        warnings = [text for index in sorted(ends) for text in ends[index].warnings]
        return body | ({"warnings": warnings} if warnings else {})

    def chunk(
        self, index: int, delta: Mapping[str, Any], reason: str | None = None, warnings: Sequence[str] = ()
    ) -> dict[str, Any]:
        """Return a chunk of a stream."""
        choice = {"index": index, **delta, "finish_reason": reason}
        body = {**self._head, "object": self.chunk_object, "choices": [choice]}
        return body | ({"warnings": list(warnings)} if warnings else {})

    def usage_chunk(self, ends: Mapping[int, Ended]) -> dict[str, Any]:
        """Return the last chunk, which has the usage."""
        return {**self._head, "object": self.chunk_object, "choices": [], "usage": usage(ends)}

    def tokens(self, pieces: Sequence[Piece]) -> list[Token]:
        """Return the tokens of some pieces that are shown."""
        return [each.token for each in pieces if each.token is not None] if self._with_tokens else []

    def alternatives_of(self, token: Token) -> list[tuple[str, float]]:
        """Return the alternatives of a token that are shown."""
        return token.alternatives[: self._alternatives]


class ChatShape(Shape):
    """The objects of /v1/chat/completions."""

    prefix = "chatcmpl"
    whole_object = "chat.completion"
    chunk_object = "chat.completion.chunk"

    def choice(self, text: str, tokens: Sequence[Token], offset: int) -> dict[str, Any]:
        """Return the message and its tokens."""
        message = {"role": "assistant", "content": text, "refusal": None}
        return {"message": message, "logprobs": self._logprobs(tokens)}

    def delta(self, text: str, tokens: Sequence[Token], offset: int) -> dict[str, Any]:
        """Return more of the content."""
        return {"delta": {"content": text} if text or tokens else {}, "logprobs": self._logprobs(tokens)}

    def first(self, index: int) -> list[dict[str, Any]]:
        """Return the chunk with the role."""
        return [self.chunk(index, {"delta": {"role": "assistant", "content": ""}, "logprobs": None})]

    def _logprobs(self, tokens: Sequence[Token]) -> dict[str, Any] | None:
        if not tokens:
            return None
        content = [
            {
                **_scored(token.text, token.log_probability),
                "top_logprobs": [_scored(*each) for each in self.alternatives_of(token)],
            }
            for token in tokens
        ]
        return {"content": content, "refusal": None}


class CompletionShape(Shape):
    """The objects of /v1/completions."""

    prefix = "cmpl"
    whole_object = "text_completion"
    chunk_object = "text_completion"

    def choice(self, text: str, tokens: Sequence[Token], offset: int) -> dict[str, Any]:
        """Return the text and its tokens."""
        return {"text": text, "logprobs": self._logprobs(tokens, offset)}

    def delta(self, text: str, tokens: Sequence[Token], offset: int) -> dict[str, Any]:
        """Return more of the text."""
        return self.choice(text, tokens, offset)

    def _logprobs(self, tokens: Sequence[Token], offset: int) -> dict[str, Any] | None:
        if not tokens:
            return None
        offsets = []
        for token in tokens:
            offsets.append(offset)
            offset += len(token.text)
        return {
            "tokens": [token.text for token in tokens],
            "token_logprobs": [token.log_probability for token in tokens],
            "top_logprobs": [dict(self.alternatives_of(token)) for token in tokens],
            "text_offset": offsets,
        }


def usage(ends: Mapping[int, Ended]) -> dict[str, int]:
    """Return the tokens of all choices."""
    prompt = sum(each.prompt_tokens for each in ends.values())
    written = sum(each.tokens for each in ends.values())
    return {"prompt_tokens": prompt, "completion_tokens": written, "total_tokens": prompt + written}


def _scored(text: str, log_probability: float) -> dict[str, Any]:
    # A part of a character has no text of its own.
    whole = None if "\ufffd" in text else list(text.encode())
    return {"token": text, "logprob": log_probability, "bytes": whole}

"""Texts that a model writes: conversations and continued texts, token by token."""

from collections.abc import Iterator, Sequence
from typing import Any

from papertune.decoding.engine import Engine
from papertune.decoding.greedy import answer_ends
from papertune.decoding.streaming import StreamedToken, TextPieces, stream
from papertune.errors import ModelError
from papertune.models import context_tokens
from papertune.pipelines.chat import DEFAULT_CONTEXT, chat_encoder
from papertune.prompts import PromptEncoder
from papertune.prompts.examples import Prompt
from papertune.recipe import EncodingSpec, Recipe
from papertune.serve.answering.wanted import Ended, Piece, Token, WritingWanted
from papertune.serve.collecting import collected_warnings


class Writer:
    """Writes texts with a model.

    Args:
        model: A causal language model in evaluation mode.
        tokenizer: Its tokenizer.
        recipe: The recipe of the run.
    """

    def __init__(self, model: Any, tokenizer: Any, recipe: Recipe) -> None:
        self._model = model
        self._engine = Engine(model)
        self._tokenizer = tokenizer
        self._recipe = recipe
        self._end_ids = answer_ends(model, tokenizer.eos_token_id)

    def write(self, wanted: WritingWanted) -> Iterator[Piece | Ended]:
        """Yield a text piece by piece, then its end.

        Raises:
            ModelError: If prompt and answer do not fit into the context of the model, or its numbers overflow.
        """
        ids, warnings = self._encode(wanted)
        pieces, stop, count = TextPieces(self._tokenizer), StopTexts(wanted.stop), 0
        for token in self._tokens(ids, wanted):
            count += 1
            yield Piece(stop.add(pieces.add(token.id)), self._scored(token, wanted))
            if stop.is_found:
                break
        if rest := stop.end(pieces.end()):
            yield Piece(rest)
        reason = "length" if count == wanted.max_tokens and not stop.is_found else "stop"
        yield Ended(reason, len(ids), count, warnings)

    def _tokens(self, ids: list[int], wanted: WritingWanted) -> Iterator[StreamedToken]:
        return stream(
            self._engine,
            self._engine.prefill([ids]),
            end_ids=self._end_ids,
            max_new_tokens=wanted.max_tokens,
            vocabulary=len(self._tokenizer),
            sampling=wanted.sampling,
            alternatives=wanted.alternatives or 0,
        )

    def _encode(self, wanted: WritingWanted) -> tuple[list[int], list[str]]:
        """Return the token ids of the prompt, and a warning if something of it is missing."""
        if isinstance(wanted.prompt, str):
            return self._encode_text(wanted.prompt, wanted.max_tokens), []
        with collected_warnings():  # of limits that do not matter to a prompt that fits
            encoder = chat_encoder(self._model, self._tokenizer, self._recipe, wanted.max_tokens)
        asked = wanted.prompt
        encoded = encoder.encode(Prompt("", asked.question, "", asked.history, asked.system, drops_history=True))
        truncated = (
            f"the prompt has more than {encoder.max_prompt_tokens:,} tokens: the oldest rounds of the conversation are "
            "not read, or only the beginning of its last message is."
        )
        return encoded.ids, [truncated] if encoded.truncated else []

    def _encode_text(self, text: str, max_tokens: int) -> list[int]:
        context = context_tokens(self._model.config) or DEFAULT_CONTEXT
        room = context - max_tokens - getattr(self._model, "prefix_length", 0)
        encoder = PromptEncoder(self._tokenizer, EncodingSpec(), chat=False)
        (ids,) = encoder.encode_documents([text])
        count = len(ids) - 1
        if count > room:
            tokens = "1 token" if count == 1 else f"{count:,} tokens"
            raise ModelError(
                f"the prompt has {tokens} and max_tokens is {max_tokens:,}, but the model reads {context:,} tokens at "
                "most, prompt and answer together. Shorten the prompt, or lower max_tokens."
            )
        # Of an empty prompt, in a model without a begin token, the end token is what stands before a text.
        return ids[:-1] or ids

    def _scored(self, token: StreamedToken, wanted: WritingWanted) -> Token | None:
        if wanted.alternatives is None:
            return None
        others = [(self._text([each]), log) for each, log in token.alternatives]
        return Token(self._text([token.id]), token.log_probability, others)

    def _text(self, ids: Sequence[int]) -> str:
        text: str = self._tokenizer.decode(ids, clean_up_tokenization_spaces=False)
        return text


class StopTexts:
    """Ends a text before the first of some texts; what may be the beginning of one is held back.

    Args:
        texts: The texts, none of them empty.

    Attributes:
        is_found: Whether one of them was found.
    """

    def __init__(self, texts: Sequence[str]) -> None:
        self._texts = texts
        self._held = ""
        self.is_found = False

    def add(self, piece: str) -> str:
        """Return what can be shown after one more piece."""
        if self.is_found:
            return ""
        text = self._held + piece
        found = [place for place in map(text.find, self._texts) if place >= 0]
        if found:
            self.is_found, self._held = True, ""
            return text[: min(found)]
        held = max((_overlap(text, stop) for stop in self._texts), default=0)
        self._held = text[len(text) - held :]
        return text[: len(text) - held]

    def end(self, piece: str) -> str:
        """Return what is left after the last piece."""
        shown = self.add(piece)
        held, self._held = self._held, ""
        return shown + held


def _overlap(text: str, stop: str) -> int:
    """Return the length of the longest end of a text with which a longer text `stop` begins."""
    return next((size for size in range(min(len(text), len(stop) - 1), 0, -1) if text.endswith(stop[:size])), 0)

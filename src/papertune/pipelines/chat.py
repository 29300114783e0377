"""A conversation with a model."""

from collections.abc import Iterator
from typing import Any

from papertune.decoding.engine import Engine
from papertune.decoding.greedy import answer_ends, greedy_tokens
from papertune.decoding.streaming import TextPieces
from papertune.errors import ModelError
from papertune.models import context_tokens
from papertune.prompts import PromptEncoder
from papertune.prompts.context import MIN_PROMPT_TOKENS, encoder_within_context
from papertune.prompts.examples import Prompt
from papertune.recipe import EncodingSpec, Recipe

# Context of a model whose configuration does not state it, in tokens.
DEFAULT_CONTEXT = 2048


class Conversation:
    """Asks a model, with the conversation so far in each prompt.

    Args:
        model: A causal language model in evaluation mode.
        tokenizer: Its tokenizer.
        max_new_tokens: Maximum length of an answer, in tokens.
        recipe: The recipe of a run, for prompts like in its training; None: prompts may fill the context of the model.
        system: The system message; "" for none.

    Raises:
        ModelError: If the context of the model has no room for a prompt before the longest answer.
    """

    def __init__(
        self, model: Any, tokenizer: Any, *, max_new_tokens: int = 256, recipe: Recipe | None = None, system: str = ""
    ) -> None:
        self.messages: list[dict[str, str]] = []
        self._system = system
        self._encoder = chat_encoder(model, tokenizer, recipe, max_new_tokens)
        self._engine = Engine(model)
        self._tokenizer = tokenizer
        self._end_ids = answer_ends(model, tokenizer.eos_token_id)
        self._max_new_tokens = max_new_tokens

    def ask(self, question: str) -> Iterator[str]:
        """Yield the answer, decoded greedily, piece by piece."""
        self.messages.append({"role": "user", "content": question})
        state = self._engine.prefill([self._prompt_ids()])
        pieces = TextPieces(self._tokenizer)
        tokens = greedy_tokens(
            self._engine,
            state,
            end_ids=self._end_ids,
            max_new_tokens=self._max_new_tokens,
            vocabulary=len(self._tokenizer),
        )
        for _, token in tokens:
            if piece := pieces.add(token):
                yield piece
        if piece := pieces.end():
            yield piece
        self.messages.append({"role": "assistant", "content": pieces.text})

    def _prompt_ids(self) -> list[int]:
        """Encode the conversation so far, without its oldest rounds if it is too long."""
        *before, question = [message["content"] for message in self.messages]
        history = tuple(zip(before[::2], before[1::2], strict=True))
        return self._encoder.encode(Prompt("", question, "", history, self._system, drops_history=True)).ids


def chat_encoder(model: Any, tokenizer: Any, recipe: Recipe | None, max_new_tokens: int) -> PromptEncoder:
    """Return the encoder of a conversation's prompts.

    Args:
        model: The model, perhaps with a prefix.
        tokenizer: Its tokenizer.
        recipe: The recipe of a run, for prompts like in its training; None, or one without columns: prompts may fill
            the context of the model.
        max_new_tokens: Maximum length of an answer, in tokens.

    Raises:
        ModelError: If the context of the model has no room for a prompt before the longest answer.
    """
    if recipe is None or not recipe.columns:
        return PromptEncoder(tokenizer, _whole_context(model, max_new_tokens), chat=recipe is None or recipe.chat)
    prefix = getattr(model, "prefix_length", 0)
    return encoder_within_context(tokenizer, recipe, model.config, prefix, answer_tokens=max_new_tokens)


def _whole_context(model: Any, max_new_tokens: int) -> EncodingSpec:
    """Return lengths that fill the context of a model.

    Raises:
        ModelError: If the longest answer leaves no room for a prompt.
    """
    context = context_tokens(model.config) or DEFAULT_CONTEXT
    if context - max_new_tokens < MIN_PROMPT_TOKENS:
        raise ModelError(
            f"--max-new-tokens is {max_new_tokens:,}, but the model reads {context:,} tokens at most, prompt and "
            f"answer together. Set it to {context - MIN_PROMPT_TOKENS:,} or less."
        )
    return EncodingSpec(max_prompt_tokens=context - max_new_tokens)

"""A conversation with a model."""

from collections.abc import Iterator
from typing import Any

from papertune.decoding.engine import Engine
from papertune.decoding.greedy import answer_ends, greedy_tokens
from papertune.prompts import PromptEncoder
from papertune.prompts.examples import Prompt
from papertune.recipe import EncodingSpec, Recipe

# Context of a model whose configuration does not state it, in tokens.
DEFAULT_CONTEXT = 2048

# Decoding gives it for the bytes of a character that is not complete yet.
_HALF_A_CHARACTER = "\ufffd"


class Conversation:
    """Asks a model, and remembers what was said.

    Args:
        model: A causal language model in evaluation mode.
        tokenizer: Its tokenizer.
        max_new_tokens: Maximum length of an answer, in tokens.
        recipe: The recipe of a run: its prompts are those of its training. None: prompts may fill the model's context.
        system: The system message; "" for none.
    """

    def __init__(
        self, model: Any, tokenizer: Any, *, max_new_tokens: int = 256, recipe: Recipe | None = None, system: str = ""
    ) -> None:
        self.messages: list[dict[str, str]] = []
        self._system = system
        context = int(getattr(model.config, "max_position_embeddings", None) or DEFAULT_CONTEXT)
        whole = EncodingSpec(max_prompt_tokens=max(context - max_new_tokens, 16))
        self._encoder = PromptEncoder(
            tokenizer, recipe.encoding if recipe else whole, chat=recipe.chat if recipe else True
        )
        self._engine = Engine(model)
        self._tokenizer = tokenizer
        self._end_ids = answer_ends(model, tokenizer.eos_token_id)
        self._max_new_tokens = max_new_tokens

    def ask(self, question: str) -> Iterator[str]:
        """Yield the answer piece by piece as it is decoded, greedily."""
        self.messages.append({"role": "user", "content": question})
        state = self._engine.prefill([self._prompt_ids()])
        ids: list[int] = []
        given = ""
        tokens = greedy_tokens(
            self._engine,
            state,
            end_ids=self._end_ids,
            max_new_tokens=self._max_new_tokens,
            vocabulary=len(self._tokenizer),
        )
        for _, token in tokens:
            ids.append(token)
            answer = self._decode(ids)
            if len(answer) > len(given) and not answer.endswith(_HALF_A_CHARACTER):
                yield answer[len(given) :]
                given = answer
        answer = self._decode(ids)
        if len(answer) > len(given):
            yield answer[len(given) :]
        self.messages.append({"role": "assistant", "content": answer})

    def _decode(self, ids: list[int]) -> str:
        """Decode the whole answer so far: a token alone may lose the blank before it.

        Blanks are left as they are, so that what has been given stays the beginning of what comes.
        """
        text: str = self._tokenizer.decode(ids, skip_special_tokens=True, clean_up_tokenization_spaces=False)
        return text

    def _prompt_ids(self) -> list[int]:
        """Encode the conversation so far; without its oldest rounds if it is too long."""
        *before, question = [message["content"] for message in self.messages]
        history = tuple(zip(before[::2], before[1::2], strict=True))
        return self._encoder.encode(Prompt("", question, "", history, self._system, drops_history=True)).ids

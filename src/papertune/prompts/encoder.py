r"""From a prompt and its answer to token ids, for training and for prediction.

The user's text is plain text between the literals of the chat template:

    <|im_start|>user\n  title: ... abstract: ...  \n\nIs this a medical paper?  <|im_end|>\n<|im_start|>assistant\n
    literal              document (may be cut)     question                        literal

Special tokens come only from the literals. All other text is encoded with special tokens switched off, so that
`<|im_end|>` in an abstract is eight ordinary tokens. Adjacent texts are encoded as one string, so the ids are those
that the tokenizer returns for the whole prompt.
"""

import re
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from functools import cached_property
from typing import Any

from papertune.errors import ModelError, RecipeError
from papertune.prompts.examples import Prompt
from papertune.recipe import EncodingSpec

# Placeholder of the user's text while the chat template is rendered; private-use characters that no template contains.
_PLACEHOLDER = "\ue000papertune\ue001"

# A document is cut at a blank if there is one among its last characters, so that no word is cut in two.
_WORD_CHARS = 30


@dataclass(frozen=True, slots=True)
class EncodedPrompt:
    """The ids of a prompt.

    Attributes:
        ids: Token ids.
        kept_chars: How many characters of the document they include.
        truncated: Whether the end of the document is missing, or an earlier round.
    """

    ids: list[int]
    kept_chars: int
    truncated: bool


class PromptEncoder:
    """Turns prompts and answers into token ids.

    Args:
        tokenizer: A transformers tokenizer.
        spec: Maximum lengths in tokens.
        chat: Whether to use the tokenizer's chat template, if it has one.

    Raises:
        ModelError: If the tokenizer has no end token.
    """

    def __init__(self, tokenizer: Any, spec: EncodingSpec, *, chat: bool = True) -> None:
        self._tokenizer = tokenizer
        self._chat = chat and getattr(tokenizer, "chat_template", None) is not None
        self.max_prompt_tokens = spec.max_prompt_tokens
        self.max_answer_tokens = spec.max_answer_tokens
        if tokenizer.eos_token_id is None:
            raise ModelError("the tokenizer has no end token (eos_token), so answers would not end.")
        self.end_id: int = tokenizer.eos_token_id
        added = tokenizer.added_tokens_decoder
        self._added_ids = {i for i, token in added.items() if not token.content.isspace()}
        special = sorted((token.content for token in added.values()), key=len, reverse=True)
        self._special = re.compile("|".join(re.escape(text) for text in special)) if special else None
        self._frames: dict[tuple[int, bool], list[str]] = {}
        self._literals: dict[str, list[int]] = {}

    def encode(self, prompt: Prompt) -> EncodedPrompt:
        """Encode a prompt, its document truncated until the prompt fits into `max_prompt_tokens`.

        Raises:
            RecipeError: If it does not fit even without the document.
        """
        return self.encode_many([prompt])[0]

    def encode_many(self, prompts: Sequence[Prompt]) -> list[EncodedPrompt]:
        """Encode many prompts like `encode`, in less time and on all cores.

        Raises:
            RecipeError: If one does not fit even without the document.
        """
        sizes = [len(prompt.document) for prompt in prompts]
        # A first guess of 8 characters a token avoids encoding a whole document of 200,000 characters.
        kept = [min(size, 8 * self.max_prompt_tokens) for size in sizes]
        ids: list[list[int]] = [[]] * len(prompts)

        def encode_again(indices: Sequence[int]) -> None:
            encoded = self._encode_truncated([prompts[i] for i in indices], [kept[i] for i in indices])
            for i, tokens in zip(indices, encoded, strict=True):
                ids[i] = tokens

        encode_again(range(len(prompts)))
        while too_short := [i for i, size in enumerate(sizes) if self._fits(ids[i]) and kept[i] < size]:
            for i in too_short:
                kept[i] = min(sizes[i], 2 * kept[i])
            encode_again(too_short)
        too_long = [i for i in range(len(prompts)) if not self._fits(ids[i])]
        if dropping := [i for i in too_long if prompts[i].drops_history and prompts[i].history]:
            prompts = list(prompts)
            for i in dropping:
                prompts[i] = self._drop_oldest_rounds(prompts[i], kept[i])
            encode_again(dropping)
        truncated = set(too_long)
        too_long = [i for i in too_long if not self._fits(ids[i]) or kept[i] < sizes[i]]
        for i, characters in self._max_chars(prompts, {i: kept[i] for i in too_long}).items():
            kept[i] = characters
        encode_again(too_long)
        for i in too_long:
            if not self._fits(ids[i]):
                raise RecipeError(
                    f"encoding.max_prompt_tokens is {self.max_prompt_tokens}, but the question and the chat template "
                    f"alone take {len(ids[i])} tokens. Raise it, or shorten the question."
                )
        return [EncodedPrompt(tokens, kept[i], truncated=i in truncated) for i, tokens in enumerate(ids)]

    def _drop_oldest_rounds(self, prompt: Prompt, kept: int) -> Prompt:
        """Return a prompt that is too long without as few of its oldest rounds as possible; without all if none fit."""
        too_few, enough = 0, len(prompt.history)
        while enough - too_few > 1:
            dropped = (too_few + enough) // 2
            (ids,) = self._encode_truncated([replace(prompt, history=prompt.history[dropped:])], [kept])
            too_few, enough = (too_few, dropped) if self._fits(ids) else (dropped, enough)
        return replace(prompt, history=prompt.history[enough:])

    def _max_chars(self, prompts: Sequence[Prompt], too_many: Mapping[int, int]) -> dict[int, int]:
        """Return how many characters of documents fit, up to a blank if one is near, by parallel bisection.

        Args:
            prompts: The prompts.
            too_many: A number of characters that does not fit, by index; other prompts are ignored.
        """
        low, high = dict.fromkeys(too_many, 0), dict(too_many)
        while unsettled := [i for i in too_many if high[i] - low[i] > 1]:
            middle = [(low[i] + high[i]) // 2 for i in unsettled]
            encoded = self._encode_truncated([prompts[i] for i in unsettled], middle)
            for i, characters, tokens in zip(unsettled, middle, encoded, strict=True):
                (low if self._fits(tokens) else high)[i] = characters
        for i, fitting in low.items():
            blank = prompts[i].document.rfind(" ", max(0, fitting - _WORD_CHARS), fitting + 1)
            low[i] = blank if blank > 0 else fitting
        return low

    def _fits(self, ids: Sequence[int]) -> bool:
        return len(ids) <= self.max_prompt_tokens

    def frame(self) -> tuple[list[int], str, str]:
        """Return the ids before any text, and what stands before and after the text of a question without a system."""
        before, after = self._frame(0)
        return self._beginning, before, after

    def label_ids(self, labels: Sequence[str]) -> list[list[int]]:
        """Encode the labels, without an end token.

        Raises:
            RecipeError: If two labels have the same tokens, or one has none.
        """
        encoded = [self.encode_text(label) for label in labels]
        for index, ids in enumerate(encoded):
            if not ids:
                raise RecipeError(f'the label "{labels[index]}" has no tokens in this model. Choose another word.')
            if ids in encoded[:index]:
                other = labels[encoded.index(ids)]
                raise RecipeError(f'the labels "{other}" and "{labels[index]}" have the same tokens in this model.')
        return encoded

    def encode_text(self, text: str) -> list[int]:
        """Encode text in which nothing is a special token."""
        if not text:
            return []
        ids: list[int] = self._tokenizer.encode(text, add_special_tokens=False, split_special_tokens=True)
        return self._without_added(text, ids)

    def encode_texts(self, texts: Sequence[str]) -> list[list[int]]:
        """Encode many texts like `encode_text`, in less than half the time."""
        if not texts:
            return []
        encoded = self._tokenizer(list(texts), add_special_tokens=False, split_special_tokens=True)["input_ids"]
        return [self._without_added(text, ids) for text, ids in zip(texts, encoded, strict=True)]

    def encode_documents(self, texts: Sequence[str]) -> list[list[int]]:
        """Encode whole texts, each with what the tokenizer puts before any text and the end token."""
        return [[*self._beginning, *ids, self.end_id] for ids in self.encode_texts(texts)]

    def _without_added(self, text: str, ids: list[int]) -> list[int]:
        """Return the ids of a text, encoded again if they contain added tokens.

        The tokenizer matches added tokens that are not marked special ("<|user|>" in some models) in spite of
        `split_special_tokens`.
        """
        if self._added_ids.isdisjoint(ids):
            return ids
        return self._tokenizer._encode_without_added_tokens(text)  # type: ignore[no-any-return]

    def _encode_truncated(self, prompts: Sequence[Prompt], kept: Sequence[int]) -> list[list[int]]:
        """Encode prompts with the first `kept` characters of their documents."""
        rows = [self._pieces(each, each.document[:size]) for each, size in zip(prompts, kept, strict=True)]
        texts = iter(self.encode_texts([piece for row in rows for piece in row if isinstance(piece, str)]))
        return [[t for piece in row for t in (next(texts) if isinstance(piece, str) else piece)] for row in rows]

    def _pieces(self, prompt: Prompt, document: str) -> list[str | list[int]]:
        """Return the parts of a prompt: known ids, and text to encode."""
        users = [text for turn in prompt.history for text in turn]
        users.append(f"{prompt.before}{document}{prompt.after}")
        has_system = bool(prompt.system) and self._has_system_message
        if has_system:
            users = [prompt.system, *users]
        elif prompt.system:
            users[0] = f"{prompt.system}\n\n{users[0]}"
        literals = self._frame(len(prompt.history), has_system=has_system)
        pieces: list[str | list[int]] = [self._beginning]
        plain, is_literal = "", True
        for literal, user in zip(literals, [*users, ""], strict=True):
            position = 0
            for match in self._special.finditer(literal) if self._special else ():
                pieces.append(self._piece(plain + literal[position : match.start()], is_literal=is_literal))
                pieces.append([self._tokenizer.convert_tokens_to_ids(match.group())])
                plain, is_literal, position = "", True, match.end()
            plain += literal[position:] + user
            is_literal = is_literal and not user
        return [*pieces, self._piece(plain, is_literal=is_literal)]

    def _piece(self, text: str, *, is_literal: bool) -> str | list[int]:
        """Return a text between two special tokens, or its cached ids if it is from the template alone."""
        if not is_literal:
            return text
        if text not in self._literals:
            self._literals[text] = self.encode_text(text)
        return self._literals[text]

    def _frame(self, rounds: int, *, has_system: bool = False) -> list[str]:
        """Return what the template writes before, between and after the user's texts."""
        if (rounds, has_system) not in self._frames:
            if self._chat:
                roles = ["system"] * has_system + ["user", "assistant"] * rounds + ["user"]
                messages = [{"role": role, "content": _PLACEHOLDER} for role in roles]
                text = self._tokenizer.apply_chat_template(messages, tokenize=False, add_generation_prompt=True)
            else:
                text = f"{_PLACEHOLDER}\n{_PLACEHOLDER}\n\n" * rounds + f"{_PLACEHOLDER}\n"
            literals = text.split(_PLACEHOLDER)
            if len(literals) != 2 * rounds + 2 + has_system:
                raise ModelError("the model's chat template drops or repeats messages; set chat = false in the recipe.")
            self._frames[rounds, has_system] = literals
        return self._frames[rounds, has_system]

    @cached_property
    def _has_system_message(self) -> bool:
        """Whether the template writes a system message, before all others; else it goes into the first question."""
        from jinja2 import TemplateError

        if not self._chat:
            return False
        roles = {"system": "system", "user": "user", "assistant": "assistant", "user ": "user"}
        messages = [{"role": role, "content": f"{_PLACEHOLDER}{place}"} for place, role in roles.items()]
        try:
            text = self._tokenizer.apply_chat_template(messages, tokenize=False, add_generation_prompt=True)
        except (TemplateError, TypeError, ValueError):  # what templates raise that have no system message
            return False
        return re.findall(f"{_PLACEHOLDER}(system|assistant|user ?)", text) == list(roles)

    @cached_property
    def _beginning(self) -> list[int]:
        """The ids that the tokenizer puts before any text, such as a begin token."""
        if not self._chat:
            ids: list[int] = self._tokenizer.encode("", add_special_tokens=True)
            return ids[:-1] if ids and ids[-1] == self.end_id else ids
        # Most templates write the begin token. That of ChatGLM2 does not, but its ids begin with two special tokens.
        text = _PLACEHOLDER.join(self._frame(0))
        written: list[int] = self._tokenizer.encode(text, add_special_tokens=False)
        ids = self._tokenizer.apply_chat_template(
            [{"role": "user", "content": _PLACEHOLDER}], add_generation_prompt=True, return_dict=False
        )
        return ids[: -len(written)] if ids[-len(written) :] == written else []


def shared_prefix(prompts: Sequence[list[int]]) -> int:
    """Count the tokens that all prompts begin with, at most all except the last token of the shortest prompt."""
    shared = 0
    for tokens in zip(*prompts, strict=False):
        if len(set(tokens)) > 1:
            break
        shared += 1
    # Each prompt keeps at least its last token, because the logits of that token are needed.
    return min(shared, min(len(prompt) for prompt in prompts) - 1)

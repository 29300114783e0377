"""From preferences to token ids."""

from collections import Counter
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field

from papertune.errors import TableError, quoted
from papertune.kinds import AskedSpec
from papertune.preferences import Pair, Thumb
from papertune.prompts import PromptEncoder
from papertune.prompts.answers import encode_answer
from papertune.recipe import Recipe


@dataclass(frozen=True, slots=True)
class EncodedPair:
    """A prompt and two answers.

    Attributes:
        prompt: Token ids of the prompt.
        chosen: Token ids of the better answer, with the end token unless it is truncated.
        rejected: Those of the other one.
    """

    prompt: list[int]
    chosen: list[int]
    rejected: list[int]


@dataclass(frozen=True, slots=True)
class EncodedThumb:
    """A prompt, an answer, and whether it is good.

    Attributes:
        prompt: Token ids of the prompt.
        answer: Token ids of the answer, with the end token unless it is truncated.
        good: Whether it is good.
    """

    prompt: list[int]
    answer: list[int]
    good: bool


@dataclass
class TooLong:
    """What had too many tokens.

    Attributes:
        prompts: Number of prompts with a truncated document.
        answers: Number of truncated answers, by question.
    """

    prompts: int = 0
    answers: Counter[str] = field(default_factory=Counter)

    def in_words(self, questions: Mapping[str, AskedSpec], max_prompt_tokens: int) -> list[str]:
        """Return a warning for each, in words."""
        found = [questions[name].left_out_in_words(name, count) for name, count in self.answers.items()]
        if self.prompts:
            count = "1 prompt has" if self.prompts == 1 else f"{self.prompts:,} prompts have"
            found.insert(0, f"{count} more than {max_prompt_tokens} tokens; the ends of their documents are not read.")
        return found


def encode_pairs(pairs: Sequence[Pair], recipe: Recipe, encoder: PromptEncoder) -> tuple[list[EncodedPair], TooLong]:
    """Encode pairs as training on answers encodes prompts and answers, and count what was too long.

    Raises:
        TableError: With the pairs whose answers have the same tokens, as answers have that differ in what is read of
            them, or behind `encoding.max_answer_tokens`.
    """
    too_long = TooLong()
    encoded: list[EncodedPair] = []
    equal: list[str] = []
    for number, pair in enumerate(pairs, start=1):
        prompt = _encode_prompt(pair, recipe, encoder, too_long)
        chosen, rejected = (
            _encode_answer(pair.column, text, recipe, encoder, too_long) for text in (pair.chosen, pair.rejected)
        )
        if chosen == rejected:
            paper = f" (paper {pair.paper})" if pair.paper else ""
            equal.append(
                f"pair {number}{paper}: {quoted(pair.chosen)} and {quoted(pair.rejected)} are the same answer. "
                "Correct or remove it; if they differ only at their ends, raise encoding.max_answer_tokens."
            )
        encoded.append(EncodedPair(prompt, chosen, rejected))
    if equal:
        raise TableError.collect("pairs cannot be learned", equal)
    return encoded, too_long


def encode_thumbs(
    thumbs: Sequence[Thumb], recipe: Recipe, encoder: PromptEncoder
) -> tuple[list[EncodedThumb], TooLong]:
    """Encode judged answers as training on answers encodes them, and count what was too long."""
    too_long = TooLong()
    encoded = [
        EncodedThumb(
            _encode_prompt(thumb, recipe, encoder, too_long),
            _encode_answer(thumb.column, thumb.answer, recipe, encoder, too_long),
            thumb.good,
        )
        for thumb in thumbs
    ]
    return encoded, too_long


def _encode_answer(column: str, text: str, recipe: Recipe, encoder: PromptEncoder, too_long: TooLong) -> list[int]:
    if len(encoder.encode_text(text)) + 1 > encoder.max_answer_tokens:
        too_long.answers[column] += 1
    return encode_answer(recipe.questions[column], text, encoder)


def _encode_prompt(entry: Pair | Thumb, recipe: Recipe, encoder: PromptEncoder, too_long: TooLong) -> list[int]:
    prompt = encoder.encode(entry.prompt(recipe))
    too_long.prompts += prompt.truncated
    return prompt.ids

"""One answer, token by token: for a conversation and for programs that show text while it is written."""

from collections.abc import Collection, Iterator
from dataclasses import dataclass, field
from typing import Any

import torch
from torch import Tensor

from papertune.decoding.choosing import Sampling
from papertune.decoding.engine import Engine, PromptState
from papertune.decoding.overflow import check_numbers
from papertune.decoding.sampling import draw

# The replacement character, to which an incomplete character is decoded.
_INCOMPLETE = "\ufffd"


@dataclass(frozen=True)
class StreamedToken:
    """A token of an answer.

    Attributes:
        id: Its id.
        log_probability: Of the model itself: at a temperature of 1, over all tokens.
        alternatives: The most probable tokens in its place with their log-probabilities, the most probable first.
    """

    id: int
    log_probability: float
    alternatives: list[tuple[int, float]] = field(default_factory=list)


@torch.inference_mode()
def stream(
    engine: Engine,
    state: PromptState,
    *,
    end_ids: Collection[int],
    max_new_tokens: int,
    vocabulary: int,
    sampling: Sampling,
    alternatives: int = 0,
) -> Iterator[StreamedToken]:
    """Continue one prompt, and yield each token as soon as it is chosen; the end token is not yielded.

    Args:
        engine: Runs the model.
        state: The prompt, a batch of one; consumed.
        end_ids: Tokens that end the answer.
        max_new_tokens: Maximum number of tokens.
        vocabulary: Number of token ids of the tokenizer; ids from here on are never chosen.
        sampling: How tokens are chosen.
        alternatives: How many alternatives each token has.

    Raises:
        ModelError: If the model's numbers overflow.
    """
    generator = torch.Generator()
    if sampling.seed is None:
        generator.seed()
    else:
        generator.manual_seed(sampling.seed)
    for step in range(max_new_tokens):
        check_numbers("the answer", state)
        logits = state.last_logits[0, :vocabulary].float()
        token = _choose(logits, sampling, generator)
        if token in end_ids:
            return
        logs = state.last_logits[0].float().log_softmax(dim=-1)
        best = logs[:vocabulary].topk(min(alternatives, vocabulary))
        yield StreamedToken(
            token, float(logs[token]), list(zip(best.indices.tolist(), best.values.tolist(), strict=True))
        )
        if step + 1 < max_new_tokens:
            engine.extend(state, [[token]])


def _choose(logits: Tensor, sampling: Sampling, generator: torch.Generator) -> int:
    """Return the next token, given logits of shape (vocab,)."""
    if sampling.temperature == 0:
        return int(logits.argmax())
    if sampling.top_p < 1:
        ordered, ids = (logits / sampling.temperature).softmax(dim=-1).sort(descending=True)
        before = ordered.cumsum(dim=-1) - ordered
        logits = logits.index_fill(0, ids[before >= sampling.top_p], -torch.inf)
    uniform = torch.rand(1, generator=generator, dtype=torch.float64)
    return int(draw(logits[None], uniform, sampling.temperature)[0])


class TextPieces:
    """Turns tokens into text, piece by piece, without a half of a character.

    The whole answer is decoded each time, since a token alone may lose the blank before it. Blanks are not cleaned up,
    so that each text begins with the one before.

    Args:
        tokenizer: A transformers tokenizer.

    Attributes:
        text: The text of all pieces so far.
    """

    def __init__(self, tokenizer: Any) -> None:
        self._tokenizer = tokenizer
        self._ids: list[int] = []
        self.text = ""

    def add(self, token: int) -> str:
        """Return what a token adds to the text: "" while a character is incomplete."""
        self._ids.append(token)
        text = self._decode()
        return "" if text.endswith(_INCOMPLETE) else self._next(text)

    def end(self) -> str:
        """Return the rest, after the last token."""
        return self._next(self._decode())

    def _next(self, text: str) -> str:
        piece = text[len(self.text) :]
        self.text += piece
        return piece

    def _decode(self) -> str:
        text: str = self._tokenizer.decode(self._ids, skip_special_tokens=True, clean_up_tokenization_spaces=False)
        return text

"""From an answer to token ids."""

from papertune.kinds import AskedSpec
from papertune.prompts.encoder import PromptEncoder


def encode_answer(asked: AskedSpec, text: str, encoder: PromptEncoder) -> list[int]:
    """Return the token ids of one answer with its end token; an empty answer is the end token alone.

    Args:
        asked: The question.
        text: The answer, as text to learn.
        encoder: Encodes answers.
    """
    if not text.strip():
        return [encoder.end_id]
    (ids,) = asked.encode_answers(text, encoder)
    return ids

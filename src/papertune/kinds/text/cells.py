"""Cells of free text, and the values that stand for them while a table is predicted."""

import json
import math

from papertune.kinds.values import writable


def tidy(text: str) -> str:
    r"""Return generated text as a cell: trimmed, without control characters, every line break a `\n`.

    Every table format gives such a cell back as it was written.
    """
    return writable(text.replace("\r\n", "\n").replace("\r", "\n")).strip()


def answer_as_text(text: str, confidence: float) -> str:
    """Write an answer and its confidence as one text, which the journal keeps."""
    # float32 sums of log-probabilities may come out a little above 0.
    return json.dumps([text, min(max(confidence, 0.0), 1.0)], ensure_ascii=False)


def read_answer(value: str) -> tuple[str, float]:
    """Read what `answer_as_text` wrote."""
    text, confidence = json.loads(value)
    return text, confidence


def confidence_of(mean_log_probability: float) -> float:
    """Return the geometric mean of the tokens' probabilities: exp of their mean log-probability."""
    return math.exp(min(mean_log_probability, 0.0))

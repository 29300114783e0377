"""How the tokens of a written answer are chosen. Without torch, for those who only ask."""

from dataclasses import dataclass


@dataclass(frozen=True)
class Sampling:
    """How tokens are chosen.

    Attributes:
        temperature: 0: the most probable token each time; else tokens are drawn from softmax(logits / temperature).
        top_p: Tokens are drawn from the most probable ones, as few as have this probability together; above 0.
        seed: The same seed draws the same tokens; None: a new one each time.
    """

    temperature: float = 0.0
    top_p: float = 1.0
    seed: int | None = None

"""A decoded answer and its probability."""

from dataclasses import dataclass


@dataclass(frozen=True, slots=True)
class Answer:
    """An answer that a model has generated.

    Attributes:
        ids: Its token ids, without the end token.
        log_probability: Log-probability of all its tokens and an end token after the prompt, in nats.
        is_complete: Whether it has ended; if not, the limit of tokens cut it off and no end token is counted.
    """

    ids: tuple[int, ...]
    log_probability: float
    is_complete: bool = True

    @property
    def mean_log_probability(self) -> float:
        """The mean over the tokens that are counted, in nats; 0 without tokens."""
        return self.log_probability / max(len(self.ids) + self.is_complete, 1)

"""What is asked of the model's thread, and what it answers. Without torch, which only that thread loads."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any

from papertune.decoding.choosing import Sampling

if TYPE_CHECKING:
    from papertune.kinds.predictions import Predictions
    from papertune.recipe import Recipe

# The column of a row that is just a document.
TEXT = "document"


@dataclass(frozen=True)
class RowsWanted:
    """Rows to fill in.

    Attributes:
        rows: Values by column; at least one row.
        columns: Names of the run's columns; None: all.
        is_text: Whether each row is just the whole document, see `OpenRun.asked`.
        counts_tokens: Whether the tokens of the prompts are counted.
    """

    rows: Sequence[Mapping[str, Any]]
    columns: tuple[str, ...] | None = None
    is_text: bool = False
    counts_tokens: bool = False


@dataclass(frozen=True)
class Filled:
    """Rows that are filled in.

    Attributes:
        recipe: The columns.
        cells: The cells of each column and of the columns beside it, by title, as `papertune predict --probabilities`
            writes them.
        predictions: The predictions of each column, with calibrated probabilities of all digits.
        warnings: What to know about them.
        prompt_tokens: Tokens that the model has read, if they were to be counted.
    """

    recipe: "Recipe"
    cells: Mapping[str, Sequence[str]]
    predictions: "Mapping[str, Predictions]"
    warnings: list[str]
    prompt_tokens: int


@dataclass(frozen=True)
class Dialogue:
    """A conversation that waits for an answer.

    Attributes:
        question: The last message of the user.
        history: Earlier rounds, (question, answer) each.
        system: The system message; "" for none.
    """

    question: str
    history: tuple[tuple[str, str], ...] = ()
    system: str = ""


@dataclass(frozen=True)
class WritingWanted:
    """A text to write.

    Attributes:
        prompt: A conversation; or a text that is continued as it stands, without a template.
        max_tokens: Maximum length in tokens.
        sampling: How tokens are chosen.
        stop: Texts before which the answer ends.
        alternatives: How many alternatives each token has; None: tokens have no probabilities.
    """

    prompt: Dialogue | str
    max_tokens: int
    sampling: Sampling = field(default_factory=Sampling)
    stop: tuple[str, ...] = ()
    alternatives: int | None = None


@dataclass(frozen=True)
class Token:
    """A token as text.

    Attributes:
        text: Its text; a replacement character where it is a part of a character.
        log_probability: In nats.
        alternatives: The most probable tokens in its place with their log-probabilities.
    """

    text: str
    log_probability: float
    alternatives: list[tuple[str, float]] = field(default_factory=list)


@dataclass(frozen=True)
class Piece:
    """A part of a text.

    Attributes:
        text: May be "", if the token ends within a character or what may be a text of `stop`.
        token: The token that was written, if probabilities are wanted.
    """

    text: str
    token: Token | None = None


@dataclass(frozen=True)
class Ended:
    """The end of a text.

    Attributes:
        reason: "stop": the model or a text of `stop` has ended it; "length": `max_tokens` has.
        prompt_tokens: Number of tokens of the prompt.
        tokens: Number of tokens that were written.
        warnings: What to know about it.
    """

    reason: str
    prompt_tokens: int
    tokens: int
    warnings: list[str]

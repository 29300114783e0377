"""The settings of the stages that learn from rewards of their own answers."""

from typing import Annotated

from pydantic import Field

from papertune.kinds.base import Text
from papertune.stages.stage import FeedbackStage


class SamplingStage(FeedbackStage):
    """The model answers each prompt several times and learns from the rewards.

    Attributes:
        generations: Answers to each prompt.
        beta: Weight of the divergence from the start.
        temperature: Of the answers.
        max_new_tokens: Maximum length of an answer, in tokens; None: that of the column.
        reward: "f1": against the table's cells, of keywords or of the tokens of a text; or a run of stage rm.
    """

    generations: Annotated[int, Field(ge=2)] = 4
    beta: Annotated[float, Field(ge=0)] = 0.05
    temperature: Annotated[float, Field(gt=0)] = 1.0
    max_new_tokens: Annotated[int, Field(ge=1)] | None = None
    reward: Text = "f1"

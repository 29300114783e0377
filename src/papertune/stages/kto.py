"""Kahneman-Tversky optimisation: single answers with a judgement are learned."""

from typing import Annotated, ClassVar, Literal

from pydantic import Field

from papertune.stages.stage import FeedbackStage, Reads


class KtoStage(FeedbackStage):
    """Good answers become more probable and bad ones less (Ethayarajh et al. 2024, arXiv:2402.01306).

    Attributes:
        beta: How strongly the model is held to its start.
        sft_weight: Weight of the loss of the good answers.
    """

    kind: Literal["kto"]
    beta: Annotated[float, Field(gt=0)] = 0.1
    sft_weight: Annotated[float, Field(ge=0)] = 1.0

    reads: ClassVar[Reads] = "thumbs"

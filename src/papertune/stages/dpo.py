"""Direct preference optimisation: pairs are learned without a reward model."""

from typing import TYPE_CHECKING, Annotated, ClassVar, Literal

from pydantic import Field

from papertune.stages.stage import FeedbackStage, Reads, StageOutcome

if TYPE_CHECKING:
    from papertune.pipelines.stages.job import StageJob


class DpoStage(FeedbackStage):
    """The better answer of a pair becomes more probable than the worse one (Rafailov et al. 2023, arXiv:2305.18290).

    Attributes:
        beta: How strongly the model is held to its start.
        sft_weight: Weight of the loss of the better answer, beside that of the pair; without it the probability of both
            falls where they differ little (arXiv:2402.13228).
    """

    kind: Literal["dpo"]
    beta: Annotated[float, Field(gt=0)] = 0.1
    sft_weight: Annotated[float, Field(ge=0)] = 1.0

    reads: ClassVar[Reads] = "pairs"

    def train(self, job: "StageJob") -> StageOutcome:
        """Train on pairs."""
        from papertune.pipelines.stages.preferring import train_on_pairs

        return train_on_pairs(self, job)

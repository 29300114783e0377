"""Kahneman-Tversky optimisation: single answers with a judgement are learned."""

from typing import TYPE_CHECKING, Annotated, ClassVar, Literal

from pydantic import Field

from papertune.errors import RecipeError
from papertune.stages.stage import FeedbackStage, Reads, StageOutcome

if TYPE_CHECKING:
    from papertune.pipelines.stages.job import StageJob
    from papertune.recipe import Recipe


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

    def check_recipe(self, recipe: "Recipe") -> None:
        """Check the batches too: an answer is compared with one to another prompt of its batch."""
        super().check_recipe(recipe)
        if recipe.training.micro_batch_size < 2:
            raise RecipeError(
                'stage "kto" compares an answer with one to another prompt of its batch, so a batch of one row teaches '
                "nothing. Set training.micro_batch_size to 2 or more."
            )

    def train(self, job: "StageJob") -> StageOutcome:
        """Train on judged answers, or on pairs as two answers each."""
        from papertune.pipelines.stages.preferring import train_on_thumbs

        return train_on_thumbs(self, job)

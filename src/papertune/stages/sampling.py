"""The settings of the stages that learn from rewards of their own answers."""

from typing import TYPE_CHECKING, Annotated

from pydantic import Field

from papertune.errors import RecipeError
from papertune.kinds.base import Text
from papertune.stages.stage import FeedbackStage, StageOutcome

if TYPE_CHECKING:
    from papertune.kinds.findings import Findings
    from papertune.pipelines.stages.job import StageJob
    from papertune.recipe import Recipe
    from papertune.tables import Table


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

    def check_recipe(self, recipe: "Recipe") -> None:
        """Refuse columns whose answers are not written as one text, too."""
        super().check_recipe(recipe)
        for name, column in recipe.questions.items():
            if not column.is_written:
                raise RecipeError(
                    f'columns.{name}: stage "{self.kind}" draws whole answers, and a column of kind "{column.kind}" '
                    'has none. Use the kinds "keywords" or "text", or the stages rm, dpo and kto.'
                )

    def check_table(self, table: "Table", recipe: "Recipe") -> "Findings":
        """Check documents, and gold cells if the rewards come from them."""
        from papertune.prompts.check_table import check_table

        has_gold = self.reward == "f1" or any(name in table.columns for name in recipe.columns)
        return check_table(table, recipe, "train" if has_gold else "predict")

    def check_job(self, job: "StageJob") -> None:
        """Check the dev rows and the reward run too."""
        from papertune.pipelines.stages.rewarding import check_sampling_job

        super().check_job(job)
        check_sampling_job(self, job)

    def other_runs(self) -> list[str]:
        """Return the checksum of the reward run."""
        from papertune.pipelines.stages.rewarding import reward_checksum

        return [] if self.reward == "f1" else [reward_checksum(self)]

    def train(self, job: "StageJob") -> StageOutcome:
        """Train on rewards of the model's own answers."""
        from papertune.pipelines.stages.rewarding import train_on_rewards

        return train_on_rewards(self, job)

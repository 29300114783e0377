"""Continued pre-training: the documents themselves are learned."""

from typing import TYPE_CHECKING, Annotated, ClassVar, Literal

from pydantic import Field

from papertune.errors import RecipeError
from papertune.stages.stage import Stage, StageOutcome

if TYPE_CHECKING:
    from papertune.kinds.findings import Findings
    from papertune.pipelines.stages.job import StageJob
    from papertune.recipe import Recipe
    from papertune.tables import Table


class PtStage(Stage):
    """The model learns every token of the papers, without labels (Gururangan et al. 2020, arXiv:2004.10964).

    Attributes:
        block: Tokens of a block; documents are packed into blocks and see only themselves. A longer document is cut.
        mix_instructions: Share of the tokens that are prompts with their gold answers, where the tables have any; it
            keeps the model able to answer (Cheng et al. 2023, arXiv:2309.09530).
    """

    kind: Literal["pt"]
    block: Annotated[int, Field(ge=16)] = 512
    mix_instructions: Annotated[float, Field(ge=0, lt=1)] = 0.0

    needs_columns: ClassVar[bool] = False
    fills_columns: ClassVar[bool] = False
    run_in_words: ClassVar[str] = "a model that has only read papers"

    def check_recipe(self, recipe: "Recipe") -> None:
        """Refuse methods that cannot learn whole texts, and instructions without columns."""
        if not recipe.method.learns_text:
            raise RecipeError(
                f'stage "pt" changes what the model knows, which method.kind = "{recipe.method.kind}" cannot keep. Set '
                'it to "lora", "full" or "freeze".'
            )
        if self.mix_instructions and not recipe.columns:
            raise RecipeError(
                f"stage.mix_instructions is {self.mix_instructions:g}, but the recipe has no columns, whose questions "
                "the instructions would be. Add [columns.NAME], or set it to 0."
            )

    def check_table(self, table: "Table", recipe: "Recipe") -> "Findings":
        """Check the documents of a table; gold cells only where instructions are made of them."""
        from papertune.prompts.check_table import check_documents, check_table

        has_gold = table.is_instructions or any(name in table.columns for name in recipe.columns)
        if self.mix_instructions and has_gold:
            return check_table(table, recipe, "train")
        return check_documents(table, recipe)

    def train(self, job: "StageJob") -> StageOutcome:
        """Train on packed blocks of documents."""
        from papertune.pipelines.stages.pretraining import train_on_documents

        return train_on_documents(self, job)

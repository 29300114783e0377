"""The interface of stages.

A stage is one class. Its fields are the settings under `[stage]`; its methods check the recipe and the input, and
train. `pipelines/stages/` has what they train with; it is imported when a training begins.
"""

from abc import ABC
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, ClassVar, Literal, get_args

from papertune.errors import RecipeError, TableError
from papertune.kinds.base import Part

if TYPE_CHECKING:
    from papertune.kinds.findings import Findings
    from papertune.pipelines.stages.job import StageJob
    from papertune.recipe import Recipe
    from papertune.tables import Table

# What the input files of a stage hold: papers, pairs of a better and a worse answer, or answers with a judgement.
Reads = Literal["papers", "pairs", "thumbs"]


@dataclass(frozen=True)
class StageOutcome:
    """How the training of a stage ended; the run directory has its weights and tokenizer then.

    Attributes:
        examples: Number of training examples: documents, pairs or prompts.
        steps: Number of optimizer steps.
        seconds: Training time; only of the last part, if the training was resumed.
        trained_weights: Number of trainable parameters.
        dev_score: The score that chose the checkpoint; None without dev rows.
        results: What the stage has measured, by name.
        reward: Where rewards came from; None for a stage without rewards.
    """

    examples: int
    steps: int
    seconds: float
    trained_weights: int
    dev_score: float | None = None
    results: dict[str, float] = field(default_factory=dict)
    reward: str | None = None


class Stage(Part, ABC):
    """A stage of training.

    Attributes:
        kind: The stage's name in a recipe.
        reads: What its input files hold.
        fits_sources: Whether sources beside the model are fitted; then not every recipe trains the model.
        needs_columns: Whether the recipe must have columns.
        fills_columns: Whether its runs predict the recipe's columns.
        can_be_start: Whether another training can start from the adapter of its run.
        run_in_words: What messages call a run of this stage.
        usual_rate: The learning rate of a recipe that names none.
    """

    kind: str

    reads: ClassVar[Reads] = "papers"
    fits_sources: ClassVar[bool] = False
    needs_columns: ClassVar[bool] = True
    fills_columns: ClassVar[bool] = True
    can_be_start: ClassVar[bool] = True
    run_in_words: ClassVar[str] = "a trained model"
    usual_rate: ClassVar[float] = 1e-3

    @classmethod
    def kind_name(cls) -> str:
        """Return the one value that `kind` can have."""
        (name,) = get_args(cls.model_fields["kind"].annotation)
        return str(name)

    def usage(self, run: str, *, saves_adapter: bool) -> str:
        """Return the command that uses a run of this stage.

        Args:
            run: The name of the run directory.
            saves_adapter: Whether the run keeps an adapter, not a whole model.
        """
        if self.fills_columns:
            return f"papertune predict {run} TABLE.csv -o FILLED.csv"
        setting = self.start_setting(run, saves_adapter=saves_adapter).replace(" = ", "=").replace('"', "")
        return f"papertune train TABLE.csv -r RECIPE.toml -o RUN --set {setting}"

    def start_setting(self, run: str, *, saves_adapter: bool) -> str:
        """Return the setting of a recipe with which a training starts from a run of this stage."""
        return f'method.start_from = "{run}"' if saves_adapter else f'model = "{run}/model"'

    def check_recipe(self, recipe: "Recipe") -> None:
        """Check that the stage can train this recipe, whose columns are those to learn.

        Raises:
            RecipeError: If it cannot.
        """

    def check_table(self, table: "Table", recipe: "Recipe") -> "Findings":
        """Check one input table, for training or as dev rows, and return all problems and warnings."""
        from papertune.prompts.check_table import check_table

        return check_table(table, recipe, "train")

    def check_job(self, job: "StageJob") -> None:
        """Check what needs more than the recipe and the input, before the run directory is claimed.

        Raises:
            RecipeError, RunError, MissingExtraError: If the stage cannot train.
        """

    def other_runs(self) -> list[str]:
        """Return the checksums of runs that the stage uses besides its start; they have been checked."""
        return []

    def train(self, job: "StageJob") -> StageOutcome:
        """Train in a claimed run directory, and write the weights and the tokenizer there.

        Raises:
            TrainingStopped: If a signal ended the training; a checkpoint has been written.
        """
        raise NotImplementedError(f"{self.kind} is trained by pipelines/train.py")


class FeedbackStage(Stage):
    """A stage that learns which of several generated answers is better.

    A rate that suits training on answers moves the model far from its start, and probabilities of all answers fall.
    """

    usual_rate: ClassVar[float] = 1e-4

    def check_recipe(self, recipe: "Recipe") -> None:
        """Refuse columns whose answers are chosen, not written."""
        for name, column in recipe.columns.items():
            if column.why_no_feedback:
                others = [other for other, each in recipe.columns.items() if not each.why_no_feedback]
                remedy = f"Leave it out with --only {' --only '.join(others)}" if others else 'Use stage "sft"'
                raise RecipeError(
                    f'columns.{name}: stage "{self.kind}" is for generated columns. {column.why_no_feedback[0].upper()}'
                    f"{column.why_no_feedback[1:]}. {remedy}."
                )

    def check_table(self, table: "Table", recipe: "Recipe") -> "Findings":
        """Check pairs or judged answers."""
        from papertune.kinds.findings import Findings
        from papertune.pipelines.stages.feedback import READERS

        findings = Findings()
        try:
            READERS[self.reads](table, recipe)
        except TableError as error:
            findings.problems.append(str(error))
        return findings

    def check_job(self, job: "StageJob") -> None:
        """Check TRL, the method and the start."""
        from papertune.pipelines.stages.feedback import check_feedback_job

        check_feedback_job(self, job)

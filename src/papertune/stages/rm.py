"""Reward models: how good an answer is, learned from pairs."""

from typing import TYPE_CHECKING, ClassVar, Literal

from papertune.stages.stage import FeedbackStage, Reads, StageOutcome

if TYPE_CHECKING:
    from papertune.pipelines.stages.job import StageJob


class RmStage(FeedbackStage):
    """A head with one output learns that the better answer of a pair has the higher reward."""

    kind: Literal["rm"]

    reads: ClassVar[Reads] = "pairs"
    fills_columns: ClassVar[bool] = False
    can_be_start: ClassVar[bool] = False
    run_in_words: ClassVar[str] = "a reward model"
    usual_rate: ClassVar[float] = 5e-4

    def usage(self, run: str, *, saves_adapter: bool) -> str:
        """Return the command that chooses answers by its rewards."""
        return f"papertune predict RUN TABLE.csv -o FILLED.csv --best-of 8 --reward {run}"

    def train(self, job: "StageJob") -> StageOutcome:
        """Train a head and an adapter on pairs."""
        from papertune.pipelines.stages.reward_model import train_reward_model

        return train_reward_model(job)

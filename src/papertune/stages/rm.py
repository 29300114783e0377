"""Reward models: how good an answer is, learned from pairs."""

from typing import ClassVar, Literal

from papertune.stages.stage import FeedbackStage, Reads


class RmStage(FeedbackStage):
    """A head with one output learns that the better answer of a pair has the higher reward."""

    kind: Literal["rm"]

    reads: ClassVar[Reads] = "pairs"
    fills_columns: ClassVar[bool] = False
    can_be_start: ClassVar[bool] = False
    run_in_words: ClassVar[str] = "a reward model"

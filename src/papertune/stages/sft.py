"""Supervised fine-tuning: the answers in a table are learned."""

from typing import ClassVar, Literal

from papertune.stages.stage import Stage


class SftStage(Stage):
    """The answers in the cells of a table, or of an instruction file, are learned; the stage without a section."""

    kind: Literal["sft"] = "sft"

    fits_sources: ClassVar[bool] = True

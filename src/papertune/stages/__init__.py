"""The stages of training: what a training learns from, and what its run can do.

Recipes import this package, so a stage imports what trains when it is asked to train.
"""

from papertune.stages.registry import STAGES, AnyStage, check_not_removed, stages_by_kind
from papertune.stages.sft import SftStage
from papertune.stages.stage import Reads, Stage, StageOutcome

__all__ = [
    "STAGES",
    "AnyStage",
    "Reads",
    "SftStage",
    "Stage",
    "StageOutcome",
    "check_not_removed",
    "stages_by_kind",
]

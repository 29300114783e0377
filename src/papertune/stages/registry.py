"""The stages there are: a new one is a module of its own and a line in `STAGES`."""

from functools import reduce
from operator import or_
from typing import TYPE_CHECKING, Annotated

from pydantic import Field

from papertune.stages.dpo import DpoStage
from papertune.stages.grpo import GrpoStage
from papertune.stages.kto import KtoStage
from papertune.stages.pt import PtStage
from papertune.stages.rloo import RlooStage
from papertune.stages.rm import RmStage
from papertune.stages.sft import SftStage
from papertune.stages.stage import Stage

STAGES: tuple[type[Stage], ...] = (
    PtStage,
    SftStage,
    RmStage,
    DpoStage,
    KtoStage,
    RlooStage,
    GrpoStage,
)

# What `stage` of a recipe can be: the class is chosen by `kind`.
if TYPE_CHECKING:
    AnyStage = Stage
else:
    AnyStage = Annotated[reduce(or_, STAGES), Field(discriminator="kind")]

_REMOVED = {
    "ppo": "TRL has removed PPO, and rloo stands in its place: it learns from the same rewards, without a value model. "
    'Use "rloo"',
}


def stages_by_kind() -> dict[str, type[Stage]]:
    """Return the stages by the value of `kind`."""
    return {stage.kind_name(): stage for stage in STAGES}


def check_not_removed(kind: object) -> None:
    """Raise a ValueError for a stage that other programs have and this one does not."""
    if isinstance(kind, str) and kind in _REMOVED:
        raise ValueError(f'stage.kind is "{kind}": {_REMOVED[kind]}')

"""Continued pre-training: the step from papers to packed blocks, and their training."""

from papertune.errors import RecipeError
from papertune.pipelines.stages.job import StageJob
from papertune.stages.pt import PtStage
from papertune.stages.stage import StageOutcome


def train_on_documents(stage: PtStage, job: StageJob) -> StageOutcome:
    """Train on packed blocks of documents."""
    raise RecipeError(f'stage.kind = "{stage.kind}" cannot be trained by this version of papertune. Update it.')

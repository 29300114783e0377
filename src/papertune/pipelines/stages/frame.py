"""The way of every stage but supervised fine-tuning: checks, a claimed run directory, training, the manifest."""

from contextlib import ExitStack

from papertune.events import Listener
from papertune.files import disk_full_as_output_error
from papertune.manifest import Manifest
from papertune.pipelines.stages.job import StageJob, StageRequest, prepare_stage
from papertune.pipelines.training.run_files import check_shared, check_together
from papertune.recipe import Recipe
from papertune.run import Run, load_run
from papertune.stages import StageOutcome
from papertune.training import Processes


def train_stage(
    request: StageRequest, recipe: Recipe, processes: Processes, *, device: str | None, listener: Listener
) -> Run:
    """Train the stage of a recipe, and write a run.

    Args:
        request: What to train on, and where.
        recipe: The recipe.
        processes: The processes of the training; all of them call this.
        device: The device of the run that is returned.
        listener: Gets messages and progress.

    Returns:
        The run.

    Raises:
        RecipeError, TableError, ModelError, OutputError: As `train`.
        TrainingStopped: If a signal ended the training; a checkpoint has been written.
    """
    with processes.shared_errors():
        job = prepare_stage(request, recipe, processes, listener)
    directory = job.directory
    with processes.shared_errors():
        check_together(job.plan, directory, processes, resume=job.resume)
    if processes.first_value(lambda: directory.is_complete):
        listener.message(f"{directory.path} is finished already")
        return load_run(directory.path, device=device, base=request.base)
    with ExitStack() as held:
        with processes.shared_errors():
            if processes.is_first:
                held.enter_context(directory.claimed(job.plan, resume=job.resume))
        with processes.shared_errors():
            check_shared(directory, processes)
        with disk_full_as_output_error(directory.path):
            outcome = job.recipe.stage.train(job)
        with processes.shared_errors(), disk_full_as_output_error(directory.path):
            if processes.is_first:
                directory.finish(_manifest(job, outcome), job.recipe)
    return load_run(directory.path, device=device, base=request.base)


def _manifest(job: StageJob, outcome: StageOutcome) -> Manifest:
    return Manifest(
        base_name=job.recipe.model,
        base_checksum=job.base.checksum,
        tables=job.notes,
        examples=outcome.examples,
        steps=outcome.steps,
        seconds=outcome.seconds,
        trained_weights=outcome.trained_weights,
        dev_score=outcome.dev_score,
        stage=job.recipe.stage.kind,
        parents=job.parents,
        stage_results=outcome.results,
        reward=outcome.reward,
    )

"""The way of every stage but supervised fine-tuning: checks, a claimed run directory, training, the manifest."""

from papertune.events import Listener
from papertune.files import disk_full_as_output_error
from papertune.manifest import Manifest
from papertune.pipelines.stages.job import StageJob, prepare_stage
from papertune.pipelines.training.request import TrainingRequest
from papertune.pipelines.training.run_files import check_together, claimed_together
from papertune.recipe import Recipe
from papertune.run import Run, load_run
from papertune.run_directory import RunDirectory
from papertune.stages import StageOutcome
from papertune.training import Processes


def train_stage(
    request: TrainingRequest,
    recipe: Recipe,
    directory: RunDirectory,
    processes: Processes,
    *,
    resume: bool,
    device: str | None,
    listener: Listener,
) -> Run:
    """Train the stage of a recipe, and write a run.

    Args:
        request: What to train on.
        recipe: The recipe.
        directory: The run directory to make.
        processes: The processes of the training; all of them call this.
        resume: Continue the training in the run directory.
        device: The device of the run that is returned.
        listener: Gets messages and progress.

    Returns:
        The run.

    Raises:
        RecipeError, TableError, ModelError, OutputError: As `train`.
        TrainingStopped: If a signal ended the training; a checkpoint has been written.
    """
    with processes.shared_errors():
        job = prepare_stage(request, recipe, directory, processes, resume=resume, listener=listener)
    with processes.shared_errors():
        check_together(job.plan, directory, processes, resume=resume)
    if processes.first_value(lambda: directory.is_complete):
        listener.message(f"{directory.path} is finished already")
        return load_run(directory.path, device=device, base=request.base)
    with claimed_together(job.plan, directory, processes, resume=resume):
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

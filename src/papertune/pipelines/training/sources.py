"""The sources beside the model, fitted before a model is trained."""

from papertune.calibration.joining import TrainingEvidence
from papertune.errors import TableError
from papertune.events import Listener
from papertune.kinds.label.record import MODEL
from papertune.models import load_model
from papertune.pipelines.training.job import TrainingJob
from papertune.run_directory import RunDirectory
from papertune.sources.fitting.fit import MIN_ROWS, fit_sources, read_held_out
from papertune.sources.label_sources import LabelSources
from papertune.sources.source import Surroundings
from papertune.sources.wanted import label_sources


def fit_training_sources(
    job: TrainingJob, directory: RunDirectory, device: str | None, listener: Listener
) -> TrainingEvidence | None:
    """Fit the sources of label questions on the rows of a training, or read them if that was done before.

    Dev rows that were split off the training tables are among the rows: sources are cross-fitted, so that their
    predictions for these rows are held out all the same.

    Args:
        job: The training.
        directory: Its claimed run directory.
        device: Where encoders and models run.
        listener: Gets messages and progress.

    Returns:
        What they say about these rows, held out; None if no question has other sources than the model, or enough rows.

    Raises:
        TableError: If a question has too few rows for its sources, and no model.
    """
    wanted = label_sources(job.recipe, job.sources)
    if not wanted:
        return None
    tables = job.source_tables
    if LabelSources.is_saved(directory.sources):
        return TrainingEvidence(tables, read_held_out(directory.checkpoints))

    def load_base() -> tuple[object, object]:
        return load_model(job.base, precision="auto", device=device or "cpu", base_bits=job.recipe.base_bits)

    surroundings = Surroundings(job.recipe, load_base, device, directory.checkpoints)
    held_out = fit_sources(tables, job.recipe, wanted, directory.sources, surroundings, listener)
    for name in wanted:
        if name not in held_out and MODEL not in job.sources[name]:
            raise TableError(
                f'column "{name}": {", ".join(wanted[name])} need at least {MIN_ROWS} rows with two different labels, '
                "one of them twice. Add rows, or let the model learn the column."
            )
    return TrainingEvidence(tables, held_out) if held_out else None

"""Training: from tables and a recipe to a run."""

import gc
import time
import warnings
from collections import Counter
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import torch

from papertune.calibration.calibrate import calibrate_run
from papertune.calibration.joining import TrainingEvidence
from papertune.errors import PapertuneWarning
from papertune.evaluation.dev_score import DevScore
from papertune.events import SILENT, Listener
from papertune.files import disk_full_as_output_error
from papertune.manifest import Manifest
from papertune.methods import (
    build_trainable,
    checkpoint_activations,
    count_parameters,
)
from papertune.models import choose_dtype, load_model
from papertune.pipelines.stages.frame import train_stage
from papertune.pipelines.training.job import TrainingJob, prepare_job
from papertune.pipelines.training.optimizer_steps import MIN_STEPS, too_few_steps
from papertune.pipelines.training.request import TrainingRequest
from papertune.pipelines.training.run_files import (
    check_together,
    claimed_together,
    gather_weights,
    precision_name,
    raise_if_stopped,
    write_weights,
)
from papertune.pipelines.training.sources import fit_training_sources
from papertune.prompts import PromptEncoder
from papertune.prompts.examples import Example, make_prompt, training_examples
from papertune.recipe import Recipe, load_recipe
from papertune.run import Run, load_run
from papertune.run_directory import RunDirectory
from papertune.sources.label_sources import LabelSources
from papertune.training import (
    EncodedExamples,
    FitSettings,
    Processes,
    encode_examples,
    fit,
    joined_processes,
)

# How to repeat a calibration that ran out of memory.
_AGAIN = "give the same command with --resume"


@dataclass(frozen=True)
class _Learner:
    """A model to train with its examples.

    Attributes:
        model: The model.
        tokenizer: Its tokenizer.
        encoded: The encoded training rows.
        examples: The examples that they come from.
        dtype: Number format of the products.
        trainable: Number of trainable parameters.
        recipe: The recipe with the columns that the model learns.
    """

    model: Any
    tokenizer: Any
    encoded: EncodedExamples
    examples: list[Example]
    dtype: torch.dtype
    trainable: int
    recipe: Recipe


def train(
    tables: Any,
    recipe: str | Path | Mapping[str, Any] | Recipe,
    output: str | Path,
    *,
    dev: Any = None,
    dev_fraction: float = 0.0,
    only: Sequence[str] = (),
    stage: str | None = None,
    overrides: Sequence[str] = (),
    resume: bool = False,
    device: str | None = None,
    base: str | Path | None = None,
    listener: Listener = SILENT,
) -> Run:
    """Fine-tune a model on tables, and write a run.

    If `torchrun` or `accelerate launch` has started several processes, all of them call this with the same arguments.
    Each trains on its share of the rows; the first one writes and reports.

    Args:
        tables: A table (a path, a data frame, a list of dicts), or a list of paths or frames.
        recipe: A recipe, its file or built-in name, or a mapping.
        output: The run directory to make.
        dev: A table of dev rows, whose score chooses the checkpoint.
        dev_fraction: Instead of `dev`: this share of the tables' rows.
        only: Just these of the recipe's columns.
        stage: The stage of the training, instead of that of the recipe; "pt" learns the documents themselves.
        overrides: Settings such as "training.epochs=3".
        resume: Resume the training in `output`.
        device: "cpu", "cuda", ...; None: a GPU if there is one, each process its own.
        base: Where the base model is now, if not where the recipe says.
        listener: Gets messages, and the progress after each step and each batch of dev rows.

    Returns:
        The run.

    Raises:
        RecipeError, TableError, ModelError, OutputError: Errors of the user, found before weights load if possible. An
            error of one process before the training begins is raised in all.
        TrainingStopped: If SIGTERM or Ctrl-C ended it; a checkpoint has been written.
        ProcessLost: If another process of the training has ended too early.
    """
    directory = RunDirectory(Path(output))
    settings = [*(() if stage is None else (f"stage.kind={stage}",)), *overrides]
    with joined_processes(device) as processes:
        if not processes.is_first:
            listener = SILENT
        with processes.shared_errors():
            chosen = load_recipe(recipe, settings)
        run_stage = _train_columns if chosen.stage.fits_sources else train_stage
        request = TrainingRequest(tables, dev, dev_fraction, only, base)
        return run_stage(request, chosen, directory, processes, resume=resume, device=device, listener=listener)


def _train_columns(
    request: TrainingRequest,
    recipe: Recipe,
    directory: RunDirectory,
    processes: Processes,
    *,
    resume: bool,
    device: str | None,
    listener: Listener,
) -> Run:
    """Learn the columns of a recipe from gold cells; the arguments are those of `train_stage`."""
    with processes.shared_errors():
        job = prepare_job(request, recipe, processes.count)
    with processes.shared_errors():
        check_together(job.plan, directory, processes, resume=resume)
    if processes.first_value(lambda: directory.is_complete):
        with processes.shared_errors():
            if processes.is_first:
                _calibrate_finished(load_run(directory.path, device=device, base=request.base), job, listener)
        return load_run(directory.path, device=device, base=request.base)
    learner = None if job.trained_recipe is None else _load(job, job.trained_recipe, processes, listener)
    evidence: TrainingEvidence | None = None
    with claimed_together(job.plan, directory, processes, resume=resume):
        with processes.shared_errors(), disk_full_as_output_error(directory.path):
            if processes.is_first:
                evidence = fit_training_sources(job, directory, device, listener)
        sharded = False
        if learner is None:
            manifest = _manifest(job)
        else:
            manifest, sharded = _train(job, learner, directory, processes, resume=resume, listener=listener)
        del learner  # not needed beside the weights that predict
        gc.collect()
        if torch.cuda.is_available():
            torch.cuda.empty_cache()
        with processes.shared_errors(), disk_full_as_output_error(directory.path):
            if processes.is_first:
                if sharded and not processes.device.startswith("cpu"):
                    listener.message("dev rows are predicted on the CPU: a GPU may be too small for the model")
                # A model that was sharded over GPUs need not fit on one.
                place = "cpu" if sharded else device
                run = Run(directory, job.recipe, manifest, device=place, base=request.base_place)
                _finish(run, job, evidence, listener)
    return load_run(directory.path, device=device, base=request.base)


def _finish(run: Run, job: TrainingJob, evidence: TrainingEvidence | None, listener: Listener) -> None:
    """Complete a trained run; join its sources, and calibrate it if there are dev rows."""
    if not run.directory.has_model and LabelSources.is_saved(run.directory.sources):
        run.manifest = replace(run.manifest, joins=run.label_sources.plain_joins)
    for name, column in job.recipe.columns.items():
        for message in column.fit_sources(name, job.recipe, job.tables, run.directory.source_folder(name)):
            listener.message(message)
    # Complete before calibration: a float32 model takes twice the memory of the training, and the system may kill the
    # process.
    run.directory.finish(run.manifest, run.recipe)
    if job.selection_set or evidence is not None:
        calibrate_run(run, job.selection_set, job.calibration_set, training=evidence, listener=listener, again=_AGAIN)


def _calibrate_finished(run: Run, job: TrainingJob, listener: Listener) -> None:
    """Calibrate a trained run, if that has not been done."""
    if not run.manifest.lacks_calibration:
        listener.message(f"{run.directory.path} is finished already")
        return
    evidence = fit_training_sources(job, run.directory, run.device, listener)
    if not job.selection_set and evidence is None:
        listener.message(f"{run.directory.path} is finished already")
        return
    listener.message(f"{run.directory.path} is trained already")
    calibrate_run(run, job.selection_set, job.calibration_set, training=evidence, listener=listener, again=_AGAIN)


def _manifest(job: TrainingJob) -> Manifest:
    """Return the manifest of a run without a model."""
    examples = [example for table in job.tables for example in training_examples(table, job.recipe)]
    return Manifest(
        base_name=job.recipe.model,
        base_checksum=job.base.checksum,
        tables=job.notes,
        label_counts=_count_labels(examples, job.recipe),
        examples=len(examples),
        parents=job.parents,
    )


def _load(job: TrainingJob, recipe: Recipe, processes: Processes, listener: Listener) -> _Learner:
    """Load what is trained, and report it."""
    listener.message(f"loading {job.recipe.model}")
    with processes.shared_errors():
        learner, total = _build(job, recipe, processes)
    each = "" if processes.count == 1 else f" in each of {processes.count} processes"
    listener.message(
        f"training {learner.trainable:,} of {total:,} parameters on {len(learner.examples):,} examples, "
        f"{processes.device}{each}, {precision_name(learner.dtype)}"
    )
    if few := too_few_steps(job.recipe.training, len(learner.encoded.rows), processes.count):
        listener.message(few)
    if advice := recipe.method.rate_advice(recipe.training.learning_rate):
        listener.message(advice)
    return learner


def _build(job: TrainingJob, chosen: Recipe, processes: Processes) -> tuple[_Learner, int]:
    """Load the model, encode the examples, and make the model trainable.

    Returns:
        What is trained, and the number of all parameters.
    """
    compute_dtype = choose_dtype(chosen.training.precision, processes.device)
    precision = precision_name(chosen.method.base_dtype(compute_dtype))
    model, tokenizer = load_model(
        job.base, precision=precision, device=processes.loading_device, base_bits=chosen.base_bits
    )
    encoder = PromptEncoder(tokenizer, chosen.encoding, chat=chosen.chat)
    learn_history = chosen.training.learn_history
    examples = [
        example for table in job.tables for example in training_examples(table, chosen, learn_history=learn_history)
    ]
    encoded = encode_examples(examples, chosen.questions, encoder, chosen.owners)
    if encoded.truncated:
        rounds = any(example.prompt.history and example.prompt.drops_history for example in examples)
        warnings.warn(
            f"{encoded.truncated:,} of {len(examples):,} prompts have more than {encoder.max_prompt_tokens} tokens; "
            f"{'their oldest rounds, or ' if rounds else ''}the ends of their documents are not read.",
            PapertuneWarning,
            stacklevel=5,
        )
    for name, count in encoded.left_out.items():
        warnings.warn(chosen.questions[name].left_out_in_words(name, count), PapertuneWarning, stacklevel=5)
    text = _question_ids(examples, chosen, encoder)
    model = build_trainable(model, chosen.method, seed=chosen.training.seed, start=job.start, text=text)
    if chosen.training.gradient_checkpointing:
        checkpoint_activations(model)
    trainable, total = count_parameters(model)
    return _Learner(model, tokenizer, encoded, examples, compute_dtype, trainable, chosen), total


def _question_ids(examples: Sequence[Example], recipe: Recipe, encoder: PromptEncoder) -> list[int]:
    """Return the token ids of the questions, each as a prompt without a document.

    Where each row has a question of its own, its first prompt stands for them.
    """
    ids: list[int] = []
    for name, column in recipe.questions.items():
        prompts = [make_prompt(recipe.layout, "", column.question)]
        if column.question_column is not None:
            prompts = [example.prompt for example in examples if example.column == name][:1]
        ids += [token for prompt in prompts for token in encoder.encode(prompt).ids]
    return ids


def _train(
    job: TrainingJob,
    learner: _Learner,
    directory: RunDirectory,
    processes: Processes,
    *,
    resume: bool,
    listener: Listener,
) -> tuple[Manifest, bool]:
    """Train in a claimed folder; then the first process writes the trained weights.

    Returns:
        The manifest, and whether the weights were sharded over the processes.
    """
    with disk_full_as_output_error(directory.path):
        started = time.monotonic()
        dev_score = DevScore(job.selection_set, learner.recipe, learner.tokenizer, learner.dtype, listener)
        settings = FitSettings(
            spec=job.recipe.training,
            folder=directory.checkpoints,
            metrics_file=directory.metrics,
            compute_dtype=learner.dtype,
            dev_score=dev_score if job.selection_set else None,
            resume=resume,
            listener=listener,
            processes=processes,
        )
        result = fit(learner.model, learner.encoded.rows, learner.encoded.label_sets, settings)
        raise_if_stopped(result.stop_signal, result.steps)
        if processes.is_first and result.steps >= MIN_STEPS:
            for text in result.unlearned:
                warnings.warn(text, PapertuneWarning, stacklevel=4)
        manifest = replace(
            _manifest(job),
            examples=len(learner.examples),
            steps=result.steps,
            seconds=round(time.monotonic() - started, 1),
            trained_weights=learner.trainable,
            dev_score=result.best_score,
        )
    with processes.shared_errors(), disk_full_as_output_error(directory.path):
        if processes.is_first:
            model = learner.model
            if result.sharded_to is not None:
                model = gather_weights(job.recipe, learner.tokenizer, learner.dtype, result.sharded_to, job.base)
            write_weights(job.recipe, model, learner.tokenizer, learner.dtype, directory)
    return manifest, result.sharded_to is not None


def _count_labels(examples: Sequence[Example], recipe: Recipe) -> dict[str, dict[str, int]]:
    counts = Counter((example.column, example.answer) for example in examples)
    found = {name: column.count_answers(name, counts) for name, column in recipe.columns.items()}
    return {name: labels for name, labels in found.items() if labels}

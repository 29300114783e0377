"""From tables and a recipe to a run."""

import gc
import shutil
import signal
import socket
import time
import warnings
from collections import Counter
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import torch

from papertune.api.calibrate import calibrate, rank_keywords, with_chosen_thresholds
from papertune.api.int8 import compare_int8
from papertune.api.optimizer_steps import too_few_steps
from papertune.api.run import Run, load_run
from papertune.api.training_job import TrainingJob, prepare_job, ranks_keywords, wants_dev_rows
from papertune.config import FullMethod, LabelColumn, LabelsColumn, LoraMethod, PtuningV2Method, Recipe
from papertune.disk import telling_of_full_disk
from papertune.encoding import PromptEncoder
from papertune.errors import ModelError, OutputError, PapertuneWarning, TrainingStopped
from papertune.evaluation.dev_score import DevScore
from papertune.evaluation.fit_decision import LEAST_ROWS
from papertune.evaluation.multilabel_thresholds import asks_for_f1
from papertune.inference.predict import Tick
from papertune.methods import (
    build_trainable,
    checkpoint_activations,
    load_adapter,
    save_weights,
    trainable_weights,
)
from papertune.models import (
    Precision,
    choose_dtype,
    cpu_multiplies_int8,
    load_model,
)
from papertune.runs import Manifest, RunDirectory, TrainingPlan
from papertune.tasks import Example, training_examples
from papertune.training import (
    EncodedExamples,
    Processes,
    Progress,
    encode_examples,
    fit,
    joined_processes,
)


@dataclass(frozen=True)
class _Learner:
    """What goes into the training."""

    model: Any
    tokenizer: Any
    encoded: EncodedExamples
    examples: list[Example]
    dtype: torch.dtype


def train(
    tables: Any,
    recipe: str | Path | Mapping[str, Any] | Recipe,
    output: str | Path,
    *,
    dev: Any = None,
    dev_fraction: float = 0.0,
    only: Sequence[str] = (),
    overrides: Sequence[str] = (),
    resume: bool = False,
    device: str | None = None,
    base: str | Path | None = None,
    tell: Callable[[str], None] = lambda _: None,
    progress: Progress | None = None,
    tick: Tick | None = None,
) -> Run:
    """Fine-tune a model on tables and keep it as a run.

    Where `torchrun` or `accelerate launch` has started several processes, all of them call this with the same
    arguments. Each learns from its share of the rows; the first one writes, tells and shows progress.

    Args:
        tables: A table (a path, a data frame, a list of dicts), or a list of paths or frames.
        recipe: A recipe, its file or built-in name, or a mapping.
        output: The run directory to make.
        dev: A table whose score chooses the best checkpoint.
        dev_fraction: Instead of `dev`: this share of the tables' rows.
        only: Just these of the recipe's columns.
        overrides: Settings such as "training.epochs=3".
        resume: Go on with the training that was begun in `output`.
        device: "cpu", "cuda", ...; None: a GPU if there is one, of several processes to each its own.
        base: Where the base model is now, if not where the recipe says.
        tell: Told what goes on, a line each.
        progress: A display for the steps.
        tick: Told after each batch of dev rows that goes through the model.

    Returns:
        The run.

    Raises:
        RecipeError, TableError, ModelError, OutputError: Mistakes, all found before weights load where possible. What
            one of several processes meets before the training begins is raised in all.
        TrainingStopped: If SIGTERM or Ctrl-C ended it; a checkpoint has been written.
        ProcessLost: If another process of the training has ended before its time.
    """
    directory = RunDirectory(Path(output))
    with joined_processes(device) as processes:
        if not processes.is_first:
            tell, tick = _say_nothing, None
        with processes.agreed():
            job = prepare_job(tables, recipe, dev, dev_fraction, only, overrides, base, processes.count)
        with processes.agreed():
            _check_together(job.plan, directory, processes, resume=resume)
        if processes.first_value(lambda: directory.is_complete):
            finished = load_run(directory.path, device=device, base=base)
            tell(f"{directory.path} is finished already")
            if finished.manifest.int8 is None and _may_use_int8(job, processes.device):
                tell(
                    "whether int8 answers as float32 does has not been found out, so int8 will not be used. To find "
                    f"out, remove {directory.manifest_file} and give the same command again"
                )
            return finished
        tell(f"loading {job.recipe.model}")
        with processes.agreed():
            learner = _load(job, processes)
        learnt, total = trainable_weights(learner.model)
        each = "" if processes.count == 1 else f" in each of {processes.count} processes"
        tell(
            f"training {learnt:,} of {total:,} weights on {len(learner.examples):,} examples, "
            f"{processes.device}{each}, {_precision(learner.dtype)}"
        )
        if few := too_few_steps(job.recipe.training, len(learner.encoded.rows), processes.count):
            tell(few)
        with ExitStack() as held:
            with processes.agreed():
                if processes.is_first:
                    held.enter_context(directory.claimed(job.plan, resume=resume))
            with processes.agreed():
                _check_shared(directory, processes)
            manifest, sharded = _train(
                job, learner, directory, processes, learnt, resume=resume, progress=progress, tick=tick
            )
            del learner  # its weights are not needed beside those that predict
            gc.collect()
            if torch.cuda.is_available():
                torch.cuda.empty_cache()
            with processes.agreed(), telling_of_full_disk(directory.path):
                if processes.is_first:
                    place = None if base is None else Path(base)
                    if sharded and not processes.device.startswith("cpu"):
                        tell("dev rows go through the model on the CPU, since a GPU may be too small for all of it")
                    # A model that was divided among GPUs need not fit on one.
                    run = Run(directory, job.recipe, manifest, device="cpu" if sharded else device, base=place)
                    _try_on_dev_rows(run, job, tell, tick)
                    directory.finish(run.manifest, run.recipe)
                    if _may_use_int8(job, processes.device):
                        _compare_int8(run, job, tell, tick)
    return load_run(directory.path, device=device, base=base)


def _try_on_dev_rows(run: Run, job: TrainingJob, tell: Callable[[str], None], tick: Tick | None) -> None:
    """Find out on the dev rows what prediction will need to know, and put it into the run.

    What was learnt is worth keeping without it, so a model that cannot answer here does not end the training.
    """
    if job.kept_apart and wants_dev_rows(job.recipe):
        tell(f"calibrating on {sum(map(len, job.kept_apart)):,} dev rows")
        with _kept_without("probabilities are not calibrated", run, tell):
            run.manifest = replace(run.manifest, calibration=calibrate(run, job.kept_apart, tell, tick))
    elif job.dev and wants_dev_rows(job.recipe):
        tell(f"probabilities are not calibrated: at least {2 * LEAST_ROWS} dev rows with a label are needed")
    if unchosen := [name for name, column in run.recipe.columns.items() if asks_for_f1(column)]:
        rows = job.kept_apart or job.dev
        tell(f"choosing thresholds on {sum(map(len, rows)):,} dev rows")
        with _kept_without(f"{', '.join(unchosen)}: thresholds are not chosen, so 0.5 is taken", run, tell):
            run.recipe = with_chosen_thresholds(run, rows, tell, tick)
    if job.kept_apart and ranks_keywords(job.recipe):
        tell(f"ranking keywords on {sum(map(len, job.kept_apart)):,} dev rows")
        with _kept_without("keywords are ranked by their probability alone", run, tell):
            run.manifest = replace(run.manifest, rankings=rank_keywords(run, job.kept_apart, tell, tick))
    elif job.dev and ranks_keywords(job.recipe):
        needed = f"at least {2 * LEAST_ROWS} dev rows with keywords are needed"
        tell(f"keywords are ranked by their probability alone: {needed}")


def _may_use_int8(job: TrainingJob, device: str) -> bool:
    """Whether the dev rows may find out that prediction by itself takes int8."""
    on_cpu = device.startswith("cpu")
    return bool(job.dev) and on_cpu and job.recipe.base_bits is None and cpu_multiplies_int8()


def _compare_int8(run: Run, job: TrainingJob, tell: Callable[[str], None], tick: Tick | None) -> None:
    """Find out on the dev rows whether int8 answers as float32 does, and keep it in the run.

    The run is complete before: the system kills a process that takes too much memory, and in float32 a model takes
    twice what it was trained in.
    """
    tell(f"comparing int8 with float32 on {sum(map(len, job.dev)):,} dev rows; the run can be used already")
    with _kept_without("int8 will not be used", run, tell):
        # Thresholds lie at the very probabilities of rows that are kept apart: these tip over sooner than new rows do.
        run.manifest = replace(run.manifest, int8=compare_int8(run, job.dev, tick))
        run.directory.write_manifest(run.manifest)


@contextmanager
def _kept_without(what: str, run: Run, tell: Callable[[str], None]) -> Iterator[None]:
    """Tell why something is not found out, where numbers leave float16 or memory does not suffice, and go on."""
    try:
        yield
    except Exception as error:
        first = str(error).partition("\n")[0] or type(error).__name__
        if _is_of_memory(error):
            tell(
                f"{what}: there is not enough memory ({first}). The trained weights are kept. To do this part again, "
                f"make room, remove {run.directory.manifest_file} and add --resume to the same command"
            )
        elif isinstance(error, ModelError):
            tell(f"{what}: {first}")
        else:
            raise


def _is_of_memory(error: Exception) -> bool:
    """Whether memory did not suffice: torch has an error of its own for GPUs, and for CPUs says it in words only."""
    if isinstance(error, torch.OutOfMemoryError | MemoryError):
        return True
    # A predictor says of a single row that it does not fit.
    if isinstance(error, ModelError) and isinstance(error.__cause__, torch.OutOfMemoryError):
        return True
    return isinstance(error, RuntimeError) and "DefaultCPUAllocator" in str(error)


def _check_together(plan: TrainingPlan, directory: RunDirectory, processes: Processes, *, resume: bool) -> None:
    """Check that all processes are about the same training, and that it may be done in the folder."""
    for index, other in enumerate(processes.all_values(plan)):
        if different := plan.differences(other):
            raise OutputError(
                f"process {index} of {processes.count} has another {' and another '.join(different)} than process "
                f"{processes.index}. Give all of them the same files."
            )
    if processes.is_first:
        directory.check_free(plan, resume=resume)


def _load(job: TrainingJob, processes: Processes) -> _Learner:
    """Load the model, encode the examples, and make the model trainable."""
    chosen = job.recipe
    compute_dtype = choose_dtype(chosen.training.precision, processes.device)
    whole = isinstance(chosen.method, FullMethod)
    precision: Precision = "fp32" if whole else _precision(compute_dtype)
    model, tokenizer = load_model(
        job.base, precision=precision, device=processes.loading_device, base_bits=chosen.base_bits
    )
    encoder = PromptEncoder(tokenizer, chosen.encoding, chat=chosen.chat)
    examples = [example for table in job.tables for example in training_examples(table, chosen)]
    encoded = encode_examples(examples, chosen.questions, encoder)
    if encoded.shortened:
        warnings.warn(
            f"{encoded.shortened:,} of {len(examples):,} prompts have more than {encoder.max_prompt_tokens} tokens; "
            "the ends of their documents are not read.",
            PapertuneWarning,
            stacklevel=3,
        )
    for name, count in encoded.left_out.items():
        warnings.warn(
            f'column "{name}": {"1 keyword has" if count == 1 else f"{count:,} keywords have"} more tokens than '
            f"columns.{name}.max_keyword_tokens; not learnt.",
            PapertuneWarning,
            stacklevel=3,
        )
    model = build_trainable(model, chosen.method, seed=chosen.training.seed, start=job.start)
    if chosen.training.gradient_checkpointing:
        checkpoint_activations(model)
    return _Learner(model, tokenizer, encoded, examples, compute_dtype)


def _check_shared(directory: RunDirectory, processes: Processes) -> None:
    """Check that a process on another machine sees the folder that the first one has made."""
    if not directory.is_begun:
        raise OutputError(
            f"{directory.path}: process {processes.index} on {socket.gethostname()} does not see what the first "
            "process has written there. Choose a folder that all machines share."
        )


def _train(
    job: TrainingJob,
    learner: _Learner,
    directory: RunDirectory,
    processes: Processes,
    learnt: int,
    *,
    resume: bool,
    progress: Progress | None,
    tick: Tick | None,
) -> tuple[Manifest, bool]:
    """Train in a folder that is claimed; then the first process writes what was learnt.

    Returns:
        What the run will remember, and whether each process had a part of the weights only.
    """
    with telling_of_full_disk(directory.path):
        begun = time.monotonic()
        result = fit(
            learner.model,
            learner.encoded.rows,
            learner.encoded.label_tokens,
            job.recipe.training,
            directory.checkpoints,
            compute_dtype=learner.dtype,
            metrics_file=directory.metrics,
            dev_score=DevScore(job.dev, job.recipe, learner.tokenizer, learner.dtype, tick) if job.dev else None,
            resume=resume,
            progress=progress,
            processes=processes,
        )
        if result.stop_signal is not None:
            raise TrainingStopped(
                f"stopped by {signal.Signals(result.stop_signal).name} after step {result.steps}; a checkpoint is "
                "written. Add --resume to the same command to go on.",
                result.stop_signal,
            )
        manifest = Manifest(
            base_name=job.recipe.model,
            base_checksum=job.base.checksum,
            tables=job.notes,
            label_counts=_count_labels(learner.examples, job.recipe),
            examples=len(learner.examples),
            steps=result.steps,
            seconds=round(time.monotonic() - begun, 1),
            trained_weights=learnt,
            dev_score=result.best_score,
        )
    with processes.agreed(), telling_of_full_disk(directory.path):
        if processes.is_first:
            _write(job, learner, result.sharded_to, directory)
    return manifest, result.sharded_to is not None


def _write(job: TrainingJob, learner: _Learner, sharded_to: Path | None, directory: RunDirectory) -> None:
    """Write what was learnt."""
    adapted = isinstance(job.recipe.method, LoraMethod | PtuningV2Method)
    folder = directory.adapter if adapted else directory.model
    shutil.rmtree(folder, ignore_errors=True)  # half written before a kill
    model = learner.model if sharded_to is None else _put_together(job, learner, sharded_to, adapted=adapted)
    save_weights(model, folder, job.recipe.model, learner.dtype)
    learner.tokenizer.save_pretrained(directory.tokenizer)
    if not adapted:
        learner.tokenizer.save_pretrained(folder)


def _put_together(job: TrainingJob, learner: _Learner, checkpoint: Path, *, adapted: bool) -> Any:
    """Give the whole model, of which each process has a part only, from a checkpoint."""
    if adapted:
        bits = job.recipe.base_bits
        model, _ = load_model(job.base, precision=_precision(learner.dtype), device="cpu", base_bits=bits)
        return load_adapter(model, checkpoint)
    learner.tokenizer.save_pretrained(checkpoint)  # a model is loaded together with one
    return load_model(str(checkpoint), precision="fp32", device="cpu")[0]


def _say_nothing(_: str) -> None:
    pass


def _count_labels(examples: Sequence[Example], recipe: Recipe) -> dict[str, dict[str, int]]:
    said = Counter((example.column, example.answer) for example in examples)
    counts: dict[str, dict[str, int]] = {}
    for name, column in recipe.columns.items():
        if isinstance(column, LabelColumn):
            counts[name] = {label: said[name, label] for label in column.labels}
        elif isinstance(column, LabelsColumn):
            asked = zip(recipe.questions_of(name), column.labels, strict=True)
            counts[name] = {label: said[question, column.answers[0]] for question, label in asked}
    return counts


def _precision(dtype: torch.dtype) -> Any:
    return {torch.bfloat16: "bf16", torch.float16: "fp16", torch.float32: "fp32"}[dtype]

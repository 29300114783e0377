"""From tables and a recipe to a run."""

import shutil
import signal
import socket
import time
import warnings
from collections.abc import Callable, Mapping, Sequence
from contextlib import ExitStack
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import torch

from papertune.api.int8 import compare_int8
from papertune.api.run import Run, load_run
from papertune.config import FullMethod, LabelColumn, LoraMethod, PtuningV2Method, Recipe, dump_recipe, load_recipe
from papertune.encoding import PromptEncoder
from papertune.errors import OutputError, PapertuneWarning, RecipeError, TableError, TrainingStopped
from papertune.evaluation.dev_score import DevScore
from papertune.methods import (
    build_trainable,
    check_adapter,
    checkpoint_activations,
    load_adapter,
    save_weights,
    trainable_weights,
)
from papertune.models import (
    Base,
    Precision,
    check_quantization,
    choose_dtype,
    cpu_multiplies_int8,
    find_base,
    load_model,
)
from papertune.runs import Manifest, RunDirectory, TableNote, TrainingPlan, telling_of_full_disk
from papertune.tables import Table, read_table
from papertune.tasks import Example, check_table, training_examples
from papertune.training import (
    EncodedExamples,
    Processes,
    Progress,
    check_trackers,
    encode_examples,
    fit,
    joined_processes,
)


@dataclass(frozen=True)
class _Data:
    train: list[Table]
    dev: list[Table]


@dataclass(frozen=True)
class _Job:
    """What is known before weights load."""

    recipe: Recipe
    data: _Data
    notes: list[TableNote]
    base: Base
    start: Path | None
    plan: TrainingPlan


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
            tell = _say_nothing
        with processes.agreed():
            job = _prepare(tables, recipe, dev, dev_fraction, only, overrides, base, processes)
        with processes.agreed():
            _check_together(job.plan, directory, processes, resume=resume)
        if processes.first_value(lambda: directory.is_complete):
            tell(f"{directory.path} is finished already")
            return load_run(directory.path, device=device, base=base)
        tell(f"loading {job.recipe.model}")
        with processes.agreed():
            learner = _load(job, processes)
        learnt, total = trainable_weights(learner.model)
        each = "" if processes.count == 1 else f" in each of {processes.count} processes"
        tell(
            f"training {learnt:,} of {total:,} weights on {len(learner.examples):,} examples, "
            f"{processes.device}{each}, {_precision(learner.dtype)}"
        )
        with ExitStack() as held:
            with processes.agreed():
                if processes.is_first:
                    held.enter_context(directory.claimed(job.plan, resume=resume))
            with processes.agreed():
                _check_shared(directory, processes)
            _train(job, learner, directory, processes, learnt, resume=resume, progress=progress)
        run = load_run(directory.path, device=device, base=base)
        with processes.agreed():
            if processes.is_first and job.data.dev and processes.device == "cpu":
                del learner  # its weights are not needed beside those that are compared
                _compare_int8(run, job, tell)
    return load_run(directory.path, device=device, base=base)


def _compare_int8(run: Run, job: _Job, tell: Callable[[str], None]) -> None:
    """Find out on the dev rows whether this run predicts as well in int8, where this CPU multiplies it fast."""
    if job.recipe.base_bits is None and cpu_multiplies_int8():
        rows = sum(map(len, job.data.dev))
        tell(f"comparing int8 with float32 on {rows:,} dev rows")
        run.directory.finish(replace(run.manifest, int8=compare_int8(run, job.data.dev)), job.recipe)


def _prepare(
    tables: Any,
    recipe: str | Path | Mapping[str, Any] | Recipe,
    dev: Any,
    dev_fraction: float,
    only: Sequence[str],
    overrides: Sequence[str],
    base: str | Path | None,
    processes: Processes,
) -> _Job:
    """Find all mistakes that can be found before weights load; the warnings are for the caller of `train`."""
    chosen = _like_its_start(choose_columns_to_learn(load_recipe(recipe, overrides), only))
    check_trackers(chosen.training.report_to)
    check_quantization(chosen.base_bits)
    data = _read(tables, dev, dev_fraction, chosen)
    notes = [TableNote(table.source, len(table), table.checksum()) for table in data.train]
    found = find_base(chosen.model, None if base is None else Path(base))
    plan = TrainingPlan(
        recipe=dump_recipe(chosen),
        tables=[note.checksum for note in notes],
        dev=[table.checksum() for table in data.dev],
        base=found.checksum,
        processes=processes.count,
    )
    return _Job(chosen, data, notes, found, _start(chosen, found), plan)


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


def _load(job: _Job, processes: Processes) -> _Learner:
    """Load the model, encode the examples, and make the model trainable."""
    chosen = job.recipe
    compute_dtype = choose_dtype(chosen.training.precision, processes.device)
    whole = isinstance(chosen.method, FullMethod)
    precision: Precision = "fp32" if whole else _precision(compute_dtype)
    model, tokenizer = load_model(
        job.base, precision=precision, device=processes.loading_device, base_bits=chosen.base_bits
    )
    encoder = PromptEncoder(tokenizer, chosen.encoding, chat=chosen.chat)
    examples = [example for table in job.data.train for example in training_examples(table, chosen)]
    encoded = encode_examples(examples, chosen.columns, encoder)
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
    job: _Job,
    learner: _Learner,
    directory: RunDirectory,
    processes: Processes,
    learnt: int,
    *,
    resume: bool,
    progress: Progress | None,
) -> None:
    """Train in a folder that is claimed; then the first process completes the run."""
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
            dev_score=DevScore(job.data.dev, job.recipe, learner.tokenizer, learner.dtype) if job.data.dev else None,
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
            directory.finish(manifest, job.recipe)


def _write(job: _Job, learner: _Learner, sharded_to: Path | None, directory: RunDirectory) -> None:
    """Write what was learnt."""
    adapted = isinstance(job.recipe.method, LoraMethod | PtuningV2Method)
    folder = directory.adapter if adapted else directory.model
    shutil.rmtree(folder, ignore_errors=True)  # half written before a kill
    model = learner.model if sharded_to is None else _put_together(job, learner, sharded_to, adapted=adapted)
    save_weights(model, folder, job.recipe.model, learner.dtype)
    learner.tokenizer.save_pretrained(directory.tokenizer)
    if not adapted:
        learner.tokenizer.save_pretrained(folder)


def _put_together(job: _Job, learner: _Learner, checkpoint: Path, *, adapted: bool) -> Any:
    """Give the whole model, of which each process has a part only, from a checkpoint."""
    if adapted:
        bits = job.recipe.base_bits
        model, _ = load_model(job.base, precision=_precision(learner.dtype), device="cpu", base_bits=bits)
        return load_adapter(model, checkpoint)
    learner.tokenizer.save_pretrained(checkpoint)  # a model is loaded together with one
    return load_model(str(checkpoint), precision="fp32", device="cpu")[0]


def _say_nothing(_: str) -> None:
    pass


def choose_columns_to_learn(recipe: Recipe, only: Sequence[str]) -> Recipe:
    """Give the recipe with just the columns named, or all if none is.

    Raises:
        RecipeError: If the recipe lacks one.
    """
    unknown = [name for name in only if name not in recipe.columns]
    if unknown:
        raise RecipeError(f"--only {unknown[0]}: the recipe has no such column. It has: {', '.join(recipe.columns)}.")
    return recipe.only(tuple(only)) if only else recipe


def _read(tables: Any, dev: Any, dev_fraction: float, recipe: Recipe) -> _Data:
    many = isinstance(tables, list | tuple) and not (tables and isinstance(tables[0], Mapping))
    train_tables = [t if isinstance(t, Table) else read_table(t) for t in (tables if many else [tables])]
    dev_tables = [] if dev is None else [dev if isinstance(dev, Table) else read_table(dev)]
    problems: list[str] = []
    for table in [*train_tables, *dev_tables]:
        findings = check_table(table, recipe, "train")
        problems += findings.problems
        for warning in findings.warnings:
            warnings.warn(warning, PapertuneWarning, stacklevel=4)
    if problems:
        raise TableError.collect("the tables do not fit the recipe", problems)
    learnt = {example.column for table in train_tables for example in training_examples(table, recipe)}
    if unlearnt := [name for name in recipe.columns if name not in learnt]:
        raise TableError(
            f'no table has anything to learn for the column "{unlearnt[0]}". Leave it out with --only '
            f"{' --only '.join(name for name in recipe.columns if name in learnt) or 'COLUMN'}, or add a table."
        )
    if dev_fraction and not dev_tables:
        names = [name for name, column in recipe.columns.items() if isinstance(column, LabelColumn)]
        parts = [
            t.split(dev_fraction, recipe.training.seed, next((name for name in names if name in t.columns), None))
            for t in train_tables
        ]
        train_tables, dev_tables = [rest for rest, _ in parts], [part for _, part in parts]
    limit = recipe.training.dev_rows
    dev_tables = [t if len(t) <= limit else t.split(limit / len(t), recipe.training.seed)[1] for t in dev_tables]
    if dev_tables and not any(True for table in dev_tables for _ in training_examples(table, recipe)):
        sources = ", ".join(dict.fromkeys(table.source for table in dev_tables))
        raise TableError(
            f"the dev rows of {sources} have no answer in {', '.join(recipe.columns)}, so nothing can be scored. "
            "Choose other rows, or train without them."
        )
    return _Data(train_tables, dev_tables)


def _count_labels(examples: Sequence[Example], recipe: Recipe) -> dict[str, dict[str, int]]:
    counts = {
        name: dict.fromkeys(column.labels, 0)
        for name, column in recipe.columns.items()
        if isinstance(column, LabelColumn)
    }
    for example in examples:
        if example.column in counts:
            counts[example.column][example.answer] += 1
    return counts


def _like_its_start(recipe: Recipe) -> Recipe:
    """Give the recipe with the rank and alpha of the adapter that it starts from, so that it tells the truth."""
    method = recipe.method
    if not isinstance(method, LoraMethod) or method.start_from is None:
        return recipe
    start = RunDirectory(Path(method.start_from))
    start.read()
    if not start.adapter.is_dir():
        raise RecipeError(
            f"method.start_from: {start.path} holds a whole model, not an adapter. Give {start.model} as model instead."
        )
    config = check_adapter(start.adapter)
    if config["peft_type"] != "LORA":
        raise RecipeError(
            f"method.start_from: {start.path} holds a P-Tuning v2 prefix, and only a LoRA adapter can be a start. "
            "Name a run of LoRA, or leave start_from out."
        )
    taken = {"rank": config.get("r"), "alpha": config.get("lora_alpha")}
    for key, value in taken.items():
        if key in method.model_fields_set and getattr(method, key) != value:
            raise RecipeError(
                f"method.{key} is {getattr(method, key)}, but the adapter of {start.path} has {value}. Leave it out."
            )
    return load_recipe(recipe, [f"method.{key}={value}" for key, value in taken.items()])


def _start(recipe: Recipe, base: Base) -> Path | None:
    if not isinstance(recipe.method, LoraMethod) or recipe.method.start_from is None:
        return None
    start = RunDirectory(Path(recipe.method.start_from))
    _, manifest = start.read()
    if manifest.base_checksum != base.checksum and None not in (manifest.base_checksum, base.checksum):
        raise RecipeError(
            f"method.start_from: {start.path} was trained on {manifest.base_name}, whose weights are not those of "
            f"{base.location}. Name the same model."
        )
    return start.adapter


def _precision(dtype: torch.dtype) -> Any:
    return {torch.bfloat16: "bf16", torch.float16: "fp16", torch.float32: "fp32"}[dtype]

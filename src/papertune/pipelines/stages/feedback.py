"""What the stages that learn from feedback have in common: their start, and a trained run."""

import copy
import random
import time
import warnings
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any, TypeVar

import torch

from papertune.errors import PapertuneWarning, RecipeError
from papertune.methods import build_trainable, count_parameters
from papertune.models import choose_dtype, load_model
from papertune.pipelines.stages.job import StageJob
from papertune.pipelines.training.run_files import precision_name, raise_if_stopped, write_weights
from papertune.preferences import Entry, Thumb, read_pairs, read_thumbs
from papertune.prompts import PromptEncoder
from papertune.recipe import Recipe
from papertune.stages import Reads, Stage, StageOutcome
from papertune.tables import Table
from papertune.training.feedback import check_trl, fit_on_feedback
from papertune.training.feedback.bridge import MakeTrainer
from papertune.training.feedback.pairs import TooLong
from papertune.training.trainer import DevScore, FitResult, FitSettings

E = TypeVar("E", bound=Entry)


def check_feedback_job(stage: Stage, job: StageJob) -> None:
    """Check what a stage needs besides its input, before the run directory is claimed.

    Raises:
        MissingExtraError: If TRL is not installed.
        RecipeError: If there is no start that fills in the columns, or the method or the processes do not suit.
    """
    check_trl(stage.kind)
    method = job.recipe.method
    if not method.saves_adapter or not method.learns_text:
        raise RecipeError(
            f'stage "{stage.kind}" trains a LoRA adapter. Set method.kind to "lora", not "{method.kind}".'
        )
    if not job.parents or job.parents[-1].stage == "pt":
        raise RecipeError(
            f'stage "{stage.kind}" improves a run that fills in the columns already. Train one first, and name it: '
            'method.start_from = "RUN".'
        )
    if job.processes.count > 1:
        raise RecipeError(
            f'stage "{stage.kind}" trains in one process. Start it without torchrun or accelerate launch.'
        )


@dataclass(frozen=True)
class Learner:
    """The model of a start, ready to learn.

    Attributes:
        model: The model with its trainable adapter.
        tokenizer: Its tokenizer.
        encoder: Encodes prompts and answers.
        dtype: Number format of the products.
    """

    model: Any
    tokenizer: Any
    encoder: PromptEncoder
    dtype: torch.dtype

    @property
    def own_tokenizer(self) -> Any:
        """A copy of the tokenizer for TRL, which sets its padding token."""
        return copy.deepcopy(self.tokenizer)


def open_start(job: StageJob) -> Learner:
    """Load the base model with the adapter of the start."""
    recipe = job.recipe
    job.listener.message(f"loading {recipe.model}")
    dtype = choose_dtype(recipe.training.precision, job.processes.device)
    model, tokenizer = load_model(
        job.base,
        precision=precision_name(recipe.method.base_dtype(dtype)),
        device=job.processes.loading_device,
        base_bits=recipe.base_bits,
    )
    encoder = PromptEncoder(tokenizer, recipe.encoding, chat=recipe.chat)
    model = build_trainable(model, recipe.method, seed=recipe.training.seed, start=job.start)
    return Learner(model, tokenizer, encoder, dtype)


def train_learner(
    job: StageJob,
    learner: Learner,
    make_trainer: MakeTrainer,
    examples: str,
    dev_score: DevScore | None,
) -> tuple[FitResult, float]:
    """Train, and write the weights that the dev score chose.

    Args:
        job: The training.
        learner: Its model.
        make_trainer: As in `fit_on_feedback`.
        examples: The number of examples and what they are, for the message.
        dev_score: Scores the model; None without dev rows.

    Returns:
        How the training ended, and its seconds.

    Raises:
        TrainingStopped: If a signal ended it.
    """
    recipe, directory = job.recipe, job.directory
    trainable, total = count_parameters(learner.model)
    job.listener.message(
        f"training {trainable:,} of {total:,} parameters on {examples}, {job.processes.device}, "
        f"{precision_name(learner.dtype)}"
    )
    rate, usual = recipe.training.learning_rate, recipe.stage.usual_rate
    if rate > 4 * usual:
        job.listener.message(
            f'training.learning_rate is {rate:g}, which is high for stage "{recipe.stage.kind}": try '
            f"--set training.learning_rate={usual:g}"
        )
    started = time.monotonic()
    settings = FitSettings(
        spec=recipe.training,
        folder=directory.checkpoints,
        metrics_file=directory.metrics,
        compute_dtype=learner.dtype,
        dev_score=dev_score,
        resume=job.resume,
        listener=job.listener,
        processes=job.processes,
    )
    result = fit_on_feedback(make_trainer, settings)
    raise_if_stopped(result.stop_signal, result.steps)
    for text in result.unlearned:
        warnings.warn(text, PapertuneWarning, stacklevel=2)
    write_weights(recipe, learner.model, learner.tokenizer, learner.dtype, directory)
    return result, round(time.monotonic() - started, 1)


def outcome_of(
    learner: Learner, result: FitResult, seconds: float, examples: int, results: dict[str, float]
) -> StageOutcome:
    """Return the outcome of a training."""
    return StageOutcome(
        examples=examples,
        steps=result.steps,
        seconds=seconds,
        trained_weights=count_parameters(learner.model)[0],
        dev_score=result.best_score,
        results={name: round(value, 6) for name, value in results.items()},
    )


def read_entries(job: StageJob, read: Callable[[Any, Any], list[E]]) -> tuple[list[E], list[E]]:
    """Return the entries of the input files to learn from, and the dev entries.

    A share of the input that becomes dev entries is chosen by documents: none is learned and scored.
    """
    entries = [entry for table in job.tables for entry in read(table, job.recipe)]
    dev = [entry for table in job.dev for entry in read(table, job.recipe)]
    if not job.dev_fraction:
        return entries, dev
    documents = sorted({entry.input for entry in entries})
    if len(documents) < 2:
        raise RecipeError("--dev-fraction: all entries are about one document, so none can be a dev entry.")
    random.Random(job.recipe.training.seed).shuffle(documents)
    chosen = set(documents[: min(max(round(len(documents) * job.dev_fraction), 1), len(documents) - 1)])
    return [each for each in entries if each.input not in chosen], [each for each in entries if each.input in chosen]


def warn_of_length(too_long: Sequence[TooLong], job: StageJob) -> None:
    """Warn of prompts and answers that are not read or learned whole."""
    for each in too_long:
        for text in each.in_words(job.recipe.questions, job.recipe.encoding.max_prompt_tokens):
            warnings.warn(text, PapertuneWarning, stacklevel=3)


def read_judged(table: Table, recipe: Recipe) -> list[Thumb]:
    """Read judged answers, or pairs, of which one answer is good and the other bad."""
    if "kto_tag" in table.columns or not {"chosen", "rejected"} <= set(table.columns):
        return read_thumbs(table, recipe)
    judged = [thumb for pair in read_pairs(table, recipe) for thumb in pair.judged()]
    return [thumb for thumb in judged if thumb.answer.strip()]


# By what a stage reads: the reader of its files.
READERS: Mapping[Reads, Callable[[Table, Recipe], Sequence[Entry]]] = {"pairs": read_pairs, "thumbs": read_judged}

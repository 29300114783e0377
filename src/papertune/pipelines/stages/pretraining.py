"""Stage pt: from papers to packed blocks, their training, and what it has changed on held-out papers."""

import json
import time
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray

from papertune.files import write_atomically
from papertune.methods import build_trainable, checkpoint_activations, count_parameters
from papertune.metrics.intervals import ratio_interval
from papertune.models import choose_dtype, load_model
from papertune.pipelines.stages.corpus import Corpus, CorpusWriter
from papertune.pipelines.stages.job import StageJob
from papertune.pipelines.training.optimizer_steps import too_few_steps
from papertune.pipelines.training.run_files import gather_weights, precision_name, raise_if_stopped, write_weights
from papertune.prompts import PromptEncoder
from papertune.stages.pt import PtStage
from papertune.stages.stage import StageOutcome
from papertune.training.documents import HeldOut, PackedBlocks, fit_documents
from papertune.training.trainer import FitSettings


@dataclass(frozen=True)
class _Reader:
    """A model that learns papers.

    Attributes:
        model: The model.
        tokenizer: Its tokenizer.
        dtype: Number format of the products.
        trainable: Number of trainable parameters.
    """

    model: Any
    tokenizer: Any
    dtype: torch.dtype
    trainable: int


def train_on_documents(stage: PtStage, job: StageJob) -> StageOutcome:
    """Train on packed blocks of documents, in a claimed run directory, and write the weights there.

    Raises:
        TableError: If there is nothing to learn.
        TrainingStopped: If a signal ended the training; a checkpoint has been written.
    """
    processes, spec = job.processes, job.recipe.training
    job.listener.message(f"loading {job.recipe.model}")
    with processes.shared_errors():
        reader, total = _load(job)
    corpus = _corpus(stage, job, reader)
    blocks = PackedBlocks(corpus.file, stage.block, spec.seed)
    _report(job, reader, total, corpus, blocks)
    held_out = HeldOut(corpus.held_out, stage.block, reader.dtype) if corpus.held_out else None
    selection = HeldOut(corpus.selection, stage.block, reader.dtype) if corpus.selection else None
    before: NDArray[np.float64] | None = None
    if held_out is not None and processes.is_first:
        before = _nll_before(held_out, reader.model, job.directory.checkpoints / "before.json")
    started = time.monotonic()
    result = fit_documents(
        reader.model,
        blocks,
        FitSettings(
            spec=spec,
            folder=job.directory.checkpoints,
            metrics_file=job.directory.metrics,
            compute_dtype=reader.dtype,
            dev_score=None if selection is None else selection.dev_score,
            resume=job.resume,
            listener=job.listener,
            processes=processes,
        ),
    )
    raise_if_stopped(result.stop_signal, result.steps)
    seconds = round(time.monotonic() - started, 1)
    results: dict[str, float] = {"papers": corpus.papers, "duplicates": corpus.duplicates, "tokens": blocks.targets}
    with processes.shared_errors():
        if processes.is_first:
            model = reader.model
            if result.sharded_to is not None:
                model = gather_weights(job.recipe, reader.tokenizer, reader.dtype, result.sharded_to, job.base)
            if held_out is not None and before is not None:
                results |= compare_nll(before, held_out.nll(model), held_out.tokens)
                job.listener.message(_in_words(results))
            write_weights(job.recipe, model, reader.tokenizer, reader.dtype, job.directory)
    return StageOutcome(
        examples=len(corpus.file),
        steps=result.steps,
        seconds=seconds,
        trained_weights=reader.trainable,
        dev_score=result.best_score,
        results=results,
    )


def _load(job: StageJob) -> tuple[_Reader, int]:
    """Load the model and make it trainable; return it and the number of all parameters."""
    recipe, processes = job.recipe, job.processes
    dtype = choose_dtype(recipe.training.precision, processes.device)
    precision = precision_name(recipe.method.base_dtype(dtype))
    model, tokenizer = load_model(
        job.base, precision=precision, device=processes.loading_device, base_bits=recipe.base_bits
    )
    model = build_trainable(model, recipe.method, seed=recipe.training.seed, start=job.start)
    if recipe.training.gradient_checkpointing:
        checkpoint_activations(model)
    trainable, total = count_parameters(model)
    return _Reader(model, tokenizer, dtype, trainable), total


def _corpus(stage: PtStage, job: StageJob, reader: _Reader) -> Corpus:
    """Return the corpus; the first process writes it, unless an earlier part of the training has."""
    recipe, folder = job.recipe, job.directory.checkpoints / "tokens"
    with job.processes.shared_errors():
        if job.processes.is_first and Corpus.open(folder) is None:
            documents, prompts = (
                PromptEncoder(reader.tokenizer, recipe.encoding, chat=chat) for chat in (False, recipe.chat)
            )
            vocabulary = int(reader.model.get_input_embeddings().num_embeddings)
            writer = CorpusWriter(recipe, documents, prompts, stage.mix_instructions)
            writer.write(folder, vocabulary, job.tables, job.dev, job.dev_fraction)
    corpus = Corpus.open(folder)
    assert corpus is not None
    return corpus


def _report(job: StageJob, reader: _Reader, total: int, corpus: Corpus, blocks: PackedBlocks) -> None:
    left_out = [
        f"{count:,} {what}"
        for count, what in ((corpus.duplicates, "that occur twice"), (corpus.empty, "without text"))
        if count
    ]
    job.listener.message(
        f"{corpus.papers:,} papers to read, {blocks.targets:,} tokens in {len(blocks):,} blocks"
        + (f"; left out: {' and '.join(left_out)}" if left_out else "")
    )
    if corpus.instructions:
        job.listener.message(f"{corpus.instructions:,} prompts with their answers are mixed in")
    if corpus.selection:
        job.listener.message(
            f"dev papers: {len(corpus.selection):,} choose the checkpoint, {len(corpus.held_out):,} are measured"
        )
    each = "" if job.processes.count == 1 else f" in each of {job.processes.count} processes"
    job.listener.message(
        f"training {reader.trainable:,} of {total:,} parameters, {job.processes.device}{each}, "
        f"{precision_name(reader.dtype)}"
    )
    if few := too_few_steps(job.recipe.training, len(blocks), job.processes.count):
        job.listener.message(few)


def _nll_before(held_out: HeldOut, model: Any, file: Path) -> NDArray[np.float64]:
    """Return the negative log-probabilities of held-out papers before the training, kept for a resumed one."""
    if file.is_file():
        return np.asarray(json.loads(file.read_text("utf-8")), dtype=np.float64)
    nll = held_out.nll(model)
    write_atomically(file, json.dumps(nll.tolist()))
    return nll


def compare_nll(
    before: NDArray[np.float64], after: NDArray[np.float64], tokens: NDArray[np.float64]
) -> dict[str, float]:
    """Compare a model before and after a training on the same texts.

    Args:
        before: Negative log-probability of each text in nats, shape (texts,).
        after: The same after the training.
        tokens: Number of predicted tokens of each text.

    Returns:
        NLL a token and perplexity before and after, and the difference of NLL with its paired 95 percent interval.
    """
    interval = ratio_interval(after - before, tokens)
    nlls = {"before": float(before.sum() / tokens.sum()), "after": float(after.sum() / tokens.sum())}
    return {
        "held_out_papers": len(tokens),
        **{f"nll_{when}": nll for when, nll in nlls.items()},
        **{f"perplexity_{when}": float(np.exp(nll)) for when, nll in nlls.items()},
        "nll_difference": nlls["after"] - nlls["before"],
        "nll_difference_low": interval.low,
        "nll_difference_high": interval.high,
    }


def _in_words(results: dict[str, float]) -> str:
    return (
        f"perplexity of {results['held_out_papers']:,} held-out papers: {results['perplexity_before']:.2f} before, "
        f"{results['perplexity_after']:.2f} after; a token {results['nll_difference']:+.4f} nats (95% interval "
        f"{results['nll_difference_low']:+.4f} to {results['nll_difference_high']:+.4f})"
    )

"""Exporting a run: checks first, then all files into a folder beside the output, which a renaming makes the output."""

import json
import shutil
import warnings
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path

from papertune.errors import OutputError, PapertuneError, PapertuneWarning, RunError
from papertune.events import SILENT, Listener
from papertune.exports.answers import CHECK_FILE, answers_page
from papertune.exports.card import model_card
from papertune.exports.format import Exported, ExportFormat, SamplePrompt, listed_formats
from papertune.exports.gguf_files.writing import Weights
from papertune.exports.push import check_repository, push
from papertune.exports.registry import FORMATS
from papertune.exports.sample import sample_prompts
from papertune.files import check_new_folder, check_place, lock_now, remove_lock, writing_model_folder
from papertune.prompts.context import encoder_within_context
from papertune.run import Run, load_run


def export(
    run: str | Path | Run,
    output: str | Path,
    *,
    to: str,
    weights: Weights | None = None,
    adapter: bool = False,
    push_to: str | None = None,
    device: str | None = None,
    base: str | Path | None = None,
    listener: Listener = SILENT,
) -> None:
    """Write a run's model for another program, with how to ask it and prompts to check it.

    The model is merged and asked in float32, so it needs 4 bytes for each parameter in memory.

    Args:
        run: A run or its directory.
        output: A new or empty folder.
        to: "gguf", "vllm", "hub" or "ollama".
        weights: Number format of the written weights; None: the format's default.
        adapter: Write the LoRA adapter by itself, without merging it.
        push_to: A repository of the Hugging Face hub, owner/name, that is made and gets the folder.
        device: As in `load_run`.
        base: As in `load_run`.
        listener: Gets messages.

    Raises:
        ModelError, RunError: If the run cannot be exported; the message has the way round it.
        OutputError: If the folder exists and is not empty, cannot be written, or cannot be uploaded.
    """
    opened = run if isinstance(run, Run) else load_run(run, device=device, base=base)
    folder = Path(output)
    chosen, numbers = _check(opened, to, weights, adapter=adapter)
    if push_to is not None:
        check_repository(push_to)
    check_new_folder(folder)
    with _unfinished(folder) as unfinished:
        exported = _loaded(opened, numbers, adapter=adapter, name=folder.absolute().name)
        listener.message("asking the sample prompts")
        prompts = sample_prompts(exported)
        if warning := chosen.warning(exported, prompts):
            warnings.warn(warning, PapertuneWarning, stacklevel=2)
        listener.message(f"writing {folder}")
        page, card = answers_page(exported, chosen), model_card(exported, chosen)
        with writing_model_folder(folder):
            (unfinished / CHECK_FILE).write_text(_check_text(prompts), "utf-8")
            (unfinished / "ANSWERS.md").write_text(page, "utf-8")
            chosen.write(exported, unfinished)  # it may change the model
            (unfinished / "README.md").write_text(card, "utf-8")
    if push_to is not None:
        listener.message(f"uploading to {push_to}")
        push(folder, push_to)


def _check_text(prompts: Sequence[SamplePrompt]) -> str:
    """Return JSON, a line for each prompt."""
    lines = ",\n".join(json.dumps(each.as_dict(), ensure_ascii=False) for each in prompts)
    return f'{{"format": 1, "prompts": [\n{lines}\n]}}\n'


def _check(run: Run, to: str, weights: Weights | None, *, adapter: bool) -> tuple[ExportFormat, Weights]:
    """Check everything that needs no weights.

    Raises:
        OutputError, ModelError, RunError: As in `export`.
    """
    if to not in FORMATS:
        raise OutputError(f'--to "{to}" is not a format of export: {", ".join(FORMATS)}.')
    chosen, path = FORMATS[to], run.directory.path
    numbers = weights or chosen.default_weights(adapter=adapter)
    if numbers not in chosen.weights:
        raise OutputError(f"--to {to} writes weights in {listed_formats(chosen.weights)}, not in {numbers}.")
    run.directory.check_fills_columns(run.recipe, "export")
    if not run.directory.has_model:
        columns = ", ".join(f'"{name}"' for name in run.recipe.columns)
        raise RunError(
            f"{path} has no trained model to export: words or other sources answer {columns}. Predict with the run "
            'itself, or train with sources = ["model"].'
        )
    run.recipe.method.check_mergeable(path)
    if adapter and not chosen.has_adapters:
        raise RunError(f"--to {to} writes whole models only. Leave --adapter out, or take --to gguf.")
    if adapter and not run.directory.adapter.is_dir():
        raise RunError(f"{path} has no adapter: its training changed the whole model. Leave --adapter out.")
    try:
        chosen.check(run, adapter=adapter)
    except PapertuneError as error:
        raise type(error)(f"{path}: {error}" if not str(error).startswith(str(path)) else str(error)) from None
    if run.joins:
        warnings.warn(
            f"{path} joins its model with other sources ({', '.join(run.joins)}); the export answers as the fine-tuned "
            "model alone does.",
            PapertuneWarning,
            stacklevel=3,  # the caller of `export`
        )
    return chosen, numbers


def _loaded(run: Run, weights: Weights, *, adapter: bool, name: str) -> Exported:
    from papertune.inference.merge import merged_model

    model, tokenizer = merged_model(run, "fp32")
    encoder = encoder_within_context(tokenizer, run.recipe, model.config, 0)
    return Exported(run, model, tokenizer, encoder, weights, adapter, name)


@contextmanager
def _unfinished(folder: Path) -> Iterator[Path]:
    """Make a folder beside the output, which becomes the output at the end of the block; an error removes it.

    A killed export leaves it behind, under a name that begins with a dot; the next one to the same output removes it.

    Raises:
        OutputError: If another export writes there, or a file cannot be written.
    """
    place = folder.resolve()
    check_place(place.parent)
    unfinished = place.with_name(f".{place.name}.unfinished")
    busy = f"{folder}: another export writes there. Wait for it, or choose another folder."
    lock = lock_now(place.with_name(f".{place.name}.lock"), OutputError(busy), folder)
    try:
        with writing_model_folder(folder):
            shutil.rmtree(unfinished, ignore_errors=True)
            unfinished.mkdir()
            if place.is_dir():  # an empty one that cannot be replaced, such as a mount point, is found before the work
                place.rmdir()
                place.mkdir()
        yield unfinished
        with writing_model_folder(folder):
            if place.is_dir():
                place.rmdir()  # it is empty, or this fails
            unfinished.rename(place)
    finally:
        shutil.rmtree(unfinished, ignore_errors=True)
        remove_lock(lock)

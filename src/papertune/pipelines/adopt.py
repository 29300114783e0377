"""A run from an existing adapter, without training."""

import shutil
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

from papertune.errors import OutputError, RecipeError
from papertune.files import check_new_folder
from papertune.manifest import Manifest
from papertune.methods import adopted_method, check_adapter, count_parameters, load_adapter
from papertune.methods.prefix.official import load_official_prefix, official_prefix
from papertune.models import check_quantization, find_base, load_model
from papertune.prompts import PromptEncoder
from papertune.recipe import Recipe, load_recipe
from papertune.run import Run, load_run
from papertune.run_directory import RunDirectory


def adopt(
    adapter: str | Path,
    recipe: str | Path | Mapping[str, Any] | Recipe,
    output: str | Path,
    *,
    overrides: Sequence[str] = (),
    device: str | None = None,
    base: str | Path | None = None,
) -> Run:
    """Make a run from an adapter in peft's format, or from a P-Tuning v2 checkpoint of ChatGLM2's own training.

    The adapter is loaded onto the base model to check that it fits. The recipe must have the questions that the adapter
    was trained with, which cannot be checked.

    Args:
        adapter: A folder with adapter_config.json and the weights, or one with a trained prefix of ChatGLM2.
        recipe: A recipe, its file or built-in name, or a mapping.
        output: The new run directory.
        overrides: Settings such as "model=FOLDER".
        device: Where to load the model.
        base: Where the base model is now, if not where the recipe says.

    Returns:
        The run.

    Raises:
        RunError: If the folder is not an adapter.
        ModelError: If it does not fit the base model.
        OutputError: If the run directory exists.
    """
    source = Path(adapter)
    config, is_official = _read_config(source)
    chosen = load_recipe(recipe, overrides)
    chosen = chosen.model_copy(update={"method": adopted_method(chosen.method, config, source)})
    _check_calibration(chosen)
    check_quantization(chosen.base_bits)
    directory = RunDirectory(Path(output))
    check_new_folder(directory.path)
    found = find_base(chosen.model, None if base is None else Path(base))
    model, tokenizer = load_model(found, device=device, base_bits=chosen.base_bits)
    _check_tokens(chosen, tokenizer)
    load = load_official_prefix if is_official else load_adapter
    adapted = load(model, source, trainable=True)
    trained, _ = count_parameters(adapted)
    manifest = Manifest(
        base_name=chosen.model, base_checksum=found.checksum, trained_weights=trained, stage=chosen.stage.kind
    )
    try:
        directory.path.mkdir(parents=True, exist_ok=True)
        if is_official:
            chosen.method.save(adapted, directory.adapter, chosen.model, model.dtype)
        else:
            shutil.copytree(source, directory.adapter)
        tokenizer.save_pretrained(directory.tokenizer)
        directory.finish(manifest, chosen)
    except OSError as error:
        raise OutputError(f"{directory.path} cannot be written: {error.strerror or error}.") from error
    return load_run(directory.path, device=device, base=base)


def _read_config(source: Path) -> tuple[dict[str, Any], bool]:
    """Return an adapter's configuration, and whether it is a checkpoint of ChatGLM2's own training."""
    numbers = None if (source / "adapter_config.json").is_file() else official_prefix(source)
    if numbers is None:
        return check_adapter(source), False
    return {"peft_type": "PREFIX_TUNING", "num_virtual_tokens": len(numbers)}, True


def _check_tokens(recipe: Recipe, tokenizer: Any) -> None:
    encoder = PromptEncoder(tokenizer, recipe.encoding, chat=recipe.chat)
    for column in recipe.questions.values():
        column.check_tokens(encoder)


def _check_calibration(recipe: Recipe) -> None:
    for name, column in recipe.columns.items():
        if setting := column.required_calibration:
            raise RecipeError(
                f"columns.{name}.{setting}, which is fitted at the end of a training; adopting does not train. Set a "
                "fixed value."
            )

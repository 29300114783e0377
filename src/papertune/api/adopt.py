"""A ready adapter becomes a run, without training."""

import shutil
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

from papertune.api.run import Run, load_run
from papertune.config import LoraMethod, Recipe, load_recipe
from papertune.encoding import PromptEncoder
from papertune.errors import OutputError, RecipeError, RunError
from papertune.methods import check_adapter, load_adapter, trainable_weights
from papertune.models import find_base, load_model
from papertune.runs import Manifest, RunDirectory, check_new_folder


def adopt(
    adapter: str | Path,
    recipe: str | Path | Mapping[str, Any] | Recipe,
    output: str | Path,
    *,
    overrides: Sequence[str] = (),
    device: str | None = None,
    base: str | Path | None = None,
) -> Run:
    """Make a run of an adapter in peft's format.

    The adapter is put on the base model once, so what does not fit is found now. The recipe must ask as the adapter
    was trained: that is the one thing that nobody can check.

    Args:
        adapter: A folder with adapter_config.json and the weights.
        recipe: A recipe, its file or built-in name, or a mapping.
        output: The run directory to make.
        overrides: Settings such as "model=FOLDER".
        device: Where to load the model.
        base: Where the base model is, if not where the recipe says.

    Returns:
        The run.

    Raises:
        RunError: If the folder is no adapter.
        ModelError: If it does not fit the base model.
        OutputError: If the run directory exists.
    """
    source = Path(adapter)
    config = check_adapter(source)
    chosen = load_recipe(recipe, overrides)
    if not isinstance(chosen.method, LoraMethod):
        raise RecipeError(f'method.kind is "{chosen.method.kind}", but {source} is a LoRA adapter. Set it to "lora".')
    try:
        chosen = chosen.model_copy(update={"method": _method_of(config)})
    except KeyError as error:
        raise RunError(f"{source / 'adapter_config.json'} has no {error}, so it is no LoRA adapter's.") from None
    directory = RunDirectory(Path(output))
    check_new_folder(directory.path)
    found = find_base(chosen.model, None if base is None else Path(base))
    model, tokenizer = load_model(found, device=device)
    encoder = PromptEncoder(tokenizer, chosen.encoding, chat=chosen.chat)
    for column in chosen.columns.values():
        if column.kind == "label":
            encoder.label_ids(column.labels)
    learnt, _ = trainable_weights(load_adapter(model, source, trainable=True))
    try:
        directory.path.mkdir(parents=True, exist_ok=True)
        shutil.copytree(source, directory.adapter)
        tokenizer.save_pretrained(directory.tokenizer)
        directory.finish(Manifest(base_name=chosen.model, base_checksum=found.checksum, trained_weights=learnt), chosen)
    except OSError as error:
        raise OutputError(f"{directory.path} cannot be written: {error.strerror or error}.") from error
    return load_run(directory.path, device=device, base=base)


def _method_of(config: Mapping[str, Any]) -> LoraMethod:
    """Give the method that an adapter's configuration tells of.

    Raises:
        KeyError: If it lacks the rank or alpha.
    """
    targets = config.get("target_modules")
    return LoraMethod(
        rank=config["r"],
        alpha=config["lora_alpha"],
        dropout=config.get("lora_dropout") or 0.0,
        targets=tuple(targets) if isinstance(targets, list) and targets else "all-linear",
        rslora=bool(config.get("use_rslora")),
        dora=bool(config.get("use_dora")),
    )

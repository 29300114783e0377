"""A ready adapter becomes a run, without training."""

import shutil
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

from papertune.errors import OutputError, RecipeError, RunError
from papertune.files import check_new_folder
from papertune.kinds.labels.thresholds import asks_for_f1
from papertune.methods import check_adapter, load_adapter, save_weights, trainable_weights
from papertune.methods.official_prefix import load_official_prefix, official_prefix
from papertune.models import check_quantization, find_base, load_model
from papertune.prompts import PromptEncoder
from papertune.recipe import LoraMethod, Method, PtuningV2Method, Recipe, load_recipe
from papertune.run import Run, load_run
from papertune.run_directory import Manifest, RunDirectory


def adopt(
    adapter: str | Path,
    recipe: str | Path | Mapping[str, Any] | Recipe,
    output: str | Path,
    *,
    overrides: Sequence[str] = (),
    device: str | None = None,
    base: str | Path | None = None,
) -> Run:
    """Make a run of an adapter in peft's format, or of a P-Tuning v2 checkpoint of ChatGLM2's own training.

    The adapter is put on the base model once, so what does not fit is found now. The recipe must ask as the adapter
    was trained: that is the one thing that nobody can check.

    Args:
        adapter: A folder with adapter_config.json and the weights, or one with a learnt prefix of ChatGLM2.
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
    numbers = None if (source / "adapter_config.json").is_file() else official_prefix(source)
    if numbers is None:
        config = check_adapter(source)
    else:
        config = {"peft_type": "PREFIX_TUNING", "num_virtual_tokens": len(numbers)}
    chosen = load_recipe(recipe, overrides)
    chosen = chosen.model_copy(update={"method": _method_of(config, chosen.method, source)})
    if unchosen := [name for name, column in chosen.columns.items() if asks_for_f1(column)]:
        raise RecipeError(
            f'columns.{unchosen[0]}.thresholds is "f1": they are chosen when a training ends, and this is none. Write '
            "numbers."
        )
    check_quantization(chosen.base_bits)
    directory = RunDirectory(Path(output))
    check_new_folder(directory.path)
    found = find_base(chosen.model, None if base is None else Path(base))
    model, tokenizer = load_model(found, device=device, base_bits=chosen.base_bits)
    encoder = PromptEncoder(tokenizer, chosen.encoding, chat=chosen.chat)
    for column in chosen.questions.values():
        if column.kind == "label":
            encoder.label_ids(column.labels)
    put_on = load_adapter if numbers is None else load_official_prefix
    adapted = put_on(model, source, trainable=True)
    learnt, _ = trainable_weights(adapted)
    try:
        directory.path.mkdir(parents=True, exist_ok=True)
        if numbers is None:
            shutil.copytree(source, directory.adapter)
        else:
            save_weights(adapted, directory.adapter, chosen.model, model.dtype)
        tokenizer.save_pretrained(directory.tokenizer)
        directory.finish(Manifest(base_name=chosen.model, base_checksum=found.checksum, trained_weights=learnt), chosen)
    except OSError as error:
        raise OutputError(f"{directory.path} cannot be written: {error.strerror or error}.") from error
    return load_run(directory.path, device=device, base=base)


def _method_of(config: Mapping[str, Any], given: Method, source: Path) -> Method:
    """Give the method that an adapter's configuration tells of.

    Args:
        config: Content of adapter_config.json.
        given: The recipe's method.
        source: Where the adapter is.

    Raises:
        RecipeError: If the recipe's method is of another kind.
        RunError: If the configuration lacks what is needed.
    """
    is_prefix = config["peft_type"] == "PREFIX_TUNING"
    kind, what = ("ptuning_v2", "P-Tuning v2 prefix") if is_prefix else ("lora", "LoRA adapter")
    if given.kind != kind:
        raise RecipeError(f'method.kind is "{given.kind}", but {source} is a {what}. Set it to "{kind}".')
    try:
        return _prefix_method(config, given) if isinstance(given, PtuningV2Method) else _lora_method(config, given)
    except KeyError as error:
        raise RunError(f"{source / 'adapter_config.json'} has no {error}, so it is no {what}'s.") from None


def _prefix_method(config: Mapping[str, Any], given: PtuningV2Method) -> PtuningV2Method:
    length, projection = config["num_virtual_tokens"], bool(config.get("prefix_projection"))
    return PtuningV2Method(kind="ptuning_v2", prefix_length=length, projection=projection, dropout=given.dropout)


def _lora_method(config: Mapping[str, Any], given: Method) -> LoraMethod:
    targets = config.get("target_modules")
    return LoraMethod(
        rank=config["r"],
        alpha=config["lora_alpha"],
        dropout=config.get("lora_dropout") or 0.0,
        targets=tuple(targets) if isinstance(targets, list) and targets else "all-linear",
        rslora=bool(config.get("use_rslora")),
        dora=bool(config.get("use_dora")),
        base_bits=given.base_bits if isinstance(given, LoraMethod) else None,
    )
